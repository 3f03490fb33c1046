package reports

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// Elements of JUnit's XML as CI systems read it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string           `xml:"name,attr"`
		Tests      int              `xml:"tests,attr"`
		Failures   int              `xml:"failures,attr"`
		Errors     int              `xml:"errors,attr"`
		Skipped    int              `xml:"skipped,attr"`
		Time       string           `xml:"time,attr,omitempty"`
		Timestamp  string           `xml:"timestamp,attr"`
		Properties *junitProperties `xml:"properties"`
		Cases      []junitCase      `xml:"testcase"`
	}
	junitProperties struct {
		List []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string    `xml:"name,attr"`
		Class     string    `xml:"classname,attr"`
		Time      string    `xml:"time,attr,omitempty"`
		Failure   *junitWhy `xml:"failure"`
		Error     *junitWhy `xml:"error"`
		Skipped   *junitWhy `xml:"skipped"`
		SystemOut string    `xml:"system-out,omitempty"`
	}
	junitWhy struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"` // of a certification: the verdict
	}
)

// junitKind is which element a case has.
type junitKind uint8

const (
	junitPassed junitKind = iota
	junitFailure
	junitError
	junitSkipped
)

// put adds a case with its element, and counts it.
func (s *junitSuite) put(k junitCase, kind junitKind, why junitWhy) {
	s.Tests++
	switch kind {
	case junitFailure:
		k.Failure = &why
		s.Failures++
	case junitError:
		k.Error = &why
		s.Errors++
	case junitSkipped:
		k.Skipped = &junitWhy{Message: why.Message}
		s.Skipped++
	}
	s.Cases = append(s.Cases, k)
}

func (c Certification) junit() ([]byte, error) {
	start := ""
	if !c.Started.IsZero() {
		start = c.Started.UTC().Format(time.RFC3339)
	}
	whole := junitSuite{Name: "certification", Timestamp: start, Properties: c.junitProperties()}
	kind, why := c.junitVerdict()
	whole.put(junitCase{Name: "verdict", Class: whole.Name, SystemOut: c.junitSays()}, kind, junitWhy{why, string(c.Suite.Verdict)})
	all := []junitSuite{whole}
	for _, g := range c.groups() {
		all = append(all, c.junitGroup(g, start))
	}
	out := junitSuites{Name: "punchlab certify " + c.device(), Time: number(max(c.Finished.Sub(c.Started).Seconds(), 0), 3), Suites: all}
	for _, s := range all {
		out.Tests, out.Failures, out.Errors, out.Skipped = out.Tests+s.Tests, out.Failures+s.Failures, out.Errors+s.Errors, out.Skipped+s.Skipped
	}
	b, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render JUnit: %w", err)
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}

// junitGroup is a group's cases as tests.
func (c Certification) junitGroup(g caseGroup, start string) junitSuite {
	s := junitSuite{Name: "certification." + printable(g.Key), Timestamp: start}
	total := time.Duration(0)
	for _, j := range g.Cases {
		run := c.Runs[j.Case.ID]
		total += run.Took
		kind, why := c.junitKind(j)
		k := junitCase{Name: printable(j.Case.ID + " " + j.Case.Title), Class: s.Name, Time: number(run.Took.Seconds(), 3)}
		k.SystemOut = c.junitCaseSays(j)
		s.put(k, kind, junitWhy{why, string(j.Result.Verdict)})
	}
	s.Time = number(total.Seconds(), 3)
	return s
}

// junitKind is the mapping that JUnit documents.
func (c Certification) junitKind(j certify.Judged) (junitKind, string) {
	v := j.Result.Verdict
	why := string(v)
	if r := strings.TrimSpace(printable(j.Result.Reason)); r != "" {
		why += ": " + r
	}
	switch {
	case v.Passed():
		return junitPassed, ""
	case v == certify.NotApplicable:
		return junitSkipped, why
	case c.leftOut(j):
		return junitSkipped, "not asked for"
	case !j.Binding():
		return junitSkipped, "warning: " + why
	case v == certify.Fail || v == certify.Unsupported:
		return junitFailure, why
	}
	return junitError, why
}

// junitVerdict is what the whole comes to as a test.
func (c Certification) junitVerdict() (junitKind, string) {
	_, headline := c.headline()
	if c.Suite.Verdict == certify.Fail || c.Probe != nil && !c.Probe.Passed() {
		return junitFailure, headline
	}
	open := slices.ContainsFunc(c.Suite.Cases, func(j certify.Judged) bool {
		kind, _ := c.junitKind(j)
		return kind == junitError
	})
	nothing := c.Brief || c.Named || len(c.Only) > 0 || c.Declaration == nil || c.unasked()
	switch {
	case open, !c.Complete, !c.Suite.Verdict.Passed() && !nothing:
		return junitError, headline
	case nothing:
		return junitSkipped, headline
	}
	return junitPassed, ""
}

func (c Certification) junitProperties() *junitProperties {
	p := []junitProperty{{"suite", printable(c.Suite.Version)}, {"verdict", string(c.Suite.Verdict)}, {"seed", strconv.FormatUint(c.Seed, 10)},
		{"brief", strconv.FormatBool(c.Brief)}, {"complete", strconv.FormatBool(c.Complete)}, {"signed", strconv.FormatBool(c.signed())}}
	if d := c.Declaration; d != nil {
		p = append(p, junitProperty{"firmware", printable(d.Device.Firmware.Name)}, junitProperty{"sha256", printable(d.Device.Firmware.SHA256)},
			junitProperty{"digest", c.firmwareBasis()})
	}
	return &junitProperties{p}
}

// junitSays is what a reader of the verdict's test finds under it.
func (c Certification) junitSays() string {
	var lines []string
	for _, b := range c.bands() {
		lines = append(lines, strings.ToUpper(b.Name)+": "+b.Text)
	}
	lines = append(lines, c.reasons()...)
	for _, w := range c.warnings() {
		lines = append(lines, "warning: "+w)
	}
	return strings.Join(lines, "\n")
}

// junitCaseSays is what a reader of a case's test finds under it: why a pass is not strict, the claim, and how to run it again.
func (c Certification) junitCaseSays(j certify.Judged) string {
	var lines []string
	if j.Result.Verdict.Passed() && j.Result.Reason != "" {
		lines = append(lines, string(j.Result.Verdict)+": "+printable(j.Result.Reason))
	}
	if s := claimShort(j.Result); s != "" {
		lines = append(lines, "tries show "+s)
	}
	if j.Result.Device != "" {
		lines = append(lines, "the program "+printable(j.Result.Device))
	}
	if r := c.Runs[j.Case.ID].Replay; r != "" {
		lines = append(lines, "again: "+printable(r))
	}
	return strings.Join(lines, "\n")
}
