package evidence

import (
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Schema names the manifest's form.
const Schema = "punchlab/evidence/1"

// Outcome is a verdict in the predicate's words. A case that did not apply has none.
type Outcome string

// Outcomes, and the predicate's result.
const (
	Passed Outcome = "PASSED"
	Warned Outcome = "WARNED" // passed, but not strictly; or no pass, and nothing depends on it
	Failed Outcome = "FAILED"
	None   Outcome = "" // not applicable
)

// verdicts are the suite's words, and what each may be in the predicate's. No other word is certified.
var verdicts = map[string][]Outcome{
	"pass":           {Passed},
	"pass-nonstrict": {Warned},
	"informational":  {Warned, Failed},
	"fail":           {Warned, Failed},
	"inconclusive":   {Warned, Failed},
	"unsupported":    {Warned, Failed},
	"harness-error":  {Warned, Failed},
	"not-applicable": {None},
}

// isPass says that a verdict is a pass of either kind, which stands on evidence.
func isPass(verdict string) bool { return verdict == "pass" || verdict == "pass-nonstrict" }

// Basis is whose word a digest is.
type Basis string

// Bases.
const (
	Measured Basis = "measured" // the program that certifies has read the file and computed it
	Declared Basis = "declared" // somebody has said it, and nobody has looked
)

// Says is a basis in words.
func (b Basis) Says() string {
	if b == Measured {
		return "measured: computed from the file when it was certified"
	}
	return "declared by the vendor, and not measured"
}

// Artifact is a thing known by its content.
type Artifact struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`         // 64 lower-case hexadecimal digits
	Basis  Basis  `json:"basis"`          // whose word SHA256 is
	Size   int64  `json:"size,omitempty"` // bytes, where it was measured
}

// Same reports whether two are the same thing, whosever word that is.
func (a Artifact) Same(b Artifact) bool { return a.Name == b.Name && a.SHA256 == b.SHA256 }

// short says what of a thing that was certified another run does not have: the thing itself, or the measuring of it; "" if nothing.
func (a Artifact) short(again Artifact) string {
	switch {
	case !a.Same(again):
		return fmt.Sprintf("it ran %s (%s); certified is %s (%s)", again.Name, again.SHA256, a.Name, a.SHA256)
	case a.Basis == Measured && again.Basis != Measured:
		return fmt.Sprintf("%s was measured when it was certified, and only declared when it was run again", a.Name)
	}
	return ""
}

// Repeats says in what subjects of another run are not those that were certified, or were not measured where those were; "" if nothing.
func Repeats(certified, again []Artifact) string {
	if len(certified) != len(again) {
		return fmt.Sprintf("it ran %d programs and images; certified are %d", len(again), len(certified))
	}
	for i, a := range certified {
		if text := a.short(again[i]); text != "" {
			return text
		}
	}
	return ""
}

// Suite says who asked the questions. SHA256 is of whatever determines them: the catalogue of cases, or the program.
type Suite struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Command string `json:"command"` // the command line, for a reader; "" if there was none
}

// Case is what the suite says about one case. Its evidence lies in CaseFolder(ID).
type Case struct {
	ID       string  `json:"id"`      // NAT-1
	Verdict  string  `json:"verdict"` // the suite's word: pass, pass-nonstrict, inconclusive …
	Outcome  Outcome `json:"outcome"` // the same in the predicate's words
	Why      string  `json:"why"`     // the reason in a sentence or a few; may be ""
	Seed     uint64  `json:"seed,string"`
	Scenario string  `json:"scenario"` // a file in the folder, or "" if the case has none
	Replay   string  `json:"replay"`   // the command that runs this case again with this seed
	// Starts is how often it was begun until it came to its verdict, by StartsFile; 0: it was not run, or nobody counted.
	Starts int `json:"starts"`
}

// File is a file in the folder.
type File struct {
	Path   string `json:"path"` // from the folder, with slashes
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Manifest is everything a certificate says. Whoever certifies fills in all but Schema, Issuers and Files, which Seal does.
type Manifest struct {
	Schema      string     `json:"schema"`
	Subjects    []Artifact `json:"subjects"`    // the firmware first
	Suite       Suite      `json:"suite"`       //
	Declaration string     `json:"declaration"` // a file in the folder
	WitnessOf   string     `json:"witness_of"`  // SHA-256 of the statement whose seeds were run again (Report.Statement); "" if none
	Issuers     []string   `json:"issuers"`     // IDs of the keys that must have signed, sorted
	Verdict     string     `json:"verdict"`     // of the whole suite: pass, pass-nonstrict, inconclusive, fail
	Started     time.Time  `json:"started"`     // UTC
	Finished    time.Time  `json:"finished"`    // UTC
	Cases       []Case     `json:"cases"`       // in the suite's order
	Files       []File     `json:"files"`       // sorted by path
}

// Result is the predicate's result: the suite's verdict in its words. What is not a pass is FAILED.
func (m *Manifest) Result() Outcome {
	switch m.Verdict {
	case "pass":
		return Passed
	case "pass-nonstrict":
		return Warned
	}
	return Failed
}

// Case returns the case of that ID.
func (m *Manifest) Case(id string) (Case, bool) {
	i := slices.IndexFunc(m.Cases, func(c Case) bool { return c.ID == id })
	if i < 0 {
		return Case{}, false
	}
	return m.Cases[i], true
}

// file returns the file of that path.
func (m *Manifest) file(p string) (File, bool) {
	i, ok := slices.BinarySearchFunc(m.Files, p, func(f File, p string) int { return strings.Compare(f.Path, p) })
	if !ok {
		return File{}, false
	}
	return m.Files[i], true
}

// Limits of what a reader is asked to read.
const (
	MaxFile     = 4 << 30  // bytes of one file of evidence
	MaxTotal    = 64 << 30 // bytes of all of them
	MaxFiles    = 100_000
	maxCases    = 10_000
	maxDocument = 64 << 20 // bytes of certificate.json and manifest.json
)

var caseID = regexp.MustCompile(`^[A-Z]{1,8}-[1-9][0-9]{0,4}$`)

// check says what in m contradicts itself. Seal refuses to sign it, and Verify to believe it.
func (m *Manifest) check() error {
	if m.Schema != Schema {
		return fmt.Errorf("schema %q: this punchlab knows %q", m.Schema, Schema)
	}
	for _, step := range []func() error{m.checkHead, m.checkFiles, m.checkCases} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manifest) checkHead() error {
	if len(m.Subjects) == 0 {
		return fmt.Errorf("subjects: empty: a certificate is about some firmware")
	}
	names := map[string]bool{}
	for _, s := range m.Subjects {
		if s.Name == "" || names[s.Name] || !isText(s.Name) || !isDigest(s.SHA256) {
			return fmt.Errorf("subjects: %+q with SHA-256 %+q: want a name of its own and lower-case hexadecimal digits", s.Name, s.SHA256)
		}
		if s.Basis != Measured && s.Basis != Declared || s.Size < 0 || s.Basis == Declared && s.Size != 0 {
			return fmt.Errorf("subjects: %s: basis %q, size %d: want whether it was %s, with its size, or %s, without one", s.Name, s.Basis, s.Size,
				Measured, Declared)
		}
		names[s.Name] = true
	}
	if m.Suite.Name == "" || m.Suite.Version == "" || !isText(m.Suite.Name+m.Suite.Version+m.Suite.Command) || !isDigest(m.Suite.SHA256) {
		return fmt.Errorf("suite: %+q: want a name, a version and a SHA-256", m.Suite)
	}
	if m.WitnessOf != "" && !isDigest(m.WitnessOf) {
		return fmt.Errorf("witness_of: %q is no SHA-256", m.WitnessOf)
	}
	if len(m.Issuers) == 0 || !slices.IsSorted(m.Issuers) || len(slices.Compact(slices.Clone(m.Issuers))) != len(m.Issuers) {
		return fmt.Errorf("issuers: %q: want at least one key, sorted, each once", m.Issuers)
	}
	for _, id := range m.Issuers {
		if !isDigest(id) {
			return fmt.Errorf("issuers: %q is no key ID", id)
		}
	}
	if m.Started.IsZero() || m.Finished.Before(m.Started) || m.Started.Location() != time.UTC || m.Finished.Location() != time.UTC {
		return fmt.Errorf("started %v, finished %v: want UTC, in this order", m.Started, m.Finished)
	}
	return nil
}

func (m *Manifest) checkFiles() error {
	if len(m.Files) > MaxFiles {
		return fmt.Errorf("files: %d, at most %d", len(m.Files), MaxFiles)
	}
	var total int64
	last := ""
	folded := map[string]string{}
	for _, f := range m.Files {
		if err := checkPath(f.Path); err != nil {
			return fmt.Errorf("files: the path %q %w", f.Path, err)
		}
		lower := strings.ToLower(f.Path)
		switch {
		case reserved(f.Path):
			return fmt.Errorf("files: %s: the name is the format's own", f.Path)
		case f.Path <= last:
			return fmt.Errorf("files: %s follows %s: want them sorted, each once", f.Path, last)
		case folded[lower] != "":
			return fmt.Errorf("files: %s and %s are one file where case does not count", f.Path, folded[lower])
		case !isDigest(f.SHA256):
			return fmt.Errorf("files: %s: %q is no SHA-256", f.Path, f.SHA256)
		case f.Size < 0 || f.Size > MaxFile:
			return fmt.Errorf("files: %s has %d bytes, at most %d", f.Path, f.Size, int64(MaxFile))
		}
		last, folded[lower] = f.Path, f.Path
		if total += f.Size; total > MaxTotal {
			return fmt.Errorf("files: more than %d bytes by %s", int64(MaxTotal), f.Path)
		}
	}
	if _, ok := m.file(m.Declaration); !ok {
		return fmt.Errorf("declaration: %q is no file in the folder", m.Declaration)
	}
	return nil
}

func (m *Manifest) checkCases() error {
	if len(m.Cases) == 0 || len(m.Cases) > maxCases {
		return fmt.Errorf("cases: %d, want 1 to %d", len(m.Cases), maxCases)
	}
	bytes := map[string]int64{} // of evidence, by case
	for _, f := range m.Files {
		if rest, ok := strings.CutPrefix(f.Path, CasesFolder+"/"); ok {
			id, _, _ := strings.Cut(rest, "/")
			bytes[id] += f.Size
		}
	}
	seen := map[string]bool{}
	for _, c := range m.Cases {
		if seen[c.ID] {
			return fmt.Errorf("cases: %s is there twice", c.ID)
		}
		seen[c.ID] = true
		if err := m.checkCase(c, bytes[c.ID]); err != nil {
			return fmt.Errorf("cases: %s: %w", c.ID, err)
		}
	}
	for _, f := range m.Files {
		if rest, ok := strings.CutPrefix(f.Path, CasesFolder+"/"); ok {
			if id, _, _ := strings.Cut(rest, "/"); !seen[id] {
				return fmt.Errorf("files: %s belongs to no case that was judged", f.Path)
			}
		}
	}
	return m.checkVerdict()
}

// Repeated lists the cases that were started more than once: "NAT-1 (2 times)".
func (m *Manifest) Repeated() (list []string) {
	for _, c := range m.Cases {
		if c.Starts > 1 {
			list = append(list, fmt.Sprintf("%s (%d times)", c.ID, c.Starts))
		}
	}
	return list
}

// checkVerdict holds the suite's verdict to the cases': it may be worse than they are, never better.
func (m *Manifest) checkVerdict() error {
	seen := map[Outcome]int{}
	passes := 0
	for _, c := range m.Cases {
		seen[c.Outcome]++
		if isPass(c.Verdict) {
			passes++
		}
	}
	switch result := m.Result(); {
	case !isPass(m.Verdict) && m.Verdict != "fail" && m.Verdict != "inconclusive":
		return fmt.Errorf("verdict %q: a suite passes, passes not strictly, fails or is inconclusive", m.Verdict)
	case result != Failed && passes == 0:
		return fmt.Errorf("verdict %s: no case passed", m.Verdict)
	case result != Failed && seen[Failed] > 0, result == Passed && seen[Warned] > 0:
		return fmt.Errorf("verdict %s: better than its cases, of which %d failed and %d warn", m.Verdict, seen[Failed], seen[Warned])
	}
	return nil
}

func (m *Manifest) checkCase(c Case, evidence int64) error {
	if !caseID.MatchString(c.ID) {
		return fmt.Errorf("want a group and a number, as in NAT-1")
	}
	if !isText(c.Why + c.Replay) {
		return fmt.Errorf("want text in UTF-8")
	}
	allowed, ok := verdicts[c.Verdict]
	if !ok {
		return fmt.Errorf("verdict %q: want one of %s", c.Verdict, strings.Join(slices.Sorted(maps.Keys(verdicts)), ", "))
	}
	if c.Starts > 1 && c.Verdict == "pass" {
		allowed = []Outcome{Warned}
	}
	if !slices.Contains(allowed, c.Outcome) {
		return fmt.Errorf("verdict %s with outcome %q: want %q of a case that was started %d times", c.Verdict, c.Outcome, allowed, c.Starts)
	}
	_, counted := m.file(StartsFile)
	if c.Starts < 0 || c.Starts > 0 && !counted || counted && c.Starts == 0 && isPass(c.Verdict) {
		return fmt.Errorf("starts: %d, and %s is there: %v", c.Starts, StartsFile, counted)
	}
	if isPass(c.Verdict) && evidence == 0 {
		return fmt.Errorf("%s on no evidence: %s holds no byte", c.Verdict, CaseFolder(c.ID))
	}
	if _, ok := m.file(c.Scenario); !ok && c.Scenario != "" {
		return fmt.Errorf("scenario %q is no file in the folder", c.Scenario)
	}
	return nil
}

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// isText says that s survives JSON unchanged.
func isText(s string) bool { return utf8.ValidString(s) }
