package label

import (
	"bytes"
	"encoding/xml"
	"image"
	"image/color"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A finder pattern stands in three corners (ISO/IEC 18004 §6.3.3).
func TestCodeHasFinders(t *testing.T) {
	for _, text := range []string{"A", testLabel(t).String(), strings.Repeat("x", 1000)} {
		c := mustNew(t, text)
		if (c.Size-17)%4 != 0 {
			t.Errorf("%d modules on a side are no version's", c.Size)
		}
		for _, corner := range []image.Point{{}, {X: c.Size - 7}, {Y: c.Size - 7}} {
			for i := range 49 {
				x, y := i%7, i/7
				ring := max(abs(x-3), abs(y-3)) // dark but for the second ring
				if c.Dark(corner.X+x, corner.Y+y) != (ring != 2) {
					t.Fatalf("no finder pattern at %v", corner)
				}
			}
		}
	}
}

func abs(x int) int { return max(x, -x) }

func TestLabelStaysSmall(t *testing.T) {
	if c := mustNew(t, testLabel(t).String()); c.Size > 49 {
		t.Errorf("a usual label takes %d modules on a side, want at most version 8's 49", c.Size)
	}
}

func TestNewRefusesTooMuch(t *testing.T) {
	if _, err := New(strings.Repeat("x", 3000)); err == nil {
		t.Error("3000 bytes fit into a code")
	}
}

// Penalties of lines, counted by hand (ISO/IEC 18004 §7.8.3).
func TestPenalties(t *testing.T) {
	for _, c := range []struct {
		line          string
		runs, finders int
	}{
		{"01010101", 0, 0},
		{"0000010101", 3, 0},
		{"00000001", 5, 0},
		{"1111100000", 6, 0},
		{"00001011101", 0, 40},
		{"10111010000", 0, 40},
		{"000010111010000", 0, 80},
	} {
		line := make([]byte, len(c.line))
		for i := range line {
			line[i] = c.line[i] - '0'
		}
		if r, f := runs(line), finders(line); r != c.runs || f != c.finders {
			t.Errorf("%s: runs %d, finders %d; want %d and %d", c.line, r, f, c.runs, c.finders)
		}
	}
	dark := &Code{Size: 2, dark: []bool{true, true, true, true}}
	if p := dark.penalty(); p != 3+100 {
		t.Errorf("a dark block of 2 × 2: %d, want 3 for the block and 100 for the balance", p)
	}
}

func TestSVGDrawsEveryModule(t *testing.T) {
	c := mustNew(t, testLabel(t).String())
	svg := string(c.SVG("A&B"))
	if !strings.Contains(svg, "A&amp;B") {
		t.Error("the caption is missing")
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	drawn := &Code{Size: c.Size, dark: make([]bool, len(c.dark))}
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(svg, -1) {
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		n, _ := strconv.Atoi(m[3])
		for i := range n {
			drawn.dark[(y-quiet)*c.Size+x-quiet+i] = true
		}
	}
	compare(t, c, drawn)
}

func compare(t *testing.T, want, got *Code) {
	t.Helper()
	for i := range want.dark {
		if want.dark[i] != got.dark[i] {
			t.Fatalf("module (%d, %d) is drawn wrong", i%want.Size, i/want.Size)
		}
	}
}

// What a terminal shows is a picture too: it is read again, in both ways of drawing, as on a dark background.
func TestTerminalIsRead(t *testing.T) {
	l := testLabel(t)
	c := mustNew(t, l.String())
	for _, colored := range []bool{false, true} {
		text := c.Terminal(colored)
		if colored != strings.Contains(text, "\x1b[") {
			t.Errorf("color %v: %q…", colored, text[:20])
		}
		if got := readTerminal(t, text, colored); got != l.String() {
			t.Errorf("color %v: the code on the terminal is another one", colored)
		}
	}
}

// readTerminal draws the blocks as a terminal does: white on black, or black on white where the text says so.
func readTerminal(t *testing.T, text string, colored bool) string {
	t.Helper()
	ink, ground := color.Gray{Y: 255}, color.Gray{}
	if colored {
		ink, ground = ground, ink
		text = strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "").Replace(text)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	const scale = 4
	img := image.NewGray(image.Rect(0, 0, len([]rune(lines[0]))*scale, 2*len(lines)*scale))
	for row, line := range lines {
		for column, r := range []rune(line) {
			for i := range 2 * scale * scale {
				c := ground
				if upper := i < scale*scale; r == '█' || upper && r == '▀' || !upper && r == '▄' {
					c = ink
				}
				img.SetGray(column*scale+i%scale, 2*row*scale+i/scale, c)
			}
		}
	}
	for text, err := range texts(img) {
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	return ""
}

func TestPNGScale(t *testing.T) {
	c := mustNew(t, "A")
	for scale, want := range map[int]int{-1: 1, 1: 1, 3: 3, 1000: MaxScale} {
		config, _, err := image.DecodeConfig(bytes.NewReader(c.PNG(scale)))
		if err != nil || config.Width != (c.Size+2*quiet)*want || config.Height != config.Width {
			t.Errorf("scale %d: %d × %d, %v", scale, config.Width, config.Height, err)
		}
	}
}
