package label

import (
	"errors"
	"fmt"
	"image"
	"iter"

	"github.com/makiuchi-d/gozxing"
	multi "github.com/makiuchi-d/gozxing/multi/qrcode"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// The longer side at which a picture is looked at, in pixels: at most, and in which order besides as it is. A code of 45
// modules fills a third of a usual photo; finders are found best with 3 to 8 pixels a module.
const largest = 2400

var sizes = []int{1000, 600, 1600, 400, largest}

// texts tries to read codes from a picture, and yields each new text. Who has what he wanted stops. Where there is none,
// it yields ErrDamaged or ErrNoCode at last.
func texts(img image.Image) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		full := grayOf(img, 2*largest)
		if len(full.pix) == 0 {
			yield("", fmt.Errorf("%w: it has no pixels", ErrPicture))
			return
		}
		if max(full.w, full.h) > largest {
			full = full.resize(largest)
		}
		seen := map[string]bool{}
		fresh := func(text string) bool {
			known := seen[text]
			seen[text] = true
			return !known
		}
		failure := ErrNoCode
		for view := range views(full) {
			text, err := view.look()
			if err == nil && fresh(text) && !yield(text, nil) {
				return
			}
			if errors.Is(err, ErrNoCode) {
				continue
			}
			failure = ErrDamaged // unless it was another code's, or nothing but a likeness
			for _, text := range view.lookAround() {
				if fresh(text) && !yield(text, nil) {
					return
				}
			}
		}
		if len(seen) == 0 {
			yield("", failure)
		}
	}
}

// A view is a picture prepared for reading.
type view struct{ gray }

// views yields preparations of a picture, cheap and likely ones first.
func views(full gray) iter.Seq[view] {
	return func(yield func(view) bool) {
		sized := inSizes(full)
		for _, filter := range []func(gray) gray{
			func(g gray) gray { return g },
			func(g gray) gray { return g.blur(2) }, // against noise, and the fringes of an unsharp picture
			gray.median,                            // against specks
			gray.negative,                          // white on black
		} {
			for _, g := range sized {
				if !yield(view{filter(g)}) {
					return
				}
			}
		}
	}
}

// inSizes returns the picture as it is, and in the other sizes that promise anything.
func inSizes(full gray) []gray {
	long := max(full.w, full.h)
	all := []gray{full}
	for _, n := range sizes {
		if n != long && n <= 3*long {
			all = append(all, full.resize(n))
		}
	}
	return all
}

// look reads the likeliest code in one view.
func (v view) look() (text string, err error) {
	err = v.with(func(b *gozxing.BinaryBitmap) error {
		result, err := qrcode.NewQRCodeReader().Decode(b, hints)
		if err == nil {
			text = result.GetText()
		}
		return err
	})
	return text, err
}

// lookAround reads any number of codes in one view.
func (v view) lookAround() (all []string) {
	_ = v.with(func(b *gozxing.BinaryBitmap) error { // what it has not found is no error here
		results, err := multi.NewQRCodeMultiReader().DecodeMultiple(b, hints)
		for _, r := range results {
			all = append(all, r.GetText())
		}
		return err
	})
	return all
}

var hints = map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true}

// with gives the view to a reader of gozxing's, and says ErrNoCode or ErrDamaged for its errors.
func (v view) with(read func(*gozxing.BinaryBitmap) error) (err error) {
	defer func() {
		if r := recover(); r != nil { // it indexes pictures freely, and a picture may come from anywhere
			err = ErrNoCode
		}
	}()
	source, err := gozxing.NewPlanarYUVLuminanceSource(v.pix, v.w, v.h, 0, 0, v.w, v.h, false)
	if err != nil {
		return ErrNoCode
	}
	bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(source)) // thresholds by neighbourhoods, against shadows
	if err != nil {
		return ErrNoCode
	}
	err = read(bitmap)
	var notFound gozxing.NotFoundException
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notFound):
		return ErrNoCode
	}
	return ErrDamaged
}
