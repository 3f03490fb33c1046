package reports

import (
	"bytes"
	"fmt"
	"image/color"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The colors of plots. On the page each is a CSS variable with a second value for the dark theme, so that one drawing
// serves both; a file of its own is light.
var (
	ink   = color.NRGBA{0x1b, 0x1f, 0x24, 0xff}
	muted = color.NRGBA{0x59, 0x63, 0x6e, 0xff}
	rule  = color.NRGBA{0xdb, 0xe0, 0xe6, 0xff}
	alarm = color.NRGBA{0xb3, 0x1d, 0x28, 0xff}
	// curves are Okabe and Ito's, without yellow and with orange darkened: told apart with every kind of color
	// blindness, and by their dashes without any color.
	curves = []color.NRGBA{
		{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x8f, 0x68, 0xff}, {0xb0, 0x5a, 0x8c, 0xff},
		{0x2f, 0x9b, 0xd8, 0xff}, {0xc0, 0x84, 0x00, 0xff}, {0x4b, 0x4f, 0x9e, 0xff}, {0x6b, 0x6b, 0x6b, 0xff},
	}
	dashes = [][]vg.Length{nil, {6, 2.5}, {1.5, 2}, {8, 2, 1.5, 2}, {3, 1.5}, {10, 3}, {5, 2, 1.5, 2, 1.5, 2}, {1, 1}}
)

// cssNames maps the colors of plots to the page's variables.
var cssNames = func() *strings.Replacer {
	var pairs []string
	add := func(c color.NRGBA, name string) { pairs = append(pairs, strings.ToUpper(hex(c)), "var(--"+name+")") }
	add(ink, "ink")
	add(muted, "muted")
	add(rule, "rule")
	add(alarm, "alarm")
	for i, c := range curves {
		add(c, fmt.Sprintf("s%d", i))
	}
	return strings.NewReplacer(pairs...)
}()

func withAlpha(c color.NRGBA, a uint8) color.NRGBA {
	c.A = a
	return c
}

// style is a text style in Liberation Sans, which has the widths of Arial and Helvetica.
func style(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: c, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
		XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler,
	}
}

func line(width vg.Length, c color.Color, dash ...vg.Length) draw.LineStyle {
	return draw.LineStyle{Width: width, Color: c, Dashes: dash}
}

// figure is one plot of the report.
type figure struct {
	id      string // names its files
	title   string
	caption string   // n, interval, seed and engine
	alt     string   // its key figures, for who cannot see it
	head    []string // of a table of its numbers, where it has one
	rows    [][]string
	instead string // a sentence where there is nothing to plot; the rest but title is then empty
	w, h    vg.Length
	paint   func(draw.Canvas)
}

// slimWidth is that of drawings for a telephone, where a wide one's letters would shrink.
const slimWidth = vg.Length(330)

// svg returns the drawing alone for the page, in its theme's colors, for wide windows and for slim ones.
func (f figure) svg() string {
	c := vgsvg.New(f.w, f.h)
	f.paint(draw.New(c))
	slim := f
	slim.w = slimWidth
	s := vgsvg.New(slim.w, slim.h)
	f.paint(draw.New(s))
	return inline(c, f, "wide") + inline(s, slim, "slim")
}

var (
	svgStart  = regexp.MustCompile(`(?s)^.*?<svg [^>]*>`)
	svgFont   = regexp.MustCompile(`\s*style="font-family:[^;]*;font-variant:[^;]*;font-weight:([^;]*);font-style:[^;]*;font-size:([0-9.]+)px(?:;fill:([^"]*))?"`)
	svgHex    = regexp.MustCompile(`#[0-9A-Fa-f]{6}`)
	svgFlip   = regexp.MustCompile(`<text x="([^"]*)" y="([^"]*)" transform="scale\(1, -1\)"`)
	svgBlanks = regexp.MustCompile(`\n\s*`)
)

