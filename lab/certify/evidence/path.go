package evidence

import (
	"fmt"
	"path"
	"strings"
)

// Names in a certificate's folder.
const (
	CertificateFile = "certificate.json"
	ManifestFile    = "manifest.json"
	CasesFolder     = "cases"
	WitnessFolder   = "witnesses"
)

// CaseFolder returns where a case's evidence belongs, from the certificate's folder.
func CaseFolder(id string) string { return path.Join(CasesFolder, id) }

// checkPath says why p may not name evidence. What remains means the same file on every system: letters, digits and
// ._+=@,- only, so no path leads out of the folder, hides, or is a device's name by way of a colon or a backslash.
func checkPath(p string) error {
	if p == "" || len(p) > 1024 {
		return fmt.Errorf("has %d bytes, want 1 to 1024", len(p))
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return fmt.Errorf("has the part %q: a path is relative, clean and below its folder", part)
		case part[0] == '.':
			return fmt.Errorf("has the hidden part %q", part)
		case len(part) > 200:
			return fmt.Errorf("has a part of %d bytes, at most 200 are portable", len(part))
		case strings.HasSuffix(part, "."):
			return fmt.Errorf("has the part %q, whose last dot some systems drop", part)
		}
		for _, r := range part {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+=@,-", r)) {
				return fmt.Errorf("has the character %q: letters, digits and ._+=@,- are portable", r)
			}
		}
	}
	return nil
}

// reserved says that a name at the top of the folder is the format's own.
func reserved(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return strings.EqualFold(top, CertificateFile) || strings.EqualFold(top, ManifestFile) || strings.EqualFold(top, WitnessFolder)
}
