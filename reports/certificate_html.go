package reports

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

var (
	//go:embed assets/certificate.gohtml
	certificatePage string
	//go:embed assets/certificate.css
	certificateCSS      string
	certificateTemplate = template.Must(template.New("certificate").Parse(certificatePage))
)

// Limits of the timelines that a page carries; the others are linked as evidence.
const (
	mostTimeline  = 512 << 10
	mostTimelines = 8 << 20
)

// certificateData is what the template reads.
type certificateData struct {
	Title, Headline, Mark string
	Standing              standing
	CSS                   template.CSS
	Suite                 string
	Bands                 []band
	Meta                  []pair
	Counts                []certificateCount
	Reasons, Warnings     []linkedText
	Groups                []certificateGroup
	Lacks                 []certificateLack
	Declared              []pair
	Features              []pair
	Bounds, Servers       []pair
	Run, Signed           []pair
	Verify, Command       string
	Versions, Machine     []pair
	Verdicts              []certificateCount
	Confidence            string
	Unread                int // clauses that were not verified
}

type certificateCount struct {
	Mark, Name, Says string
	Standing         standing
	N                int
}

// linkedText is a sentence that begins with a case's ID; without one ID is empty.
type linkedText struct{ ID, Text string }

type certificateGroup struct {
	Key, Name, Tally string
	Cases            []certificateCase
}

type certificateCase struct {
	ID, Title, Level, Mark, Verdict, Reason, Claim, Took string
	Standing                                             standing
	Facts                                                []pair // level … criterion
	Origin                                               []certificateClause
	Seen                                                 []certificateSeen
	Others                                               []pair // observed and not asked for
	Shown                                                string // what the tries show
	Asked                                                string // what a pass has to show
	Device                                               string
	Seed, Replay                                         string
	Ran                                                  bool
	Files                                                []certificateFile
	Absent                                               []string // evidence that the case has to have and that is not there
	Timeline                                             template.URL
	Begun                                                string // how often it was started, where that was more than once
	Starts                                               []certificateStart
}

// certificateStart is one time that a case was begun.
type certificateStart struct {
	N           int
	Began, Says string
	Link        template.URL
}

type certificateClause struct {
	Name, Quote string
	Quoted      bool // its own words
	Unread      bool
}

type certificateSeen struct {
	What     string
	Min, Got string
	Enough   bool
	Brief    bool // enough for a brief run
}

type certificateFile struct {
	Name, Size, SHA256 string
	Link               template.URL // "" if it leads anywhere but into the page's folder
}

// certificateLack is a feature that is not declared, and the cases that so do not apply.
type certificateLack struct {
	Name, What string
	Cases      []string
}

func (c Certification) html() ([]byte, error) {
	s, headline := c.headline()
	d := certificateData{
		Title: headline, Headline: tie(headline), Standing: s, CSS: template.CSS(pageCSS + certificateCSS),
		Mark: map[standing]string{good: "✓", doubt: "?", bad: "✗"}[s], Suite: printable(c.Suite.Version),
		Bands: c.bands(), Meta: c.meta(), Counts: c.counts(),
		Reasons: c.linked(c.reasons()), Warnings: c.linked(c.warnings()),
		Lacks: c.lacks(), Run: c.runFacts(), Signed: c.signatures(), Verify: printable(c.Verify), Command: printable(c.Command),
		Versions: facts(c.Versions), Machine: facts(c.Machine), Verdicts: c.verdictKey(),
		Confidence: number(100*certify.Confidence, 2) + "\u00a0%",
	}
	d.Declared, d.Features, d.Bounds, d.Servers = c.declared()
	room := mostTimelines
	for _, g := range c.groups() {
		group := certificateGroup{Key: printable(g.Key), Name: g.Name, Tally: g.tally()}
		for _, j := range g.Cases {
			k := c.pageCase(j)
			if svg := c.Runs[j.Case.ID].Timeline; len(svg) > 0 && len(svg) <= min(room, mostTimeline) {
				room -= len(svg)
				k.Timeline = template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg))
			}
			for _, o := range k.Origin {
				if o.Unread {
					d.Unread++
				}
			}
			group.Cases = append(group.Cases, k)
		}
		d.Groups = append(d.Groups, group)
	}
	var b bytes.Buffer
	if err := certificateTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("render certificate page: %w", err)
	}
	return b.Bytes(), nil
}

