package evidence

import (
	"fmt"
	"path/filepath"
)

// Kind says in what way a certificate does not match.
type Kind string

// Kinds of mismatch.
const (
	Missing      Kind = "missing"      // a file that the manifest or the format demands is not there
	Extra        Kind = "extra"        // a file is there that nobody vouches for
	Size         Kind = "size"         // a file has another length than was signed
	Hash         Kind = "hash"         // a file has other content than was signed
	Signature    Kind = "signature"    // a signature is wrong, lacking, or there twice
	Untrusted    Kind = "untrusted"    // a signature is by a key the reader does not trust in this role
	Disagreement Kind = "disagreement" // two signed things contradict each other
	Malformed    Kind = "malformed"    // a document is not in its one permitted form
	Forbidden    Kind = "forbidden"    // a symlink, a device, a path that leads elsewhere
	TooLarge     Kind = "too large"    // more than a reader is asked to read
)

// Mismatch is the first thing about a certificate that does not match: an errors.As target.
type Mismatch struct {
	Kind Kind
	Path string // the file, from the certificate's folder, with slashes
	Text string // what is wrong with it, and what to do where there is something to do
}

// Error reads "cases/NAT-1/capture.pcapng: hash: …".
func (m *Mismatch) Error() string { return fmt.Sprintf("%s: %s: %s", m.Path, m.Kind, m.Text) }

func mismatch(k Kind, path, format string, a ...any) *Mismatch {
	return &Mismatch{Kind: k, Path: filepath.ToSlash(path), Text: fmt.Sprintf(format, a...)}
}
