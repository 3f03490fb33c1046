package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// attacksSchema is what attacks.json says it is.
const attacksSchema = "punchlab/attacks/1"

// AttackRecord is attacks.json, a soak of the bundled implementation: thousands of tries of each attack, and what each unauthenticated
// message draws. Who makes it is lab/attack/soak.
type AttackRecord struct {
	Schema     string           `json:"schema"`
	Attacks    []AttackResult   `json:"attacks"`
	Reflection *ReflectionTable `json:"reflection,omitempty"`
}

// AttackResult is what came of the tries of one attack.
type AttackResult struct {
	Attack string           `json:"attack"`
	Seed   uint64           `json:"seed"`
	Claim  certify.Claim    `json:"claim"` // a failure is a success of the attacker
	Shapes []AttackShape    `json:"shapes"`
	Gained []string         `json:"gained,omitempty"` // of the first successes a sentence each
	Seen   map[string]int64 `json:"seen"`             // what was observed beside; none may be zero
	Timing *AttackTiming    `json:"timing,omitempty"`
	Took   time.Duration    `json:"took"` // ns
}

// AttackShape is a way of trying.
type AttackShape struct {
	Name      string `json:"name"`
	Tries     int    `json:"tries"`
	Successes int    `json:"successes"`
}

// AttackTiming is what the times of answers tell about which of two identifiers exists.
type AttackTiming struct {
	Offline int     `json:"offline"` // answers about cameras that are offline
	Unknown int     `json:"unknown"` // about ones that never were
	Chance  float64 `json:"chance"`  // that the offline one's answer is the later one, of a pair: 0.5 tells nothing
	Low     float64 `json:"low"`     // of the interval of Chance
	High    float64 `json:"high"`
	P       float64 `json:"p"` // by Mann and Whitney
}

// ReflectionTable is what datagrams in another's name draw.
type ReflectionTable struct {
	Seed   uint64          `json:"seed"`
	Waited time.Duration   `json:"waited"` // ns, for what is sent again
	Rows   []ReflectionRow `json:"rows"`
}

// ReflectionRow is what one sort of datagram draws from one target. Bytes are with IP headers.
type ReflectionRow struct {
	Target     string  `json:"target"`
	Message    string  `json:"message"`
	Variant    string  `json:"variant"`
	In         int64   `json:"in"` // datagrams sent
	BytesIn    int64   `json:"bytes_in"`
	Out        int64   `json:"out"` // packets that the named sender got
	BytesOut   int64   `json:"bytes_out"`
	Reflection float64 `json:"reflection"` // bytes out ÷ bytes in
}

// ReadAttacks reads attacks.json.
func ReadAttacks(r io.Reader) (a AttackRecord, err error) {
	if err := json.NewDecoder(r).Decode(&a); err != nil {
		return a, fmt.Errorf("read record of attacks: %w", err)
	}
	if a.Schema != attacksSchema {
		return a, fmt.Errorf("read record of attacks: its schema is %q, and this program reads %s", a.Schema, attacksSchema)
	}
	return a, nil
}

// mostReflection is how many bytes an unauthenticated message may draw for each of its own.
const mostReflection = 1.0

// AttacksPage writes a soak as one HTML page: no script, nothing fetched. An attack of which something that had to be observed was not
// is undecided, as is a message of which no datagram was sent.
func AttacksPage(w io.Writer, a AttackRecord) error {
	s := sheet{Kind: "attacks on the bundled implementation", Foot: "Made by punchlab from attacks.json; the same record gives the same page.",
		Says: "A try is what an attacker does once. A success is seen from outside, by packets and by what honest devices are told, and never " +
			"by asking the program that is attacked. The bound is what the tries cannot rule out, by Clopper and Pearson."}
	s.Standing, s.Title, s.Problems = a.sum()
	if len(a.Attacks) > 0 {
		s.Parts = append(s.Parts, a.tries())
	}
	if a.Reflection != nil {
		s.Parts = append(s.Parts, a.Reflection.part())
	}
	if len(a.Attacks) > 0 { // behind the others: it is long
		s.Parts = append(s.Parts, a.shapes())
	}
	return s.write(w)
}

// sum is the answer, and what spoils it.
func (a AttackRecord) sum() (stands standing, title string, problems []string) {
	stands, won, all := good, 0, 0
	worse := func(to standing, format string, args ...any) {
		problems = append(problems, tie(printable(fmt.Sprintf(format, args...))))
		if stands == good || to == bad {
			stands = to
		}
	}
	for _, r := range a.Attacks {
		won, all = won+r.Claim.Failures, all+r.Claim.Tries
		if r.Claim.Failures > 0 || !possible(r.Claim) {
			worse(bad, "%s: %d of %d tries succeeded", r.Attack, r.Claim.Failures, r.Claim.Tries)
		}
		for _, g := range r.Gained {
			worse(bad, "%s: %s", r.Attack, g)
		}
		for _, name := range r.unseen() {
			worse(doubt, "%s: no %s was observed, so that its tries show nothing", r.Attack, name)
		}
	}
	title = fmt.Sprintf("%s of %s succeeded", count(won), tries(all))
	if a.Reflection == nil || len(a.Reflection.Rows) == 0 {
		if all == 0 {
			worse(doubt, "nothing was tried, so nothing is shown")
		}
		return stands, title, problems
	}
	worst := 0.0
	for _, r := range a.Reflection.Rows {
		if r.Reflection > worst {
			worst = r.Reflection
		}
		switch r.stands() {
		case bad:
			worse(bad, "%s, %s (%s): %s bytes out for %s in", r.Target, r.Message, r.Variant, count(int(r.BytesOut)), count(int(r.BytesIn)))
		case doubt:
			worse(doubt, "%s, %s (%s): no datagram was sent", r.Target, r.Message, r.Variant)
		}
	}
	if len(a.Attacks) == 0 {
		return stands, fmt.Sprintf("Reflection is %s× at most", number(worst, 2)), problems
	}
	return stands, fmt.Sprintf("%s; reflection is %s× at most", title, number(worst, 2)), problems
}

