package reports

import (
	"fmt"
	"image/color"
	"math"

	"github.com/punchlab/punchlab/lab/record"
)

// ramp is a sequential palette at equal steps, dark to light or light to dark, of steadily growing lightness: it reads
// the same with every kind of color blindness and in gray.
type ramp []uint32

// cividis (Nuñez, Anderton and Renslow, 2018) carries the direct rate; oranges, after ColorBrewer, the relay share.
var (
	cividis = ramp{0x00224e, 0x123570, 0x3b496c, 0x575d6d, 0x707173, 0x8a8678, 0xa59c74, 0xc3b369, 0xe1cc55, 0xfee838}
	oranges = ramp{0xfff5eb, 0xfee6ce, 0xfdd0a2, 0xfdae6b, 0xfd8d3c, 0xf16913, 0xd94801, 0xa63603, 0x7f2704}
)

// at returns the color at v in 0–1.
func (r ramp) at(v float64) color.NRGBA {
	x := math.Max(0, math.Min(1, v)) * float64(len(r)-1)
	i := min(int(x), len(r)-2)
	f := x - float64(i)
	mix := func(shift uint) uint8 {
		a, b := float64(r[i]>>shift&0xff), float64(r[i+1]>>shift&0xff)
		return uint8(math.Round(a + f*(b-a)))
	}
	return color.NRGBA{mix(16), mix(8), mix(0), 0xff}
}

// luminance is WCAG 2's relative luminance.
func luminance(c color.NRGBA) float64 {
	lin := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(c.R) + 0.7152*lin(c.G) + 0.0722*lin(c.B)
}

// contrast is WCAG 2's ratio, 1 to 21.
func contrast(a, b color.NRGBA) float64 {
	x, y := luminance(a), luminance(b)
	if x < y {
		x, y = y, x
	}
	return (x + 0.05) / (y + 0.05)
}

// textOn picks black or white, whichever can be read better: never under 4.5 to 1.
func textOn(bg color.NRGBA) color.NRGBA {
	black, white := color.NRGBA{A: 0xff}, color.NRGBA{0xff, 0xff, 0xff, 0xff}
	if contrast(bg, black) >= contrast(bg, white) {
		return black
	}
	return white
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// heat is what a matrix shows: a share of each cell's trials with a verdict.
type heat struct {
	id, title string
	what      string // the share, in words
	palette   ramp
	count     func(*cell) int
}

var directHeat = heat{"direct-rate", "Direct rate", "direct", cividis, func(c *cell) int { return c.Outcomes[record.Direct] }}

var relayHeat = heat{"relay-share", "Relay share", "relayed", oranges, func(c *cell) int { return c.Outcomes[record.Relayed] }}

// short prints a share in the little room of a cell: only all is 100 and only none is 0.
func short(k, n int) string {
	v := int(math.Round(100 * float64(k) / float64(n)))
	if v == 100 && k < n {
		v = 99
	}
	if v == 0 && k > 0 {
		v = 1
	}
	return fmt.Sprintf("%d%%", v)
}

// oracleMark draws an oracle's verdict: how much of a direct path it promises.
type oracleMark struct{ Kind, Class, Says string }

var oracleMarks = []oracleMark{
	{"direct", "od", "a direct path is possible"},
	{"predictable", "oh", "possible only by predicting a port"},
	{"birthday", "oh", "possible only by trying many ports"},
	{"portmap", "op", "possible only by asking a router for a mapping"},
	{"relay-only", "or", "only a relay can connect"},
}

func markOf(oracle string) (oracleMark, bool) {
	for _, o := range oracleMarks {
		if o.Kind == oracleKind(oracle) {
			return o, true
		}
	}
	return oracleMark{}, false
}

// describe tells everything about a cell in one line: its tooltip, and what a screen reader says.
func (h heat) describe(m *model, c *cell) string {
	if c == nil {
		return "no trial recorded"
	}
	s := m.name(c) + ": "
	switch {
	case c.Trials == 0:
		return s + fmt.Sprintf("no verdict, %s", plural(c.Outcomes[record.HarnessError], "harness error"))
	case c.unsupported():
		return s + fmt.Sprintf("unsupported, n = %d", c.Trials)
	}
	k := h.count(c)
	s += fmt.Sprintf("%s %s (%d of %d, 95 %% interval %s)", h.what, percent(k, c.Trials), k, c.Trials, interval(k, c.Trials))
	for _, o := range record.Outcomes {
		if n := c.Outcomes[o]; n > 0 {
			s += fmt.Sprintf("; %s %d", o, n)
		}
	}
	if c.Oracle != "" {
		s += "; oracle: " + c.Oracle
	}
	if c.leak() {
		s += "; direct where the oracle says relay only"
	}
	if c.shortfall() {
		s += "; short of what the oracle promises"
	}
	return s
}
