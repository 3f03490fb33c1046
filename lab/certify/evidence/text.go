package evidence

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Text says what a certificate that matches certifies, for a terminal. What others wrote into it is shown without control
// characters.
func (r *Report) Text() string {
	var b strings.Builder
	m := r.Manifest
	for i, s := range m.Subjects {
		fmt.Fprintf(&b, "%-11s %s  sha256 %s\n", map[bool]string{true: "subject"}[i == 0], plain(s.Name), s.SHA256)
		fmt.Fprintf(&b, "%-11s %s\n", "", s.says())
	}
	fmt.Fprintf(&b, "%-11s %s\n", "result", m.counts())
	fmt.Fprintf(&b, "%-11s %s %s  sha256 %s\n", "suite", plain(m.Suite.Name), plain(m.Suite.Version), m.Suite.SHA256)
	fmt.Fprintf(&b, "%-11s %s to %s\n", "run", m.Started.Format(time.RFC3339), m.Finished.Format(time.RFC3339))
	if again := m.Repeated(); len(again) > 0 {
		fmt.Fprintf(&b, "%-11s started more than once: %s\n", "", strings.Join(again, ", "))
	}
	fmt.Fprintf(&b, "%-11s sha256 %s\n", "statement", r.Statement)
	if m.WitnessOf != "" {
		fmt.Fprintf(&b, "%-11s sha256 %s\n", "repeats", m.WitnessOf)
	}
	for i, id := range m.Issuers {
		fmt.Fprintf(&b, "%-11s key %s\n", map[bool]string{true: "issued by"}[i == 0], id)
	}
	for _, w := range r.Witnesses {
		b.WriteString(w.text())
	}
	fmt.Fprintf(&b, "%-11s %d files, %d bytes: each as signed\n", "evidence", len(m.Files), r.Bytes)
	return b.String()
}

// says whose word the digest is.
func (a Artifact) says() string {
	if a.Basis == Measured {
		return fmt.Sprintf("%s (%d bytes)", a.Basis.Says(), a.Size)
	}
	return a.Basis.Says()
}

func (w Witness) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s key %s ran %d of %d cases again: ", "witness", w.Key, w.Cases, w.Of)
	if w.Agrees() {
		b.WriteString("the same verdicts\n")
	} else {
		fmt.Fprintf(&b, "%d other\n", len(w.Differences))
	}
	if again := w.Report.Manifest.Repeated(); len(again) > 0 {
		fmt.Fprintf(&b, "%-11s it started more than once: %s\n", "", strings.Join(again, ", "))
	}
	for _, d := range w.Differences {
		fmt.Fprintf(&b, "%-11s %s: issued as %s, witnessed as %s\n", "", d.Case, plain(d.Issued), plain(d.Witnessed))
	}
	return b.String()
}

// counts reads "FAILED (fail): 40 passed, 2 warned, 1 failed, 5 not applicable".
func (m *Manifest) counts() string {
	n := map[Outcome]int{}
	for _, c := range m.Cases {
		n[c.Outcome]++
	}
	return fmt.Sprintf("%s (%s): %d passed, %d warned, %d failed, %d not applicable", m.Result(), m.Verdict, n[Passed], n[Warned], n[Failed], n[None])
}

// plain replaces what a terminal would obey.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
}
