package label

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/punchlab/punchlab/impl/identity"
)

func testLabel(t testing.TB) identity.Label {
	t.Helper()
	var keys [2]identity.Key
	for i := range keys {
		k, err := identity.NewKey(rand.NewChaCha8([32]byte{byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	return identity.Label{Key: keys[0].Public(), RendezvousKey: keys[1].Public(), Rendezvous: []string{"rendezvous.example.com:4479"},
		Secret: identity.Secret{1, 2, 3, 15: 255}}
}

// A photo is how a camera would see a printed code.
type photo struct {
	seed    uint64
	side    int     // pixels of the square picture
	module  float64 // pixels of a module
	angle   float64 // degrees
	tilt    float64 // perspective: how much nearer the label's one edge is than the other, as a share
	blur    float64 // standard deviation of the lens's blur, pixels
	noise   float64 // standard deviation of the sensor's noise, levels of 255
	shadow  float64 // how much darker the picture's one corner is than the other, as a share
	specks  float64 // share of pixels that are black or white whatever they saw
	quality int     // of a JPEG file; 0: not one
	mirror  bool
	negate  bool
	stain   float64 // side of a square dirt in the code's middle, as a share of the code's side
}

// take draws the picture of a code.
func (p photo) take(c *Code) *image.Gray {
	random := rand.New(rand.NewPCG(p.seed, 1))
	img := image.NewGray(image.Rect(0, 0, p.side, p.side))
	sin, cos := math.Sincos(p.angle * math.Pi / 180)
	half, size := float64(p.side)/2, float64(c.Size)
	const sub = 2 // samples a pixel, each way
	for y := range p.side {
		for x := range p.side {
			light := 0.0
			for i := range sub * sub {
				px, py := float64(x)+(float64(i%sub)+0.5)/sub-half, float64(y)+(float64(i/sub)+0.5)/sub-half
				if p.blur > 0 {
					px, py = px+p.blur*random.NormFloat64(), py+p.blur*random.NormFloat64()
				}
				w := (1 + p.tilt*py/half) * p.module
				u, v := (cos*px+sin*py)/w, (-sin*px+cos*py)/w
				if p.mirror {
					u = -u
				}
				light += p.paper(c, u+size/2, v+size/2, size)
			}
			light /= sub * sub
			light *= 1 - p.shadow*float64(x+y)/float64(2*p.side)
			light += p.noise * random.NormFloat64()
			if random.Float64() < p.specks {
				light = 255 * float64(random.IntN(2))
			}
			if p.negate {
				light = 255 - light
			}
			img.SetGray(x, y, color.Gray{Y: byte(min(max(light, 0), 255))})
		}
	}
	return img
}

// paper is how light the printed label is at a point, in modules from the code's corner.
func (p photo) paper(c *Code, u, v, size float64) float64 {
	x, y := int(math.Floor(u)), int(math.Floor(v))
	switch {
	case math.Max(math.Abs(u-size/2), math.Abs(v-size/2)) < p.stain*size/2:
		return 110
	case c.Dark(x, y):
		return 25
	case x >= -quiet && y >= -quiet && x < c.Size+quiet && y < c.Size+quiet:
		return 235
	}
	return 140 // the table below it
}

// file is the picture as its file.
func (p photo) file(t testing.TB, c *Code) []byte {
	t.Helper()
	img := p.take(c)
	var b bytes.Buffer
	if p.quality == 0 {
		p.quality = 100
	}
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: p.quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustNew(t testing.TB, text string) *Code {
	t.Helper()
	c, err := New(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
