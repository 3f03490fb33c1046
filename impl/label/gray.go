package label

import (
	"image"
	"image/draw"
	"slices"
)

// gray is a picture's luminance, a byte a pixel, a row after the other.
type gray struct {
	w, h int
	pix  []byte
}

// grayOf converts a picture; what is transparent is white, as paper is. A picture whose longer side is more than limit
// pixels is made smaller by a whole factor on the way, by means, so that a large photo costs no second copy.
func grayOf(img image.Image, limit int) gray {
	b := img.Bounds()
	factor := max(1, (max(b.Dx(), b.Dy())+limit-1)/limit)
	g := gray{w: b.Dx() / factor, h: b.Dy() / factor}
	if g.w == 0 || g.h == 0 {
		return gray{}
	}
	g.pix = make([]byte, g.w*g.h)
	strip := image.NewRGBA(image.Rect(0, 0, b.Dx(), factor))
	for y := range g.h {
		draw.Draw(strip, strip.Bounds(), image.White, image.Point{}, draw.Src)
		draw.Draw(strip, strip.Bounds(), img, image.Pt(b.Min.X, b.Min.Y+y*factor), draw.Over)
		for x := range g.w {
			sum := 0
			for dy := range factor {
				for _, p := range chunks(strip.Pix[dy*strip.Stride+x*factor*4:][:factor*4]) {
					sum += 299*int(p[0]) + 587*int(p[1]) + 114*int(p[2])
				}
			}
			g.pix[y*g.w+x] = byte(sum / (1000 * factor * factor))
		}
	}
	return g
}

// chunks splits bytes into pixels of four.
func chunks(b []byte) [][4]byte {
	out := make([][4]byte, 0, len(b)/4)
	for p := range slices.Chunk(b, 4) {
		out = append(out, [4]byte(p))
	}
	return out
}

// resize scales the picture so that its longer side has n pixels: by bilinear interpolation upwards, by means of areas
// downwards.
func (g gray) resize(n int) gray {
	long := max(g.w, g.h)
	out := gray{w: max(1, g.w*n/long), h: max(1, g.h*n/long)}
	out.pix = make([]byte, out.w*out.h)
	if n < long {
		g.shrink(out)
	} else {
		g.grow(out)
	}
	return out
}

// shrink gives each pixel the mean of the area that it covers, parts of pixels included: at a ratio that is no whole number
// modules would otherwise come out of different widths.
func (g gray) shrink(out gray) {
	row, sum := make([]uint64, out.w), make([]uint64, out.w)
	full := uint64(g.w) * uint64(g.h) // the weight of a whole pixel of out
	for y := range g.h {
		clear(row)
		for x, p := range g.pix[y*g.w : (y+1)*g.w] {
			i, first, rest := share(x, g.w, out.w)
			row[i] += uint64(p) * first
			if rest > 0 {
				row[i+1] += uint64(p) * rest
			}
		}
		i, first, rest := share(y, g.h, out.h)
		for x, v := range row {
			sum[x] += v * first
		}
		if (y+1)*out.h < (i+1)*g.h { // this row of out is not covered yet
			continue
		}
		for x, v := range row {
			out.pix[i*out.w+x] = byte(sum[x] / full)
			sum[x] = v * rest
		}
	}
}

// share says to which of out pixels the nth of in pixels belongs, with how much of its width, and how much of it belongs to
// the next. A pixel is out wide, and in of them are a pixel of the result.
func share(n, in, out int) (i int, first, rest uint64) {
	i = n * out / in
	end := min((n+1)*out, (i+1)*in)
	return i, uint64(end - n*out), uint64((n+1)*out - end)
}

func (g gray) grow(out gray) {
	at := func(x, y int) int { return int(g.pix[min(max(y, 0), g.h-1)*g.w+min(max(x, 0), g.w-1)]) }
	for y := range out.h {
		fy := (2*y+1)*g.h*128/out.h - 128 // in 1/256 of a pixel, from centre to centre
		for x := range out.w {
			fx := (2*x+1)*g.w*128/out.w - 128
			x0, y0, dx, dy := fx>>8, fy>>8, fx&255, fy&255
			above := at(x0, y0)*(256-dx) + at(x0+1, y0)*dx
			below := at(x0, y0+1)*(256-dx) + at(x0+1, y0+1)*dx
			out.pix[y*out.w+x] = byte((above*(256-dy) + below*dy) >> 16)
		}
	}
}

// integral holds at (x, y) the sum of all pixels above and left of it, one row and column more than the picture.
type integral struct {
	stride int
	sums   []uint32 // modulo 2³², which differences survive
}

func (g gray) sums() integral {
	s := integral{stride: g.w + 1, sums: make([]uint32, (g.w+1)*(g.h+1))}
	for y := range g.h {
		var row uint32
		for x := range g.w {
			row += uint32(g.pix[y*g.w+x])
			s.sums[(y+1)*s.stride+x+1] = s.sums[y*s.stride+x+1] + row
		}
	}
	return s
}

// sum is of the pixels in [x0, x1) × [y0, y1).
func (s integral) sum(x0, y0, x1, y1 int) uint32 {
	return s.sums[y1*s.stride+x1] - s.sums[y1*s.stride+x0] - s.sums[y0*s.stride+x1] + s.sums[y0*s.stride+x0]
}

// blur is the mean over a square of side 2r+1.
func (g gray) blur(r int) gray {
	out := gray{w: g.w, h: g.h, pix: make([]byte, len(g.pix))}
	sums := g.sums()
	for y := range g.h {
		y0, y1 := max(0, y-r), min(g.h, y+r+1)
		for x := range g.w {
			x0, x1 := max(0, x-r), min(g.w, x+r+1)
			out.pix[y*g.w+x] = byte(sums.sum(x0, y0, x1, y1) / uint32((x1-x0)*(y1-y0)))
		}
	}
	return out
}

// median takes specks away: each pixel becomes the middle one of the nine around it.
func (g gray) median() gray {
	out := gray{w: g.w, h: g.h, pix: slices.Clone(g.pix)}
	var nine [9]byte
	for y := 1; y < g.h-1; y++ {
		for x := 1; x < g.w-1; x++ {
			for i := range 3 {
				copy(nine[3*i:3*i+3], g.pix[(y+i-1)*g.w+x-1:][:3])
			}
			for i := 1; i < 9; i++ { // insertion sort: nine are too few for anything else
				for j := i; j > 0 && nine[j] < nine[j-1]; j-- {
					nine[j], nine[j-1] = nine[j-1], nine[j]
				}
			}
			out.pix[y*g.w+x] = nine[4]
		}
	}
	return out
}

// negative swaps light and dark.
func (g gray) negative() gray {
	out := gray{w: g.w, h: g.h, pix: make([]byte, len(g.pix))}
	for i, p := range g.pix {
		out.pix[i] = 255 - p
	}
	return out
}
