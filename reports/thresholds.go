package reports

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// judging holds a run to its thresholds while it is read. A nil one does nothing: the run has none.
type judging struct {
	thresholds []gate.Threshold
	sample     *gate.Builder
}

func newJudging(man record.Manifest) (*judging, error) {
	if len(man.Thresholds) == 0 {
		return nil, nil
	}
	ts, err := gate.ParseThresholds(man.Thresholds)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", record.ManifestFile, err)
	}
	return &judging{ts, gate.NewBuilder(man)}, nil
}

func (j *judging) add(t record.Trial) error {
	if j == nil {
		return nil
	}
	return j.sample.Add(t)
}

// judgements are what the run says of each threshold, in their order. run tells how it ended.
func (j *judging) judgements(run *record.Run) []gate.Judgement {
	if j == nil {
		return nil
	}
	s := j.sample.Sample()
	s.Truncated, s.Manifest.Complete = run.Truncated, run.Manifest.Complete
	return gate.Judge(s, j.thresholds)
}

// thresholdTitle is the decision over all thresholds, in a sentence.
func (m *model) thresholdTitle() string {
	n := map[gate.Decision]int{}
	for _, j := range m.judged {
		n[j.Decision]++
	}
	d, all := gate.Judged(m.judged), plural(len(m.judged), "threshold")
	switch {
	case d == gate.Pass && len(m.judged) == 1:
		return d.Mark() + " The only threshold is kept"
	case d == gate.Pass:
		return fmt.Sprintf("%s All %s are kept", d.Mark(), all)
	case n[gate.Undecided] == 0:
		return fmt.Sprintf("%s %s of %s missed", d.Mark(), count(n[gate.Fail]), all)
	case d == gate.Fail:
		return fmt.Sprintf("%s %s of %s missed, %s undecided", d.Mark(), count(n[gate.Fail]), all, count(n[gate.Undecided]))
	}
	return fmt.Sprintf("%s %s of %s undecided", d.Mark(), count(n[gate.Undecided]), all)
}

const thresholdsSay = "✓ pass: the run shows that the demand is kept. ✗ fail: it shows that it is missed. ? undecided: it shows neither, which is no pass; more trials decide."

var thresholdHead = []string{"", "demand", "group", "measured", "can be", "n", "remark"}

// thresholdRow is a judgement in words: its sign first.
func thresholdRow(j gate.Judgement) []string {
	print := number3
	switch j.Unit {
	case "s":
		print = seconds
	case "B":
		print = size
	case "bit/s":
		print = bits
	}
	if j.Unit == "" && strings.HasSuffix(j.Metric, "_rate") {
		print = func(v float64) string { return number(100*v, 1) + " %" }
	}
	measured, can := "–", "–"
	if j.Value != nil {
		measured = print(*j.Value)
	}
	switch r := j.Range; {
	case r == nil:
	case r.Low != nil && r.High != nil:
		can = span(print(*r.Low), print(*r.High))
	case r.Low != nil:
		can = "≥ " + print(*r.Low)
	case r.High != nil:
		can = "≤ " + print(*r.High)
	}
	group := j.Group
	if group == "" {
		group = "all"
	}
	return []string{j.Decision.Mark() + " " + string(j.Decision), j.Threshold, group, measured, can, count(j.N), j.Why}
}

func number3(v float64) string { return number(v, 3) }

// thresholdPart is the section under the verdict, nil without thresholds.
func (m *model) thresholdPart() *pageTopic {
	if len(m.judged) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(`<table class="data verdicts"><thead><tr><th scope="col">verdict</th>`)
	for _, h := range thresholdHead[1:] {
		fmt.Fprintf(&b, `<th scope="col">%s</th>`, h)
	}
	b.WriteString("</tr></thead><tbody>")
	for _, j := range m.judged {
		r := thresholdRow(j)
		fmt.Fprintf(&b, `<tr><td class="mark %s">%s</td><th scope="row"><code>%s</code></th>`, j.Decision, r[0], escape(r[1]))
		for i, v := range r[2:] {
			class := ""
			if i == len(r)-3 {
				class = ` class="why"`
			}
			fmt.Fprintf(&b, `<td%s data-name="%s">%s</td>`, class, thresholdHead[i+2], escape(v))
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table>")
	return &pageTopic{Title: m.thresholdTitle(), Says: thresholdsSay, Table: template.HTML(b.String())}
}
