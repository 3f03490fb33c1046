package label

import (
	"bytes"
	"errors"
	"fmt"

	"rsc.io/qr/coding"
)

// level is the error correction: M bears 15 % of wrong codewords. More would make the modules smaller in a photo, and so
// be lost again.
const level = coding.M

// quiet is the white margin around a code, in modules (ISO/IEC 18004 §6.3.8).
const quiet = 4

// Code is a QR code (ISO/IEC 18004, model 2).
type Code struct {
	Size int // modules on a side, without the margin
	dark []bool
}

// New makes the code of a text, in the smallest version that it fits, with the mask that is easiest to read.
func New(text string) (*Code, error) {
	var content coding.Encoding = coding.Alpha(text)
	if content.Check() != nil {
		content = coding.String(text)
	}
	version := coding.Version(coding.MinVersion)
	for content.Bits(version) > version.DataBytes(level)*8 {
		if version++; version > coding.MaxVersion {
			return nil, errors.New("make QR code: the text is too long")
		}
	}
	var best *Code
	for mask := range coding.Mask(8) {
		plan, err := coding.NewPlan(version, level, mask)
		if err != nil {
			return nil, fmt.Errorf("make QR code: %w", err)
		}
		drawn, err := plan.Encode(content)
		if err != nil {
			return nil, fmt.Errorf("make QR code: %w", err)
		}
		if c := fromBitmap(drawn); best == nil || c.penalty() < best.penalty() {
			best = c
		}
	}
	return best, nil
}

func fromBitmap(b *coding.Code) *Code {
	c := &Code{Size: b.Size, dark: make([]bool, b.Size*b.Size)}
	for i := range c.dark {
		c.dark[i] = b.Black(i%b.Size, i/b.Size)
	}
	return c
}

// Dark says whether a module is dark. Outside of the code none is.
func (c *Code) Dark(x, y int) bool {
	return 0 <= x && x < c.Size && 0 <= y && y < c.Size && c.dark[y*c.Size+x]
}

// penalty is how hard a code is to read (ISO/IEC 18004 §7.8.3): long runs, blocks, what looks like a finder, and too much
// of one colour.
func (c *Code) penalty() (p int) {
	dark := 0
	row, column := make([]byte, c.Size), make([]byte, c.Size)
	for i := range c.Size {
		for j := range c.Size {
			row[j], column[j] = module(c.Dark(j, i)), module(c.Dark(i, j))
			dark += int(row[j])
			if i > 0 && j > 0 && c.Dark(j, i) == c.Dark(j-1, i) && c.Dark(j, i) == c.Dark(j, i-1) && c.Dark(j, i) == c.Dark(j-1, i-1) {
				p += 3
			}
		}
		p += runs(row) + runs(column) + finders(row) + finders(column)
	}
	share := dark * 100 / (c.Size * c.Size)
	return p + 10*(max(share-50, 50-share)/5)
}

func module(dark bool) byte {
	if dark {
		return 1
	}
	return 0
}

// runs counts 3 for five modules of a colour in a line, and 1 for each one more.
func runs(line []byte) (p int) {
	n := 0
	for i, m := range line {
		if i > 0 && m != line[i-1] {
			n = 0
		}
		n++
		switch {
		case n == 5:
			p += 3
		case n > 5:
			p++
		}
	}
	return p
}

// What looks like a finder pattern with white beside it.
var finderLeft, finderRight = []byte{0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1}, []byte{1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0}

func finders(line []byte) (p int) {
	for i := range len(line) - len(finderLeft) + 1 {
		if at := line[i : i+len(finderLeft)]; bytes.Equal(at, finderLeft) || bytes.Equal(at, finderRight) {
			p += 40
		}
	}
	return p
}
