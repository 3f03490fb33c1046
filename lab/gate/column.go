package gate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/punchlab/punchlab/lab/record"
)

// Column is a value for each trial of a cell, NaN where the trial has none. In JSON that is null, and numbers are rounded to
// millionths: a microsecond.
type Column []float64

var none = math.NaN()

func absent(v float64) bool { return math.IsNaN(v) }

func (c Column) at(i int) float64 {
	if i < 0 || i >= len(c) {
		return none
	}
	return c[i]
}

// MarshalJSON implements json.Marshaler.
func (c Column) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 9*len(c)+2), '[')
	for i, v := range c {
		if i > 0 {
			b = append(b, ',')
		}
		if absent(v) {
			b = append(b, "null"...)
			continue
		}
		if math.IsInf(v, 0) {
			return nil, fmt.Errorf("column: value %d is %v", i, v)
		}
		b = strconv.AppendFloat(b, round(v), 'f', -1, 64)
	}
	return append(b, ']'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Column) UnmarshalJSON(b []byte) error {
	var vs []*float64
	if err := json.Unmarshal(b, &vs); err != nil {
		return err
	}
	*c = make(Column, len(vs))
	for i, v := range vs {
		(*c)[i] = none
		if v != nil {
			(*c)[i] = *v
		}
	}
	return nil
}

func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// Outcomes are those of a cell's trials with a verdict. In JSON they are a string, a letter a trial: d, r, f or u.
type Outcomes []record.Outcome

var outcomeLetter = map[record.Outcome]byte{record.Direct: 'd', record.Relayed: 'r', record.Failed: 'f', record.Unsupported: 'u'}

// MarshalJSON implements json.Marshaler.
func (os Outcomes) MarshalJSON() ([]byte, error) {
	b := make([]byte, len(os))
	for i, o := range os {
		letter, ok := outcomeLetter[o]
		if !ok {
			return nil, fmt.Errorf("outcome %q is no verdict", o)
		}
		b[i] = letter
	}
	return json.Marshal(string(b))
}

// UnmarshalJSON implements json.Unmarshaler.
func (os *Outcomes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*os = make(Outcomes, len(s))
	for i := range len(s) {
		for o, letter := range outcomeLetter {
			if letter == s[i] {
				(*os)[i] = o
			}
		}
		if (*os)[i] == "" {
			return fmt.Errorf("outcome %q is none of d, r, f, u", s[i])
		}
	}
	return nil
}