// unseen is what had to be observed and was not.
func (r AttackResult) unseen() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(r.Seen)) {
		if r.Seen[name] <= 0 {
			names = append(names, name)
		}
	}
	return names
}

// tries is a row for each attack.
func (a AttackRecord) tries() sheetPart {
	p := sheetPart{ID: "attacks", Title: "Attacks",
		Head: []string{"attack", "tries", "succeeded", "a try may yet succeed", "observed beside", "seed", "time"}}
	for _, r := range a.Attacks {
		won := sheetCell{Text: count(r.Claim.Failures), Class: "n", Standing: good}
		risk := "such counts cannot be"
		if possible(r.Claim) {
			risk = r.Claim.Risk()
		}
		if r.Claim.Failures > 0 {
			won.Standing = bad
		}
		var seen []string
		for _, name := range slices.Sorted(maps.Keys(r.Seen)) {
			seen = append(seen, fmt.Sprintf("%s %s", count(int(r.Seen[name])), name))
		}
		beside := sheetCell{Text: tie(printable(strings.Join(seen, ", "))), Class: "text", Small: tie(r.Timing.says())}
		p.Rows = append(p.Rows, []sheetCell{{Text: printable(r.Attack), Row: true}, {Text: count(r.Claim.Tries), Class: "n"}, won, {Text: tie(risk)},
			beside, {Text: strconv.FormatUint(r.Seed, 10), Class: "n"}, {Text: tie(took(r.Took)), Class: "n"}})
	}
	return p
}

// says is what the times of answers give away.
func (t *AttackTiming) says() string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("times: of a pair the offline camera’s answer is the later one in %s %% (%s–%s %%; 50 %% tells nothing), "+
		"p = %s, of %s and %s answers", number(100*t.Chance, 1), number(100*t.Low, 1), number(100*t.High, 1), number(t.P, 3),
		count(t.Offline), count(t.Unknown))
}

// shapes is a row for each way of trying.
func (a AttackRecord) shapes() sheetPart {
	p := sheetPart{ID: "shapes", Title: "Ways of trying", Head: []string{"attack", "how", "tries", "succeeded"}}
	for _, r := range a.Attacks {
		for _, k := range r.Shapes {
			won := sheetCell{Text: count(k.Successes), Class: "n"}
			if k.Successes > 0 {
				won.Standing = bad
			}
			p.Rows = append(p.Rows, []sheetCell{{Text: printable(r.Attack), Row: true}, {Text: printable(k.Name), Class: "text"},
				{Text: count(k.Tries), Class: "n"}, won})
		}
	}
	return p
}

// part is the table of reflection, the worst first.
func (t ReflectionTable) part() sheetPart {
	p := sheetPart{ID: "reflection", Title: "Reflection",
		Head: []string{"to", "message", "variant", "datagrams", "bytes", "packets out", "bytes out", "out ÷ in"},
		Says: tie(fmt.Sprintf("Each message is sent in the name of a host that has nothing to do with anybody, and what that host gets is counted, "+
			"IP headers with it, for %s more. An unauthenticated message may draw its own bytes at most.", seconds(t.Waited.Seconds())))}
	rows := slices.Clone(t.Rows)
	slices.SortStableFunc(rows, func(a, b ReflectionRow) int {
		switch {
		case a.Reflection > b.Reflection:
			return -1
		case a.Reflection < b.Reflection:
			return 1
		}
		return 0
	})
	for _, r := range rows {
		out := sheetCell{Text: orDash(strings.TrimPrefix(number(r.Reflection, 3), "NaN")), Class: "n", Standing: r.stands()}
		if out.Standing == doubt {
			out.Text = "not sent"
		}
		n := func(v int64) sheetCell { return sheetCell{Text: count(int(v)), Class: "n"} }
		p.Rows = append(p.Rows, []sheetCell{{Text: printable(r.Target), Row: true}, {Text: printable(r.Message)}, {Text: printable(r.Variant)},
			n(r.In), n(r.BytesIn), n(r.Out), n(r.BytesOut), out})
	}
	return p
}

// stands: a row is judged by its counts as well as by its ratio.
func (r ReflectionRow) stands() standing {
	switch {
	case r.In <= 0 || r.BytesIn <= 0:
		return doubt
	case !(r.Reflection <= mostReflection) || r.BytesOut > r.BytesIn:
		return bad
	}
	return good
}
