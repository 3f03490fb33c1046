package gate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/punchlab/punchlab/lab/internal/spell"
	"github.com/punchlab/punchlab/lab/record"
)

// ThresholdError is what is wrong with a threshold, and where.
type ThresholdError struct {
	Column     int // of the text, in characters from 1
	Msg        string
	Suggestion string // nearest right spelling; may be empty
}

// Error is "character COLUMN: MSG (did you mean …?)".
func (e *ThresholdError) Error() string {
	return fmt.Sprintf("character %d: %s%s", e.Column, e.Msg, spell.DidYouMean(e.Suggestion))
}

// maxThreshold bounds the text of one.
const maxThreshold = 1000

// ParseThreshold reads a threshold. Its error is a *ThresholdError.
func ParseThreshold(text string) (Threshold, error) { return parseThreshold(text, nil) }

// ParseThresholdFor is ParseThreshold for a scenario: its conditions and groups may name no axis but these, and no value that
// such an axis does not have.
func ParseThresholdFor(text string, axes []record.Axis) (Threshold, error) {
	if axes == nil {
		axes = []record.Axis{}
	}
	return parseThreshold(text, axes)
}

func parseThreshold(text string, axes []record.Axis) (t Threshold, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *ThresholdError:
			t, err = Threshold{}, r
		default:
			panic(r)
		}
	}()
	if len(text) > maxThreshold || !utf8.ValidString(text) {
		return t, &ThresholdError{Column: 1, Msg: fmt.Sprintf("not a threshold: text in UTF-8, %d bytes at most", maxThreshold)}
	}
	p := &thresholdParser{tokens: lexThreshold(text), axes: axes}
	return p.threshold(), nil
}

// token is a word, a quoted word, an operator, or the end.
type token struct {
	column int
	kind   tokenKind
	text   string // of a quoted word: what is between the quotes
}

type tokenKind int

const (
	endToken tokenKind = iota + 1
	wordToken
	quotedToken
	operatorToken
)

func (k token) String() string {
	if k.kind == endToken {
		return "the end"
	}
	return spell.Quote(k.text)
}

// fail ends parsing; parseThreshold catches it.
func (k token) fail(suggestion, format string, args ...any) {
	panic(&ThresholdError{Column: k.column, Msg: fmt.Sprintf(format, args...), Suggestion: suggestion})
}

// lexThreshold cuts a text into tokens, the last of which is the end.
func lexThreshold(text string) (tokens []token) {
	column := func(at int) int { return 1 + utf8.RuneCountInString(text[:at]) }
	for at := 0; ; {
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t"))
		rest := text[at:]
		k := token{column: column(at), kind: endToken}
		n := 0 // bytes of the token
		switch {
		case rest == "":
			return append(tokens, k)
		case rest[0] == '"':
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				k.fail("", "a quote that does not end, or holds what Go's would not")
			}
			k.text, _ = strconv.Unquote(quoted)
			k.kind, n = quotedToken, len(quoted)
		case strings.ContainsRune("<>=!", rune(rest[0])):
			n = len(rest) - len(strings.TrimLeft(rest, "<>=!"))
			k.kind, k.text = operatorToken, rest[:n]
		default:
			n = strings.IndexFunc(rest, func(r rune) bool { return !wordRune(r) })
			if n < 0 {
				n = len(rest)
			}
			if n == 0 {
				r, _ := utf8.DecodeRuneInString(rest)
				k.fail(map[rune]string{'≥': ">=", '≤': "<=", '≠': "!="}[r],
					"unexpected %q: a threshold reads like direct_rate >= 0.99 where oracle == direct", r)
			}
			k.kind, k.text = wordToken, rest[:n]
		}
		tokens, at = append(tokens, k), at+n
	}
}

// thresholdParser holds what is left of a threshold. Its methods consume tokens in the order of the grammar.
type thresholdParser struct {
	tokens []token
	axes   []record.Axis // nil: any axis may be named
}

func (p *thresholdParser) next() token {
	k := p.tokens[0]
	if k.kind != endToken {
		p.tokens = p.tokens[1:]
	}
	return k
}

// keyword consumes the word if it is next.
func (p *thresholdParser) keyword(word string) bool {
	k := p.tokens[0]
	if k.kind != wordToken || k.text != word {
		return false
	}
	p.next()
	return true
}

