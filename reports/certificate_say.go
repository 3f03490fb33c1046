package reports

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// standing is how a verdict counts, which is how it is colored and marked.
type standing string

const (
	good  standing = "good"
	doubt standing = "doubt"
	bad   standing = "bad"
	none  standing = "none" // says nothing about the camera
)

// standingOf is how a case counts: what the suite does not depend on is no worse than a doubt.
func standingOf(j certify.Judged) standing {
	switch v := j.Result.Verdict; {
	case v == certify.Pass && j.Result.Repeated():
		return doubt
	case v == certify.Pass:
		return good
	case v == certify.NotApplicable:
		return none
	case (v == certify.Fail || v == certify.Unsupported) && j.Binding():
		return bad
	}
	return doubt
}

// verdictMark is a verdict in one sign, for those who do not see its color.
func verdictMark(v certify.Verdict) string {
	switch v {
	case certify.Pass:
		return "✓"
	case certify.PassNonstrict:
		return "≈"
	case certify.Informational:
		return "i"
	case certify.Fail, certify.Unsupported:
		return "✗"
	case certify.NotApplicable:
		return "–"
	case certify.HarnessError:
		return "!"
	}
	return "?"
}

// verdictSays explains each verdict to a reader.
var verdictSays = map[certify.Verdict]string{
	certify.Pass:          "what was asked for was seen, and enough of it",
	certify.PassNonstrict: "not all that is asked for, but what the case lets pass",
	certify.Informational: "something was measured and nothing judged",
	certify.Fail:          "what was asked for was not kept",
	certify.Inconclusive:  "too little was seen to say, or it was not run",
	certify.Unsupported:   "the camera says that it cannot do it; of a binding case this counts as a fail",
	certify.NotApplicable: "the camera does not declare the feature",
	certify.HarnessError:  "the lab's own fault",
}

// notRun reports whether a case that applies has no result.
func notRun(j certify.Judged) bool {
	r := j.Result
	return j.Applicable && r.Verdict == certify.Inconclusive && r.Reason == "not run" && len(r.Observed) == 0
}

// leftOut reports whether a case was not run because others were asked for.
func (c Certification) leftOut(j certify.Judged) bool {
	return notRun(j) && len(c.Only) > 0 && !slices.Contains(c.Only, j.Case.ID)
}

// sentences are what a head says of the cases, the IDs of each kind.
type sentences struct{ failed, open, missing []string }

// binding sorts the cases on which the suite depends and that did not pass.
func (c Certification) binding() (s sentences) {
	for _, j := range c.Suite.Cases {
		switch v := j.Result.Verdict; {
		case !j.Binding() || v.Passed():
		case notRun(j):
			s.missing = append(s.missing, j.Case.ID)
		case v == certify.Fail || v == certify.Unsupported:
			s.failed = append(s.failed, j.Case.ID)
		default:
			s.open = append(s.open, j.Case.ID)
		}
	}
	return s
}

// band is a remark that must not be overlooked.
type band struct{ Name, Text string }

// bands are why a page is no certificate, whatever its cases say.
func (c Certification) bands() (bs []band) {
	add := func(is bool, name, text string) {
		if is {
			bs = append(bs, band{name, text})
		}
	}
	add(c.Brief, "Brief", "Few tries and short watches, for a quick look. A brief run certifies nothing, and its figures are no claims.")
	add(len(c.Only) > 0, "Single cases", fmt.Sprintf("Only %s run. In certification no case is left out, so this certifies nothing.",
		wereWas(printables(c.Only))))
	add(c.Named, "Named cases", "The programs were told which case was run, for debugging (--no-blind): one may behave for it as for no other. "+
		"It certifies nothing.")
	add(!c.Complete, "Incomplete", "The run ended before every case that it was to run. It certifies nothing.")
	add(c.Declaration == nil, "No declaration", "Nobody said what the camera has and which bounds it keeps. It certifies nothing.")
	add(c.unasked(), "Honesty not probed", "The program was not asked for a case that there is not. No certificate is issued without that.")
	belied := c.Probe != nil && c.Probe.Undeclared != ""
	if belied {
		add(true, "Undeclared", "The camera "+printable(c.Probe.Undeclared)+". The cases that need it were not run, and no certificate is issued.")
	}
	add(c.Probe != nil && !c.Probe.Passed() && !belied, "Dishonest answer", "Asked for a case that there is not, the program did not answer 127, "+
		"unsupported. It is not believed elsewhere, and no certificate is issued.")
	add(!c.signed(), "Unsigned", "No key vouches for this. Anyone could have written it.")
	return bs
}

