package label

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

// usual is a photo of 640 × 640 pixels, in which the code takes 270, as a JPEG file.
var usual = photo{side: 640, module: 6}

// with returns the usual photo with a change.
func with(change func(*photo)) photo {
	p := usual
	change(&p)
	return p
}

// TestReadPhotos says what a photo may be like. Beyond these it is not said that reading fails; TestReadGivesUp says where.
func TestReadPhotos(t *testing.T) {
	l := testLabel(t)
	c := mustNew(t, l.String())
	photos := map[string]photo{
		"noise of 100 levels":         with(func(p *photo) { p.noise = 100 }),
		"blurred by a third a module": with(func(p *photo) { p.blur = 2.2 }),
		"shadow to a tenth":           with(func(p *photo) { p.shadow = 0.9 }),
		"perspective of 0.3":          with(func(p *photo) { p.tilt = 0.3 }),
		"specks on a fourth":          with(func(p *photo) { p.specks, p.seed = 0.25, 3 }),
		"two pixels a module":         with(func(p *photo) { p.module = 2 }),
		"10 pixels a module":          with(func(p *photo) { p.module = 10 }),
		"JPEG of quality 10":          with(func(p *photo) { p.quality = 10 }),
		"dirt on 4 % of it":           with(func(p *photo) { p.stain = 0.2 }),
		"mirrored":                    with(func(p *photo) { p.mirror = true }),
		"white on black":              with(func(p *photo) { p.negate = true }),
		"a small thumbnail":           {side: 150, module: 2},
		"large":                       {side: 2500, module: 6, noise: 10},
		"all at once": with(func(p *photo) {
			p.noise, p.blur, p.shadow, p.tilt, p.quality, p.stain = 20, 1, 0.5, 0.15, 60, 0.1
		}),
	}
	for angle := 0; angle < 360; angle += 45 {
		photos[fmt.Sprintf("turned by %d°", angle)] = with(func(p *photo) { p.angle, p.noise = float64(angle), 15 })
	}
	for name, p := range photos {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.angle += 17 // nothing is straight
			got, err := Read(bytes.NewReader(p.file(t, c)))
			if err != nil || got.String() != l.String() {
				t.Errorf("%v; read the label: %v", err, got.String() == l.String())
			}
		})
	}
}

func TestReadFormats(t *testing.T) {
	l := testLabel(t)
	c := mustNew(t, l.String())
	img := c.Image(3)
	encode := map[string]func(*bytes.Buffer) error{
		"png":  func(b *bytes.Buffer) error { return png.Encode(b, img) },
		"gif":  func(b *bytes.Buffer) error { return gif.Encode(b, img, nil) },
		"jpeg": func(b *bytes.Buffer) error { return jpeg.Encode(b, img, nil) },
		"transparent png": func(b *bytes.Buffer) error {
			clear := image.NewNRGBA(img.Rect)
			for i, p := range img.Pix {
				clear.Pix[4*i+3] = 255 * p // black where dark, nothing elsewhere
			}
			return png.Encode(b, clear)
		},
	}
	for name, f := range encode {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(&b); err != nil || got.String() != l.String() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The label is found beside a larger code of something else, as on a box.
func TestReadAmongOthers(t *testing.T) {
	l := testLabel(t)
	box := image.NewGray(image.Rect(0, 0, 900, 700))
	draw.Draw(box, box.Rect, image.NewUniform(color.Gray{Y: 160}), image.Point{}, draw.Src)
	other, own := mustNew(t, "https://shop.example/manual").Image(12), mustNew(t, l.String()).Image(5)
	draw.Draw(box, other.Rect.Add(image.Pt(20, 20)), other, image.Point{}, draw.Src)
	draw.Draw(box, own.Rect.Add(image.Pt(600, 400)), own, image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, box); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(&b); err != nil || got.String() != l.String() {
		t.Errorf("%v", err)
	}
}

// Every failure says what to do, and quotes nothing of what it has read.
func TestReadGivesUp(t *testing.T) {
	l := testLabel(t)
	c := mustNew(t, l.String())
	var flat, bomb bytes.Buffer
	if err := png.Encode(&flat, image.NewGray(image.Rect(0, 0, 300, 200))); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&bomb, image.NewPaletted(image.Rect(0, 0, 1, 1), color.Palette{color.Black}), nil); err != nil {
		t.Fatal(err)
	}
	copy(bomb.Bytes()[6:], []byte{255, 255, 255, 255}) // the screen's width and height
	for name, c := range map[string]struct {
		file []byte
		err  error
		want string
	}{
		"no picture":   {[]byte("PL1/…"), ErrPicture, "save it as PNG or JPEG"},
		"nothing":      {nil, ErrPicture, "save it as PNG or JPEG"},
		"cut short":    {c.PNG(4)[:300], ErrPicture, "cut short"},
		"too large":    {bomb.Bytes(), ErrPicture, "65535 × 65535 pixels"},
		"no code":      {flat.Bytes(), ErrNoCode, "from nearer"},
		"damaged":      {with(func(p *photo) { p.stain = 0.5 }).file(t, c), ErrDamaged, "clean the label"},
		"other":        {mustNew(t, "https://secret.example/").PNG(4), nil, "take a picture of the camera's label alone"},
		"damaged text": {mustNew(t, strings.Replace(l.String(), "EXAMPLE", "EXAMPEL", 1)).PNG(4), nil, "check characters do not match"},
	} {
		got, err := Read(bytes.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if !got.Key.IsZero() {
			t.Errorf("%s: a label came with the error", name)
		}
		if err != nil && (strings.Contains(err.Error(), "secret.example") || strings.Contains(err.Error(), l.String()[10:40])) {
			t.Errorf("%s: the error quotes the code: %v", name, err)
		}
	}
}

// A picture of anything must not end the program.
func FuzzRead(f *testing.F) {
	c := mustNew(f, "PL1/")
	f.Add(c.PNG(1))
	f.Add(c.PNG(3)[:200])
	f.Add([]byte("GIF89a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		config, _, err := image.DecodeConfig(bytes.NewReader(b))
		if err == nil && config.Width*config.Height > 1<<16 {
			return // slow, and nothing new
		}
		if l, err := Read(bytes.NewReader(b)); err == nil && l.Validate() != nil {
			t.Error("an impossible label was read")
		}
	})
}
