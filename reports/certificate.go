package reports

import (
	"io"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// Certification is a suite that was run, with all that a reader of its certificate asks for:
//
//	Certification ──┬─► CertificatePage  one offline page: verdict, reasons, every case with its evidence
//	                ├─► JUnit            for CI systems
//	                └─► CertificateText  for a terminal
//
// The same value gives the same bytes. What others wrote (declaration, reasons, names of files) may hold anything.
type Certification struct {
	Suite       certify.Suite
	Declaration *certify.Declaration // nil: there was none, and nothing is certified
	Complete    bool                 // every case that applies, of those asked for, was run to its end
	Only        []string             // IDs of the cases that were asked for, where not all were
	Brief       bool                 // few tries and short watches: certifies nothing
	Named       bool                 // the programs were told which case was run: certifies nothing
	Seed        uint64
	Way         string // executable, box or endpoint
	Command     string // command line of the run
	Versions    []Fact // punchlab, Go, kernel …, as they are to be shown
	Machine     []Fact
	Started     time.Time
	Finished    time.Time
	Runs        map[string]CaseRun // by case ID; what was not run is missing
	Probe       *Probe             // nil: it was not asked. Of a box there may be no program to ask
	Roles       []Part             // in the order to be shown
	Subjects    []Subject          // what is certified: the firmware, then the programs that the vendor brought
	Signers     []Signer           // whose keys sign the certificate; none: unsigned
	Verify      string             // command that checks the certificate; "" if unsigned
}

// Fact is a name with its value.
type Fact struct{ Name, Value string }

// CaseRun is what there is of one case besides its result.
type CaseRun struct {
	Seed     uint64
	Took     time.Duration
	Replay   string         // command that runs the case again with its seed
	Files    []EvidenceFile // in the order to be shown
	Timeline []byte         // timeline.svg, to be seen on the page; nil: none
	Starts   []Start        // where it was begun more than once: each time
}

// Start is one time that a case was begun.
type Start struct {
	N     int
	Began time.Time
	Ended string // the verdict that it came to, or "interrupted"; "": nobody was there to write it down
	Why   string
	Link  string // folder of what it left, from the page; "": it is the case's evidence, or nothing
}

// EvidenceFile is a file of a case's evidence.
type EvidenceFile struct {
	Name   string // capture.pcapng
	Link   string // path from the page, with slashes: cases/NAT-1/capture.pcapng
	Size   int64  // bytes
	SHA256 string // hexadecimal; "" if not known
}

// Probe is the honesty probe: a case that there is not, for which the vendor's program has to exit with 127.
type Probe struct {
	Case string // QXZ-17
	Role certify.Role
	Exit int
	Note string // how it ended where that was by no exit: "killed after 30 s"; such a probe is not passed
	// Undeclared is a feature that the camera showed when it was asked for it, though it declares that it has it not, in words; "": none.
	Undeclared string
	// Starts is how often it was asked until it answered.
	Starts int
}

// Passed reports whether the program said that it does not know the case.
func (p *Probe) Passed() bool {
	return p != nil && p.Exit == certify.ExitUnsupported && p.Note == "" && p.Undeclared == ""
}

// Subject is an image or a program, and whose word its digest is.
type Subject struct {
	Name, SHA256 string
	Measured     bool  // the digest was computed from the file; else it is what the vendor declared
	Size         int64 // bytes, where it was measured
}

// Part says whose program played a role.
type Part struct {
	Role    certify.Role
	By      string // vendor, bundled, lab
	Program string // command line, or what it was
}

// Signer is who signs a certificate.
type Signer struct {
	Key     string // ID of the public key
	Name    string // "" if there is none
	Witness bool   // ran the same seeds as a second party and came to the same verdicts
}

// CertificatePage writes a certification as one HTML page: no script, nothing fetched. Links to evidence are relative, so it belongs
// into the certificate's folder. Where a case's Timeline is, it is shown as an image, in which no script runs.
func CertificatePage(w io.Writer, c Certification) error {
	b, err := c.html()
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// JUnit writes a certification as CI systems read tests: a suite "certification" whose one case is the verdict, and one for each group
// of cases.
//
//	failure  a binding case (must, or conditional and applicable) that fails or is unsupported
//	error    a binding case that is inconclusive, informational or a harness-error; one that was not run though all were to be
//	skipped  a case that does not apply; one that was not asked for; a should-case that is no pass, with "warning: "
//	none     pass and pass-nonstrict; the latter's reason stands in system-out
//
// The case "verdict" is a failure if the suite fails or the honesty probe was not passed, an error if the suite is inconclusive or was
// cut short, and skipped if nothing is wrong but that the run was brief or of single cases, and so certifies nothing. So there is a
// failure or an error exactly where the run is no success of its kind.
func JUnit(w io.Writer, c Certification) error {
	b, err := c.junit()
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// CertificateText writes a certification for a terminal: the verdict with its reasons, each group's counts, each case that is no
// pass, and how to check it. With color it marks verdicts by ANSI escapes.
func CertificateText(w io.Writer, c Certification, color bool) error {
	_, err := w.Write(c.text(color))
	return err
}