// unasked reports whether there was a program to ask for a case that there is not, and it was not asked.
func (c Certification) unasked() bool { return c.Probe == nil && c.Way != "box" }

// signed reports whether an issuer signed; a witness's signature alone certifies nothing.
func (c Certification) signed() bool {
	return slices.ContainsFunc(c.Signers, func(s Signer) bool { return !s.Witness })
}

// headline is the answer in a sentence.
func (c Certification) headline() (standing, string) {
	b, n := c.binding(), c.bands()
	switch {
	case c.Probe != nil && c.Probe.Undeclared != "":
		return bad, "Not certified: the camera has what it declares not to have"
	case c.Probe != nil && !c.Probe.Passed():
		return bad, "Not certified: the program answers for a case that there is not"
	case len(b.failed) > 0:
		return bad, "Not certified: " + some(b.failed) + plain(len(b.failed), " fails", " fail")
	case c.Suite.Verdict == certify.Fail:
		return bad, "Not certified: the suite fails"
	case len(b.open) > 0:
		return doubt, "Not certified: " + some(b.open) + plain(len(b.open), " is", " are") + " undecided"
	case len(n) > 0:
		return doubt, "Not certified (" + lowered(n) + "): no binding case that was run failed"
	case c.Suite.Verdict == certify.PassNonstrict:
		return good, fmt.Sprintf("Certified, with %s: %s", plural(len(c.Suite.Warnings), "warning"), c.device())
	case c.Suite.Verdict == certify.Pass:
		return good, "Certified: " + c.device()
	case len(b.missing) > 0:
		return doubt, "Not certified: " + some(b.missing) + plain(len(b.missing), " was", " were") + " not run"
	}
	return doubt, "Not certified: the suite is undecided"
}

// lowered joins the names of bands as they stand in a sentence.
func lowered(bs []band) string {
	var names []string
	for _, b := range bs {
		names = append(names, strings.ToLower(b.Name))
	}
	return list(names)
}

// some names the first few IDs and counts the others.
func some(ids []string) string {
	const most = 5
	if len(ids) <= most {
		return list(ids)
	}
	return list(append(slices.Clone(ids[:most-1]), fmt.Sprintf("%d more", len(ids)-most+1)))
}

func plain(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// wereWas is: NAT-1 was; NAT-1 and NAT-2 were.
func wereWas(ids []string) string { return some(ids) + plain(len(ids), " was", " were") }

func printables(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = printable(w)
	}
	return out
}

// device is: ACME Cam 1, firmware 4.2.
func (c Certification) device() string {
	if c.Declaration == nil {
		return "an undeclared camera"
	}
	d := c.Declaration.Device
	return printable(fmt.Sprintf("%s %s, firmware %s", d.Vendor, d.Model, d.Firmware.Version))
}

// reasons are the suite's, those of cases that were not run in one.
func (c Certification) reasons() []string { return c.gathered(c.Suite.Reasons, true) }

// warnings are the suite's, likewise.
func (c Certification) warnings() []string { return c.gathered(c.Suite.Warnings, false) }

func (c Certification) gathered(says []string, binding bool) (out []string) {
	missing, left := map[string]bool{}, map[string]bool{}
	var ids []string
	for _, j := range c.Suite.Cases {
		if c.leftOut(j) { // a band says which were run
			left[j.Case.ID] = true
		} else if notRun(j) && j.Binding() == binding {
			missing[j.Case.ID] = true
			ids = append(ids, j.Case.ID)
		}
	}
	for _, s := range says {
		if id, _, _ := strings.Cut(s, " "); !left[id] && (len(ids) < 4 || !missing[id]) {
			out = append(out, printable(s))
		}
	}
	if len(ids) >= 4 {
		kind := plain(len(ids), " case that does not bind was", " cases that do not bind were")
		if binding {
			kind = plain(len(ids), " binding case was", " binding cases were")
		}
		out = append(out, fmt.Sprintf("%d%s not run: %s", len(ids), kind, some(ids)))
	}
	return out
}

// caseGroup is the cases whose IDs begin alike, in the suite's order.
type caseGroup struct {
	Key, Name string
	Cases     []certify.Judged
}

