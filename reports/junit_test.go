package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
)

func junitOf(t *testing.T, c Certification) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := JUnit(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// junitAttributes are the elements and attributes that readers of JUnit know (Jenkins' junit-10.xsd, and skipped on testsuites, which
// pytest, Gradle and GitLab know), and what each element may stand in.
var junitAttributes = map[string]struct {
	in    string
	attrs []string
}{
	"testsuites": {"", []string{"name", "tests", "failures", "errors", "skipped", "time"}},
	"testsuite":  {"testsuites", []string{"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}},
	"properties": {"testsuite", nil},
	"property":   {"properties", []string{"name", "value"}},
	"testcase":   {"testsuite", []string{"name", "classname", "time"}},
	"failure":    {"testcase", []string{"message", "type"}},
	"error":      {"testcase", []string{"message", "type"}},
	"skipped":    {"testcase", []string{"message"}},
	"system-out": {"testcase", nil},
}

// checkJUnit reads the XML strictly: known elements in their places with known attributes, and counts that are right.
func checkJUnit(t *testing.T, text []byte) (failures, errors int) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	var open []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			known, ok := junitAttributes[e.Name.Local]
			in := ""
			if len(open) > 0 {
				in = open[len(open)-1]
			}
			if !ok || known.in != in {
				t.Errorf("<%s> in <%s>", e.Name.Local, in)
			}
			for _, a := range e.Attr {
				if !slices.Contains(known.attrs, a.Name.Local) {
					t.Errorf("<%s> has the attribute %s", e.Name.Local, a.Name.Local)
				}
			}
			open = append(open, e.Name.Local)
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	var got junitSuites
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	var all [4]int
	for _, s := range got.Suites {
		var n [4]int
		names := map[string]bool{}
		for _, k := range s.Cases {
			n[0]++
			for i, why := range []*junitWhy{k.Failure, k.Error, k.Skipped} {
				if why != nil {
					n[i+1]++
				}
			}
			if names[k.Name] {
				t.Errorf("two tests are named %q", k.Name)
			}
			names[k.Name] = true
			if _, err := strconv.ParseFloat(k.Time, 64); k.Time != "" && err != nil {
				t.Errorf("%s took %q", k.Name, k.Time)
			}
		}
		if want := [4]int{s.Tests, s.Failures, s.Errors, s.Skipped}; n != want {
			t.Errorf("%s has %v tests, failures, errors, skipped, and says %v", s.Name, n, want)
		}
		for i := range all {
			all[i] += n[i]
		}
	}
	if want := [4]int{got.Tests, got.Failures, got.Errors, got.Skipped}; all != want {
		t.Errorf("all has %v, and says %v", all, want)
	}
	return got.Failures, got.Errors
}

// TestJUnitReads: every kind of run, the hostile one too, is JUnit.
func TestJUnitReads(t *testing.T) {
	red := map[string]bool{"failed": true, "stopped": true, "dishonest": true, "belied": true, "bare": true}
	for name, c := range certifications() {
		t.Run(name, func(t *testing.T) {
			failures, errors := checkJUnit(t, junitOf(t, c))
			if got := failures+errors > 0; got != red[name] {
				t.Errorf("%d failures and %d errors", failures, errors)
			}
		})
	}
	t.Run("hostile", func(t *testing.T) { checkJUnit(t, junitOf(t, hostileCertification())) })
}

// TestJUnitMapping holds each verdict at each level to what JUnit says of it.
func TestJUnitMapping(t *testing.T) {
	want := map[certify.Verdict][2]junitKind{ // of a binding case, of a should-case
		certify.Pass: {junitPassed, junitPassed}, certify.PassNonstrict: {junitPassed, junitPassed},
		certify.Informational: {junitError, junitSkipped}, certify.Fail: {junitFailure, junitSkipped},
		certify.Inconclusive: {junitError, junitSkipped}, certify.Unsupported: {junitFailure, junitSkipped},
		certify.NotApplicable: {junitSkipped, junitSkipped}, certify.HarnessError: {junitError, junitSkipped},
	}
	for _, v := range certify.Verdicts {
		for i, level := range []certify.Level{certify.Must, certify.Should} {
			j := certify.Judged{Selected: certify.Selected{Case: certify.Case{ID: "NAT-1", Level: level}, Applicable: v != certify.NotApplicable},
				Result: certify.Result{Case: "NAT-1", Verdict: v, Reason: "because"}}
			c := Certification{Suite: certify.Suite{Cases: []certify.Judged{j}}}
			if got, _ := c.junitKind(j); got != want[v][i] {
				t.Errorf("%s of a %s-case: %d, want %d", v, level, got, want[v][i])
			}
		}
	}
}

// TestJUnitIsRedWhenTheSuiteIsNoPass: of each result of each case alone, in a whole run.
func TestJUnitIsRedWhenTheSuiteIsNoPass(t *testing.T) {
	for _, id := range []string{"NAT-4", "MED-7", "REG-5"} {
		for _, v := range certify.Verdicts {
			c := certification(acme(), few[:7], map[string]certify.Result{id: {Verdict: v, Reason: "because", Observed: map[string]int{
				"connects": 4, "frames": 1000, "beside": 1 << 20, "keepalives": 30, "seconds": 600}},
				"NAT-2": rightOf("NAT-2"), "NAT-6": rightOf("NAT-6")})
			failures, errors := checkJUnit(t, junitOf(t, c))
			if red := failures+errors > 0; red == c.Suite.Verdict.Passed() {
				t.Errorf("%s %s: the suite is %s, with %d failures and %d errors", id, v, c.Suite.Verdict, failures, errors)
			}
		}
	}
}

func rightOf(id string) certify.Result {
	c, ok := certify.Lookup(id)
	if !ok {
		panic(fmt.Sprintf("no case %s", id))
	}
	return rightResult(c)
}