func (p *thresholdParser) threshold() (t Threshold) {
	if p.keyword(abortWord + ":") {
		t.Abort = true
	}
	t.Metric = parseMetricToken(p.next())
	op := p.operator([]string{">=", "<=", ">", "<"}, "write >= or <=: no measurement is exactly anything")
	t.Op = op.text
	t.Value = p.number(t)
	if p.keyword("where") {
		t.Where = append(t.Where, p.condition())
		for p.keyword("and") {
			t.Where = append(t.Where, p.condition(t.Where...))
		}
	}
	if p.keyword("by") {
		t.By = p.group()
	}
	if k := p.next(); k.kind != endToken {
		known := []string{"where", "by"}
		if len(t.Where) > 0 {
			known = []string{"and", "by"}
		}
		if t.By != "" {
			k.fail("", "unexpected %v behind the group: nothing may follow", k)
		}
		k.fail(spell.Nearest(k.text, known), "unexpected %v: %s may follow", k, strings.Join(known, " or "))
	}
	return t
}

func parseMetricToken(k token) Metric {
	if k.kind != wordToken {
		k.fail("", "%v is no metric: a threshold begins with one, such as direct_rate or first_frame_s.p95", k)
	}
	m, err := ParseMetric(k.text)
	if err == nil {
		return m
	}
	if k.text == abortWord {
		k.fail(abortWord+":", "unexpected %v", k)
	}
	name, suffix, dotted := strings.Cut(k.text, ".")
	var names []string
	for _, r := range Rates {
		names = append(names, r.Name)
		if dotted && r.Name == name {
			k.fail(name, "%s is a rate of trials: it has no %s", name, spell.Quote(suffix))
		}
	}
	if _, ok := valueMetric(k.text); ok {
		k.fail(k.text+".p95", "which statistic of %s? It has %s", k.text, strings.Join(Stats, ", "))
	}
	if dot := strings.LastIndexByte(k.text, '.'); dot > 0 {
		if _, ok := valueMetric(k.text[:dot]); ok {
			k.column += dot + 1
			u := spell.Nearest(k.text[dot+1:], Stats)
			k.fail(u, "unknown statistic %s: it is none of %s", spell.Quote(k.text[dot+1:]), strings.Join(Stats, ", "))
		}
		name, suffix = k.text[:dot], k.text[dot:]
	}
	if near := spell.Nearest(k.text, names); near != "" {
		k.fail(near, "unknown metric %v", k)
	}
	names = []string{"bytes.camera_up", "probes.packets"}
	for _, v := range Values {
		names = append(names, v.Name)
	}
	if near := spell.Nearest(name, names); near != "" {
		if _, ok := stat[strings.TrimPrefix(suffix, ".")]; !ok {
			suffix = ".p95"
		}
		k.fail(near+suffix, "unknown metric %v", k)
	}
	k.fail("", "%v", err)
	return Metric{}
}

func (p *thresholdParser) operator(ops []string, otherwise string) token {
	k := p.next()
	if k.kind != operatorToken {
		k.fail("", "%v where one of %s belongs", k, strings.Join(ops, " "))
	}
	if !slices.Contains(ops, k.text) {
		k.fail(nearestOperator(k.text, ops), "unexpected %s: %s", k.text, otherwise)
	}
	return k
}

// nearestOperator is what =>, =<, = and <> are taken for.
func nearestOperator(op string, ops []string) string {
	meant := map[string]string{"=>": ">=", "=<": "<=", "=": "==", "===": "==", "<>": "!=", "!==": "!=", "!": "!="}[op]
	if slices.Contains(ops, meant) {
		return meant
	}
	return ""
}

// number reads the value and refuses what the metric can never be, or always is.
func (p *thresholdParser) number(t Threshold) float64 {
	k := p.next()
	x, err := strconv.ParseFloat(k.text, 64)
	if k.kind != wordToken || err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(k.text, "xX_") {
		if s, ok := plainNumber(k.text); ok && k.kind == wordToken {
			k.fail(s, "%v is not a plain number: times are in seconds, sizes in bytes, rates 0–1", k)
		}
		k.fail("", "%v is not a number: write one such as 0.98", k)
	}
	if p.tokens[0].kind == wordToken && p.tokens[0].text == "%" {
		k.fail(strconv.FormatFloat(x/100, 'g', 6, 64), "%v %% is not a plain number: rates are 0–1", k.text)
	}
	if why := impossible(t, x); why != "" {
		k.fail("", "%s", why)
	}
	if x == 0 {
		return 0 // there is one zero to print
	}
	return x
}

