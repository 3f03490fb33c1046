package gate

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Threshold is one demand on a run, as a scenario or a command line writes it:
//
//	[abort:] METRIC OP NUMBER [where AXIS == VALUE {and AXIS != VALUE}] [by GROUP]
//
//	direct_rate >= 0.98 where oracle == direct and strategy == adaptive
//	first_frame_ratio.p95 <= 1.3 where strategy == adaptive by link
//	abort: harness_error_rate <= 0.5
//
// METRIC is a rate, or a sample and one of its statistics (.min .p50 .p95 .p99 .max); OP is one of >= <= > <; times are in
// seconds, rates 0–1. All cells that fulfil the conditions are pooled; by AXIS, by oracle or by cell makes a demand of each part
// of them. A VALUE that is no plain word stands in double quotes. The conditions' axis "oracle" is what theory allows the
// cell, without its parameters: direct, predictable, portmap, birthday, relay-only.
//
// String writes the same demand again, in one way only: what parses prints, and parses to the same.
type Threshold struct {
	Abort  bool // a run ends as soon as it is sure to miss this (Monitor)
	Metric Metric
	Op     string // ">=", "<=", ">" or "<"
	Value  float64
	Where  []Condition
	By     string // "", "cell", "oracle" or an axis
}

// Condition is one part of a where clause.
type Condition struct {
	Axis  string
	Not   bool // != instead of ==
	Value string
}

// Words of the grammar, and groups that are no axes.
const (
	byCell     = "cell"
	oracleAxis = "oracle"

	harnessErrorRate = "harness_error_rate"
	abortWord        = "abort"
)

var keywords = []string{"where", "and", "by"}

// oracleKinds are what a condition on the oracle can ask for, the best first (lab/nat.Prospect).
var oracleKinds = []string{"direct", "predictable", "portmap", "birthday", "relay-only"}

// String is the threshold in its one spelling. It is what a manifest carries.
func (t Threshold) String() string {
	var b strings.Builder
	if t.Abort {
		b.WriteString(abortWord + ": ")
	}
	b.WriteString(t.Expect())
	return b.String()
}

// MarshalText is String, for JSON.
func (t Threshold) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseThreshold.
func (t *Threshold) UnmarshalText(text []byte) (err error) {
	*t, err = ParseThreshold(string(text))
	return err
}

// Expect is String without the word abort.
func (t Threshold) Expect() string {
	var b strings.Builder
	b.WriteString(t.Metric.String() + " " + t.Op + " " + strconv.FormatFloat(t.Value, 'g', -1, 64))
	for i, c := range t.Where {
		word := " and "
		if i == 0 {
			word = " where "
		}
		b.WriteString(word + c.String())
	}
	if t.By != "" {
		b.WriteString(" by " + t.By)
	}
	return b.String()
}

// String is the condition as a threshold spells it.
func (c Condition) String() string {
	op := " == "
	if c.Not {
		op = " != "
	}
	return c.Axis + op + quoteWord(c.Value)
}

// quoteWord puts in quotes what would not be read as one word.
func quoteWord(word string) string {
	plain := word != "" && !slices.Contains(keywords, word) && !strings.ContainsFunc(word, func(r rune) bool { return !wordRune(r) })
	if plain {
		return word
	}
	return strconv.Quote(word)
}

// wordRune says whether a word may contain r: names, presets (birthday:256x1024) and numbers are words.
func wordRune(r rune) bool {
	return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_.:/+-%", r))
}

// atLeast says whether the metric must not be under the value (otherwise: not over).
func (t Threshold) atLeast() bool { return t.Op[0] == '>' }

// holds says whether a value of the metric keeps to the threshold.
func (t Threshold) holds(x float64) bool {
	switch t.Op {
	case ">=":
		return x >= t.Value
	case ">":
		return x > t.Value
	case "<=":
		return x <= t.Value
	}
	return x < t.Value
}

// matches says whether a cell fulfils all conditions. One of which nothing is recorded may have any oracle.
func (t Threshold) matches(c *CellSample) bool {
	for _, w := range t.Where {
		unknown := w.Axis == oracleAxis && c.Oracle == ""
		if !unknown && (axisValue(w.Axis, c) == w.Value) == w.Not {
			return false
		}
	}
	return true
}

func axisValue(axis string, c *CellSample) string {
	if axis == oracleAxis {
		return oracleKind(c.Oracle)
	}
	return c.Params[axis]
}

// oracleKind is an oracle's verdict without its parameters: "birthday(0.9, 256)" is "birthday".
func oracleKind(oracle string) string {
	kind, _, _ := strings.Cut(oracle, "(")
	return strings.TrimSpace(kind)
}
