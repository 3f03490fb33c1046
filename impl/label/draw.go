package label

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
)

// MaxScale bounds the pixels of a module.
const MaxScale = 64

// Image draws the code with its margin, scale pixels a module (1 to MaxScale).
func (c *Code) Image(scale int) *image.Paletted {
	scale = min(max(scale, 1), MaxScale)
	side := (c.Size + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			img.Pix[y*img.Stride+x] = module(c.Dark(x/scale-quiet, y/scale-quiet))
		}
	}
	return img
}

// PNG draws the code as a PNG file, scale pixels a module (1 to MaxScale).
func (c *Code) PNG(scale int) []byte {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, c.Image(scale)); err != nil {
		panic(err) // a buffer takes everything, and the picture is sound
	}
	return b.Bytes()
}

// SVG draws the code as an SVG file, with a caption below it, such as the UID; empty: none.
func (c *Code) SVG(caption string) []byte {
	side := c.Size + 2*quiet
	height := side
	if caption != "" {
		height += quiet
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%dmm" height="%dmm">`, side, height, side, height)
	fmt.Fprintf(&b, "\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<path shape-rendering=\"crispEdges\" fill=\"#000\" d=\"", side, height)
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			n := 0
			for c.Dark(x+n, y) {
				n++
			}
			if n > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, n, n)
			}
			x += n
		}
	}
	b.WriteString("\"/>\n")
	if caption != "" {
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-family="monospace" font-size="2.6" text-anchor="middle" textLength="%d" lengthAdjust="spacingAndGlyphs">`,
			side/2, side+1, c.Size)
		_ = xml.EscapeText(&b, []byte(caption)) // a buffer takes everything
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// Terminal draws the code with half blocks, two rows of modules a line. With color it is black on white, whatever the
// terminal's colours are; without it is right on a dark background.
func (c *Code) Terminal(color bool) string {
	begin, end := "", ""
	blocks := [4]string{"█", "▀", "▄", " "} // by what is dark, below and above: the terminal's light is the paper's
	if color {
		begin, end = "\x1b[30;107m", "\x1b[0m"
		blocks = [4]string{" ", "▄", "▀", "█"}
	}
	var b strings.Builder
	for y := -quiet; y < c.Size+quiet; y += 2 {
		b.WriteString(begin)
		for x := -quiet; x < c.Size+quiet; x++ {
			b.WriteString(blocks[2*module(c.Dark(x, y))+module(c.Dark(x, y+1))])
		}
		b.WriteString(end + "\n")
	}
	return b.String()
}
