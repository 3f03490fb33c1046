package reports

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
)

// toneANSI are the colors of standings on a terminal; mark and word say the same.
var toneANSI = map[standing]string{good: "\x1b[32m", bad: "\x1b[1;31m", doubt: "\x1b[33m"}

func (c Certification) text(color bool) []byte {
	var b bytes.Buffer
	paint := func(s standing, text string) string {
		if !color || toneANSI[s] == "" {
			return text
		}
		return toneANSI[s] + text + ansiOff
	}
	s, headline := c.headline()
	fmt.Fprintf(&b, "%s\n\n", paint(s, map[standing]string{good: "✓", doubt: "?", bad: "✗"}[s]+" "+headline))
	for _, n := range c.bands() {
		fmt.Fprintf(&b, "%s %s\n", paint(bad, "  !! "+strings.ToUpper(n.Name)+":"), n.Text)
	}
	if len(c.bands()) > 0 {
		b.WriteString("\n")
	}
	for _, p := range c.textFacts() {
		fmt.Fprintf(&b, "  %-11s %s\n", p.Key, p.Value)
	}
	for _, part := range []struct {
		title string
		says  []string
	}{{"Why it is not a pass", c.reasons()}, {"Warnings", c.warnings()}} {
		if len(part.says) > 0 {
			fmt.Fprintf(&b, "\n%s\n", part.title)
		}
		for _, r := range part.says {
			fmt.Fprintf(&b, "  %s\n", r)
		}
	}
	b.WriteString("\nCases\n")
	for _, g := range c.groups() {
		fmt.Fprintf(&b, "  %-13s %s\n", g.Name, g.tally())
		c.textCases(&b, g, paint)
	}
	c.textLacks(&b)
	if c.Verify != "" {
		fmt.Fprintf(&b, "\nCheck it: %s\n", printable(c.Verify))
	}
	return b.Bytes()
}

// textFacts stand under the headline.
func (c Certification) textFacts() (ps []pair) {
	if d := c.Declaration; d != nil {
		f := d.Device.Firmware
		ps = append(ps, pair{"camera", c.device()}, pair{"image", printable(f.Name + " sha256:" + f.SHA256)},
			pair{"digest", c.firmwareBasis()})
	}
	suite := "version " + printable(c.Suite.Version)
	if c.Way != "" {
		suite += ", plugged in as " + printable(c.Way)
	}
	ps = append(ps, pair{"suite", suite}, pair{"seed", strconv.FormatUint(c.Seed, 10)})
	if !c.Started.IsZero() {
		run := instant(c.Started)
		if d := took(c.Finished.Sub(c.Started)); d != "" {
			run += ", took " + d
		}
		ps = append(ps, pair{"run", run})
	}
	ps = append(ps, pair{"honesty", c.probeSays()})
	var roles []string
	for _, p := range c.Roles {
		roles = append(roles, fmt.Sprintf("%s: %s", p.Role, p.By))
	}
	if len(roles) > 0 {
		ps = append(ps, pair{"programs", printable(strings.Join(roles, ", "))})
	}
	for _, s := range c.signatures() {
		ps = append(ps, pair{"signed by", s.Key + " " + s.Value})
	}
	return ps
}

// textCases lists the cases of a group that are no pass. Those that do not apply or were not run are said below, and above.
func (c Certification) textCases(b *bytes.Buffer, g caseGroup, paint func(standing, string) string) {
	for _, j := range g.Cases {
		v := j.Result.Verdict
		if v == certify.Pass && !j.Result.Repeated() || v == certify.NotApplicable || notRun(j) {
			continue
		}
		fmt.Fprintf(b, "    %s %s (%s)\n", paint(standingOf(j), fmt.Sprintf("%s %-7s %s:", verdictMark(v), printable(j.Case.ID), v)),
			printable(j.Case.Title), j.Case.Level)
		if begun := j.Result.Begun(); begun != "" {
			fmt.Fprintf(b, "              %s\n", begun)
		}
		if claim := claimShort(j.Result); claim != "" {
			fmt.Fprintf(b, "              tries show %s\n", claim)
		}
		if replay := c.Runs[j.Case.ID].Replay; replay != "" {
			fmt.Fprintf(b, "              again: %s\n", printable(replay))
		}
	}
}

func (c Certification) textLacks(b *bytes.Buffer) {
	lacks := c.lacks()
	if len(lacks) == 0 {
		return
	}
	b.WriteString("\nWhat the camera does not do\n")
	for _, l := range lacks {
		cases := "no case needs it"
		if len(l.Cases) > 0 {
			cases = strings.Join(l.Cases, ", ") + plain(len(l.Cases), " does", " do") + " not apply"
		}
		fmt.Fprintf(b, "  %-13s %s\n", l.Name, cases)
	}
}
