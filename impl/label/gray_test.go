package label

import (
	"image"
	"image/color"
	"slices"
	"testing"
)

func TestResize(t *testing.T) {
	for name, c := range map[string]struct {
		g    gray
		n    int
		want []byte
	}{
		"halves":       {gray{4, 1, []byte{0, 100, 200, 100}}, 2, []byte{50, 150}},
		"two thirds":   {gray{3, 1, []byte{0, 90, 240}}, 2, []byte{30, 190}}, // (0·1 + 90·½) / 1½, (90·½ + 240) / 1½
		"to a third":   {gray{3, 3, []byte{9, 9, 9, 18, 18, 18, 27, 27, 27}}, 1, []byte{18}},
		"two and half": {gray{5, 1, []byte{10, 10, 50, 90, 90}}, 2, []byte{18, 82}},
		"doubles":      {gray{2, 1, []byte{0, 200}}, 4, []byte{0, 50, 150, 200, 0, 50, 150, 200}},
		"stays":        {gray{2, 1, []byte{7, 8}}, 2, []byte{7, 8}},
	} {
		if got := c.g.resize(c.n); !slices.Equal(got.pix, c.want) {
			t.Errorf("%s: %v, want %v", name, got.pix, c.want)
		}
	}
}

func TestGrayOf(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 7, 9, 9))
	for x := range 4 {
		img.Set(5+x, 7, color.NRGBA{R: 255, A: 255})
		img.Set(5+x, 8, color.NRGBA{A: uint8(85 * x)}) // black, and clearer to the left
	}
	g := grayOf(img, 4)
	if g.w != 4 || g.h != 2 || !slices.Equal(g.pix, []byte{76, 76, 76, 76, 255, 170, 85, 0}) {
		t.Errorf("%+v", g)
	}
	if g := grayOf(img, 2); g.w != 2 || g.h != 1 || !slices.Equal(g.pix, []byte{(76 + 76 + 255 + 170) / 4, (76 + 76 + 85) / 4}) {
		t.Errorf("half as large: %+v", g)
	}
	if g := grayOf(image.NewGray(image.Rect(0, 0, 0, 9)), 4); len(g.pix) != 0 {
		t.Errorf("no pixels: %+v", g)
	}
}

func TestFilters(t *testing.T) {
	speck := gray{3, 3, []byte{9, 9, 9, 9, 255, 9, 9, 9, 9}}
	if got := speck.median(); got.pix[4] != 9 {
		t.Errorf("median: %v", got.pix)
	}
	if got := speck.blur(1); got.pix[4] != (8*9+255)/9 || got.pix[0] != (3*9+255)/4 {
		t.Errorf("blur: %v", got.pix)
	}
	if got := speck.negative(); got.pix[4] != 0 || got.pix[0] != 246 {
		t.Errorf("negative: %v", got.pix)
	}
}
