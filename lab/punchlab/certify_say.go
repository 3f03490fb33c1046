package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/suite"
	"github.com/punchlab/punchlab/reports"
)

// teller shows how far a certification is: a line for each case that is done, and on a terminal a last one that redraws itself; or
// every event as JSON.
type teller struct {
	w     io.Writer
	json  *json.Encoder // nil: for people
	tty   bool
	color bool
	last  time.Time
}

func newTeller(asJSON bool) *teller {
	t := &teller{w: os.Stderr, tty: isTerminal(os.Stderr)}
	t.color = t.tty && os.Getenv("NO_COLOR") == ""
	if asJSON {
		t.json = json.NewEncoder(os.Stdout)
	}
	return t
}

func (t *teller) event(e suite.Event) {
	if t.json != nil {
		_ = t.json.Encode(e) // who reads it no longer does not stop the run
		return
	}
	switch e.Kind {
	case suite.Began:
		t.line("seed %d: %d of %d cases are done", e.Seed, e.Done, e.Of)
	case suite.Finished:
		reason := ""
		if e.Text != "" && e.Verdict != certify.Pass {
			reason = ": " + e.Text
		}
		t.line("%s %-6s %s (%.1f s) %s%s", t.mark(e.Verdict), e.Case, e.Verdict, e.Seconds, e.Title, reason)
	case suite.Probed:
		t.line("%s", e.Text)
	}
	t.status(e)
}

func (t *teller) line(format string, a ...any) {
	t.end()
	fmt.Fprintf(t.w, format+"\n", a...)
}

// status redraws the last line of a terminal.
func (t *teller) status(e suite.Event) {
	if !t.tty || e.Kind == suite.Said && e.At.Sub(t.last) < redraw {
		return
	}
	t.last = e.At
	text := fmt.Sprintf("%d/%d cases, %s left", e.Done, e.Of, suite.About(e.Left))
	if len(e.Running) > 0 {
		text += ", running " + strings.Join(e.Running, " ")
	}
	if e.Kind == suite.Said {
		first, _, _ := strings.Cut(e.Text, "\n")
		text += " | " + e.Case + ": " + first
	}
	const most = 110
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	fmt.Fprintf(t.w, "\r\x1b[K%s", text)
}

// end takes the last line of a terminal away.
func (t *teller) end() {
	if t.tty && t.json == nil {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
}

// mark is a verdict's sign.
func (t *teller) mark(v certify.Verdict) string {
	sign, color := "?", "33"
	switch v {
	case certify.Pass, certify.PassNonstrict:
		sign, color = "✓", "32"
	case certify.Fail, certify.Unsupported:
		sign, color = "✗", "31"
	}
	if !t.color {
		return sign
	}
	return "\x1b[" + color + "m" + sign + "\x1b[0m"
}

// told is the last line of --json.
type outcome struct {
	Kind        string          `json:"event"`
	Verdict     certify.Verdict `json:"verdict"` // of the suite
	Ran         certify.Verdict `json:"ran"`     // of the cases that were run, by themselves
	Complete    bool            `json:"complete"`
	Folder      string          `json:"folder"`
	Report      string          `json:"report"`
	Certificate bool            `json:"certificate"`
	Unsealed    string          `json:"unsealed,omitempty"` // why there is none
}

// tell says what a run came to.
func (f *certifyFlags) tell(c *certification, out *suite.Outcome) error {
	if f.json {
		return json.NewEncoder(os.Stdout).Encode(outcome{"outcome", out.Certification.Suite.Verdict, out.Ran, out.Certification.Complete,
			out.Folder, pageOf(out), out.Certificate != nil, out.Unsealed})
	}
	if err := reports.CertificateText(os.Stdout, out.Certification, colorful()); err != nil {
		return err
	}
	fmt.Printf("\nreport: %s\n", pageOf(out))
	if out.Certificate == nil {
		fmt.Printf("no certificate: %s\n", out.Unsealed)
	}
	return nil
}

// hasPrefix reports whether a text begins with one of several.
func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