// inline makes gonum's document an element of the page: it scales, inherits the font and follows the theme.
func inline(c *vgsvg.Canvas, f figure, class string) string {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	s := svgStart.ReplaceAllLiteralString(b.String(), "")
	s = svgFlip.ReplaceAllString(s, `<text x="$1" y="$2" transform="scale(1,-1)"`)
	s = svgFont.ReplaceAllStringFunc(s, func(m string) string {
		p := svgFont.FindStringSubmatch(m)
		fill := p[3]
		if fill == "" {
			fill = "#000000"
		}
		out := fmt.Sprintf(` font-size="%s" style="fill:%s"`, p[2], fill)
		if p[1] == "bold" {
			out += ` font-weight="bold"`
		}
		return out
	})
	s = svgHex.ReplaceAllStringFunc(s, strings.ToUpper)
	s = cssNames.Replace(s)
	s = svgBlanks.ReplaceAllString(s, "\n")
	head := fmt.Sprintf(`<svg class="%s" viewBox="0 0 %g %g" role="img" aria-label="%s">`, class, f.w.Points(), f.h.Points(), escape(f.alt))
	return head + strings.TrimSpace(s)
}

// Room around a drawing in a file of its own, for title and caption.
const (
	fileMargin  = vg.Length(14)
	titleRoom   = vg.Length(26)
	captionLine = vg.Length(11)
)

// file draws the figure with its title and caption on white paper.
func (f figure) file(c draw.Canvas) {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	title := style(13, ink, text.XLeft, text.YTop)
	title.Font.Weight = 3 // bold
	c.FillText(title, vg.Point{X: c.Min.X + fileMargin, Y: c.Max.Y - fileMargin}, f.title)
	caption := style(8, muted, text.XLeft, text.YTop)
	lines := wrap(f.caption, caption, f.w)
	y := c.Min.Y + fileMargin + captionLine*vg.Length(len(lines))
	bottom := y
	for _, l := range lines {
		c.FillText(caption, vg.Point{X: c.Min.X + fileMargin, Y: y}, l)
		y -= captionLine
	}
	f.paint(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: c.Min.X + fileMargin, Y: bottom + 4},
		Max: vg.Point{X: c.Max.X - fileMargin, Y: c.Max.Y - fileMargin - titleRoom},
	}})
}

// fileSize is that of the file's paper.
func (f figure) fileSize() (w, h vg.Length) {
	lines := wrap(f.caption, style(8, muted, text.XLeft, text.YTop), f.w)
	return f.w + 2*fileMargin, f.h + 2*fileMargin + titleRoom + 4 + captionLine*vg.Length(len(lines))
}

func (f figure) svgFile() ([]byte, error) {
	w, h := f.fileSize()
	c := vgsvg.New(w, h)
	f.file(draw.New(c))
	var b bytes.Buffer
	_, err := c.WriteTo(&b)
	s := svgFont.ReplaceAllString(b.String(), ` style="font-family:'Liberation Sans',Arial,Helvetica,sans-serif;font-weight:$1;font-size:${2}px;fill:$3"`)
	return []byte(strings.ReplaceAll(s, `;fill:"`, `"`)), err
}

// pngDPI makes a figure wide enough for a page in print.
const pngDPI = 192

func (f figure) pngFile() ([]byte, error) {
	w, h := f.fileSize()
	c := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(pngDPI))
	f.file(draw.New(c))
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(&b)
	return b.Bytes(), err
}

// wrap breaks text into lines no wider than w.
func wrap(s string, st text.Style, w vg.Length) []string {
	var lines []string
	current := ""
	for _, word := range strings.Fields(s) {
		next := strings.TrimSpace(current + " " + word)
		if current != "" && st.Width(next) > w {
			lines = append(lines, current)
			next = word
		}
		current = next
	}
	if current != "" {
		lines = append(lines, current)
	}
	return lines
}