var groupNames = map[string]string{"ID": "Identity", "REG": "Registration", "NAT": "Traversal", "MED": "Media", "BW": "Pull",
	"SEC": "Security", "RES": "Resilience", "STD": "Standards"}

func (c Certification) groups() (gs []caseGroup) {
	for _, j := range c.Suite.Cases {
		key := j.Case.Group()
		i := slices.IndexFunc(gs, func(g caseGroup) bool { return g.Key == key })
		if i < 0 {
			name := groupNames[key]
			if name == "" {
				name = printable(key)
			}
			i, gs = len(gs), append(gs, caseGroup{Key: key, Name: name})
		}
		gs[i].Cases = append(gs[i].Cases, j)
	}
	return gs
}

// tally is: 4 pass, 1 fail, 2 not run.
func (g caseGroup) tally() string {
	n, missing := map[certify.Verdict]int{}, 0
	for _, j := range g.Cases {
		if notRun(j) {
			missing++
			continue
		}
		n[j.Result.Verdict]++
	}
	var words []string
	for _, v := range certify.Verdicts {
		if n[v] > 0 {
			words = append(words, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	if missing > 0 {
		words = append(words, fmt.Sprintf("%d not run", missing))
	}
	return strings.Join(words, ", ")
}

// took is the time of a case, or of the suite.
func took(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	if d >= 2*time.Hour {
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return seconds(d.Seconds())
}

// possible reports whether a claim's counts can be: certify panics on others.
func possible(k certify.Claim) bool {
	return k.Tries >= 0 && k.Failures >= 0 && k.Failures <= k.Tries && k.Tries <= 1<<40
}

// claimShort is what the tries show, at the confidence of all claims.
func claimShort(r certify.Result) string {
	switch {
	case r.Claim == nil:
		return ""
	case !possible(*r.Claim):
		return "impossible counts"
	case r.Claim.Tries == 0:
		return "n = 0"
	}
	return strings.Replace(r.Claim.String(), " at 95 % confidence", "", 1)
}

// claimFull is the same in words, both ways.
func claimFull(r certify.Result) string {
	k := r.Claim
	switch {
	case k == nil:
		return ""
	case !possible(*k):
		return fmt.Sprintf("%d failures of %d tries: such counts cannot be.", k.Failures, k.Tries)
	case k.Tries == 0:
		return "No try was made: nothing is shown."
	}
	return fmt.Sprintf("%s of %s failed. Success %s; failures %s.", count(k.Failures), tries(k.Tries), k, k.Risk())
}

func tries(n int) string { return count(n) + plain(n, " try", " tries") }

// claimAsked is the rate that a pass of the case claims; empty if it claims none.
func claimAsked(k certify.Case) string {
	if k.Rate == 0 {
		return ""
	}
	s := fmt.Sprintf("≥ %s %% at %s %% confidence: %s tries without a failure", number(100*k.Rate, 2), number(100*certify.Confidence, 2),
		count(k.Tries()))
	if k.Absolute {
		s += "; a single failure fails the case"
	}
	return s
}

// boundValue is a declared bound with its unit.
func boundValue(d *certify.Declaration, b certify.Bound) string {
	if d == nil {
		return "not declared"
	}
	switch v := d.Bounds; b {
	case certify.BoundKeepalive:
		return duration(v.Keepalive)
	case certify.BoundIdle:
		return size(float64(v.Idle)) + " an hour"
	case certify.BoundFirstFrame:
		return duration(v.FirstFrame)
	case certify.BoundRelayFrame:
		return duration(v.RelayFrame)
	case certify.BoundPorts:
		return ports(v.Ports)
	case certify.BoundFrameOverhead:
		return number(100*v.FrameOverhead, 1) + " %"
	case certify.BoundFloor:
		return bits(float64(v.Floor))
	case certify.BoundBitrate:
		return bits(float64(v.Bitrate))
	case certify.BoundRecovery:
		return duration(v.Recovery)
	}
	return "–"
}

func duration(d time.Duration) string {
	if d == 0 {
		return "not declared"
	}
	return seconds(d.Seconds())
}

func ports(ps []certify.Port) string {
	var words []string
	for _, p := range ps {
		words = append(words, fmt.Sprintf("%s/%d", printable(p.Protocol), p.Number))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}