// meta is what stands under the headline.
func (c Certification) meta() (ps []pair) {
	if d := c.Declaration; d != nil {
		ps = append(ps, pair{"camera", printable(d.Device.Vendor + " " + d.Device.Model)},
			pair{"firmware", printable(d.Device.Firmware.Name + ", version " + d.Device.Firmware.Version)},
			pair{"firmware's SHA-256", printable(d.Device.Firmware.SHA256)}, pair{"this digest was", tie(c.firmwareBasis())})
	}
	ps = append(ps, pair{"suite", "version " + printable(c.Suite.Version)})
	if c.Way != "" {
		ps = append(ps, pair{"plugged in as", printable(c.Way)})
	}
	if !c.Started.IsZero() {
		ps = append(ps, pair{"run", instant(c.Started)})
		if d := took(c.Finished.Sub(c.Started)); d != "" {
			ps = append(ps, pair{"took", tie(d)})
		}
	}
	return append(ps, pair{"seed", strconv.FormatUint(c.Seed, 10)})
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// counts are the verdicts that occurred, what was not run by itself.
func (c Certification) counts() (cs []certificateCount) {
	missing := 0
	for _, j := range c.Suite.Cases {
		if notRun(j) {
			missing++
		}
	}
	for _, v := range c.verdictKey() {
		if v.Name == string(certify.Inconclusive) {
			v.N -= missing
		}
		if v.N > 0 {
			cs = append(cs, v)
		}
	}
	if missing > 0 {
		cs = append(cs, certificateCount{Mark: "·", Name: "not run", Says: "nothing is known", Standing: none, N: missing})
	}
	return cs
}

// verdictKey are all verdicts, each as its worst case stands, or as such a case would.
func (c Certification) verdictKey() (cs []certificateCount) {
	usual := map[certify.Verdict]standing{certify.Pass: good, certify.Fail: bad, certify.Unsupported: bad, certify.NotApplicable: none}
	for _, v := range certify.Verdicts {
		k := certificateCount{Mark: verdictMark(v), Name: string(v), Says: verdictSays[v], Standing: usual[v]}
		if k.Standing == "" {
			k.Standing = doubt
		}
		binding := false
		for _, j := range c.Suite.Cases {
			if j.Result.Verdict == v {
				k.N++
				binding = binding || j.Binding()
			}
		}
		if k.N > 0 && k.Standing == bad && !binding {
			k.Standing = doubt
		}
		cs = append(cs, k)
	}
	return cs
}

// linked finds the case that a sentence begins with.
func (c Certification) linked(says []string) (out []linkedText) {
	for _, s := range says {
		id, rest, _ := strings.Cut(s, " ")
		if slices.ContainsFunc(c.Suite.Cases, func(j certify.Judged) bool { return j.Case.ID == id }) {
			out = append(out, linkedText{id, tie(rest)})
		} else {
			out = append(out, linkedText{"", tie(s)})
		}
	}
	return out
}

// pageCase is a case as it is unfolded, without its timeline.
func (c Certification) pageCase(j certify.Judged) certificateCase {
	run, ran := c.Runs[j.Case.ID]
	k := certificateCase{
		ID: printable(j.Case.ID), Title: tie(printable(j.Case.Title)), Level: string(j.Case.Level), Standing: standingOf(j),
		Mark: verdictMark(j.Result.Verdict), Verdict: string(j.Result.Verdict), Reason: tie(printable(j.Result.Reason)),
		Claim: tie(claimShort(j.Result)), Took: tie(took(run.Took)), Shown: tie(claimFull(j.Result)), Asked: tie(claimAsked(j.Case)),
		Device: printable(j.Result.Device), Ran: ran && j.Applicable, Replay: printable(run.Replay), Facts: c.caseFacts(j),
	}
	if notRun(j) {
		k.Ran, k.Verdict, k.Mark, k.Reason = false, "not run", "·", ""
	}
	if c.leftOut(j) {
		k.Standing = none // a band says which were run
	}
	if k.Ran {
		k.Seed = strconv.FormatUint(run.Seed, 10)
		k.Begun, k.Starts = j.Result.Begun(), startsOf(run.Starts)
		k.Files, k.Absent = filesOf(run.Files), missingOf(j.Case.Evidence, run.Files)
	}
	for _, o := range j.Case.Origin {
		k.Origin = append(k.Origin, clauseOf(o))
	}
	k.Seen, k.Others = c.seen(j)
	return k
}

// caseFacts are a case's own texts, with the declared bounds.
func (c Certification) caseFacts(j certify.Judged) []pair {
	k := j.Case
	ps := []pair{{"applies", fmt.Sprintf("%s (suite %s)", j.Why, k.Since)}, {"procedure", k.Procedure}, {"passes if", k.Criterion},
		{"non-strict pass", k.Nonstrict}}
	for _, b := range k.Bounds {
		ps = append(ps, pair{"declared " + string(b), boundValue(c.Declaration, b)})
	}
	if k.Units > 1 {
		ps = append(ps, pair{"units", strconv.Itoa(k.Units)})
	}
	var out []pair
	for _, p := range ps {
		if p.Value != "" {
			out = append(out, pair{p.Key, tie(printable(p.Value))})
		}
	}
	return out
}

// clauseOf takes apart what Clause.String puts together.
func clauseOf(o certify.Clause) certificateClause {
	k := certificateClause{Name: printable(o.Name()), Quote: printable(o.Quote), Unread: !o.Verified}
	k.Quoted = strings.Contains(o.String(), "“"+o.Quote+"”") && o.Quote != ""
	return k
}

// seen sets what was observed against what had to be, in the case's order; others are by name.
func (c Certification) seen(j certify.Judged) (rows []certificateSeen, others []pair) {
	asked := map[string]bool{}
	for _, n := range j.Case.Observed {
		asked[n.Name] = true
		got, least := j.Result.Observed[n.Name], max(n.Min, 1)
		rows = append(rows, certificateSeen{printable(n.What), count(least), count(got), got >= least, c.Brief && got > 0})
	}
	for _, name := range slices.Sorted(maps.Keys(j.Result.Observed)) {
		if !asked[name] {
			others = append(others, pair{printable(name), count(j.Result.Observed[name])})
		}
	}
	return rows, others
}

func filesOf(fs []EvidenceFile) (out []certificateFile) {
	for _, f := range fs {
		out = append(out, certificateFile{printable(f.Name), tie(size(float64(f.Size))), printable(f.SHA256), link(f.Link)})
	}
	return out
}

// startsOf says of each start how it ended.
func startsOf(starts []Start) (out []certificateStart) {
	for _, s := range starts {
		says := s.Ended
		if says == "" {
			says = "cut short, and nobody was there to write down how"
		}
		if s.Why != "" {
			says += ": " + s.Why
		}
		out = append(out, certificateStart{s.N, instant(s.Began), tie(printable(says)), link(s.Link)})
	}
	return out
}

// link is a path that stays in the page's folder, as a URL; any other is none.
func link(path string) template.URL {
	if !fs.ValidPath(path) || path == "." {
		return ""
	}
	return template.URL((&url.URL{Path: path}).String())
}

// missingOf lists the evidence that there has to be and is not. A capture of a second lab has a number.
func missingOf(want []string, have []EvidenceFile) (out []string) {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(f EvidenceFile) bool { return f.Name == w }) {
			out = append(out, printable(w))
		}
	}
	return out
}