// plainNumber is a number with a unit without it: "300ms" is "0.3".
func plainNumber(text string) (string, bool) {
	for _, u := range []struct {
		suffix string
		factor float64
	}{{"%", 1e-2}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"kB", 1e3}, {"MB", 1e6}, {"B", 1}} {
		if digits, ok := strings.CutSuffix(text, u.suffix); ok {
			if x, err := strconv.ParseFloat(digits, 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
				return strconv.FormatFloat(x*u.factor, 'g', 6, 64), true
			}
		}
	}
	return "", false
}

// impossible says why no run can tell whether a metric keeps to x; "" where one can.
func impossible(t Threshold, x float64) string {
	m := t.Metric
	top := math.Inf(1)
	if m.IsRate() || m.Name == "loss" {
		top = 1
	}
	signed := strings.HasPrefix(m.Name, probesPrefix)
	switch {
	case x > top || x < 0 && !signed:
		return fmt.Sprintf("%v is impossible: %v is never under 0%s", x, m, map[bool]string{true: " or over 1"}[top == 1])
	case !signed && x == 0 && t.Op == ">=", x == top && t.Op == "<=":
		return fmt.Sprintf("%v is always so: it asks nothing", Threshold{Metric: m, Op: t.Op, Value: x}.Expect())
	case !signed && x == 0 && t.Op == "<", x == top && t.Op == ">":
		return fmt.Sprintf("%v is never so", Threshold{Metric: m, Op: t.Op, Value: x}.Expect())
	case m.IsRate() && (x == 0 || x == 1):
		near := math.Abs(x - 0.001)
		return fmt.Sprintf("no number of trials shows a rate of exactly %v: %v takes %d without a miss", x, near, flawless(0.999))
	}
	return ""
}

// condition reads a condition, which must be possible beside those before it.
func (p *thresholdParser) condition(before ...Condition) (c Condition) {
	at := p.next()
	c.Axis = p.axis(at, "a condition names")
	op := p.operator([]string{"==", "!="}, "an axis is == a value or != it")
	c.Not = op.text == "!="
	k := p.next()
	if k.kind != quotedToken && (k.kind != wordToken || slices.Contains(keywords, k.text)) {
		k.fail("", "%v where a value of %s belongs", k, c.Axis)
	}
	c.Value = k.text
	if values := p.values(c.Axis); values != nil && !slices.Contains(values, c.Value) {
		near, rest := spell.Nearest(c.Value, values), ""
		if near == "" && len(values) <= 24 {
			rest = ": it is none of " + strings.Join(values, ", ")
		}
		k.fail(near, "axis %s has no value %s%s", c.Axis, spell.Quote(c.Value), rest)
	}
	for _, b := range before {
		same := b.Value == c.Value
		if b.Axis == c.Axis && (b.Not != c.Not && same || !b.Not && !c.Not && !same) {
			k.fail("", "no cell has both %v and %v", b, c)
		}
	}
	return c
}

// values are those that an axis has; nil: not known.
func (p *thresholdParser) values(axis string) []string {
	if axis == oracleAxis {
		return oracleKinds
	}
	for _, a := range p.axes {
		if a.Key == axis {
			return a.Values
		}
	}
	return nil
}

// axis is the axis that a token names.
func (p *thresholdParser) axis(k token, what string, besides ...string) string {
	if k.kind != wordToken || slices.Contains(keywords, k.text) {
		k.fail("", "%v where %s an axis", k, what)
	}
	known := append([]string{oracleAxis}, besides...)
	for _, a := range p.axes {
		known = append(known, a.Key)
	}
	if p.axes != nil && !slices.Contains(known, k.text) {
		near, rest := spell.Nearest(k.text, known), ""
		if near == "" {
			rest = ": it has " + strings.Join(known, ", ")
		}
		k.fail(near, "the scenario has no axis %v%s", k, rest)
	}
	return k.text
}

func (p *thresholdParser) group() string { return p.axis(p.next(), "a group is", byCell) }
