package label

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // formats that are read
	_ "image/jpeg"
	_ "image/png"
	"io"

	"github.com/punchlab/punchlab/impl/identity"
	_ "golang.org/x/image/webp"
)

// Bounds on the picture that Read takes, for it may come from anywhere.
const (
	MaxFile   = 64 << 20   // bytes
	MaxPixels = 80_000_000 // of the largest phones' cameras, half
)

// What keeps a label from being read off a picture (errors.Is).
var (
	ErrPicture = errors.New("the file is not a picture that can be read")
	ErrNoCode  = errors.New("no QR code was found in the picture")
	ErrDamaged = errors.New("there is a QR code in the picture, but too little of it can be read")
)

// Read reads the label off a photo: PNG, JPEG, GIF or WebP. The error says what to do.
func Read(r io.Reader) (identity.Label, error) {
	img, err := open(r)
	if err != nil {
		return identity.Label{}, fmt.Errorf("read label: %w", err)
	}
	var notLabel error
	for text, err := range texts(img) {
		if err != nil {
			return identity.Label{}, fmt.Errorf("read label: %w", advise(err))
		}
		l, err := identity.ParseLabel(text)
		if err == nil {
			return l, nil
		}
		notLabel = fmt.Errorf("the QR code in the picture is another one; take a picture of the camera's label alone: %w", err)
	}
	return identity.Label{}, fmt.Errorf("read label: %w", notLabel)
}

// open decodes a picture after looking at its size.
func open(r io.Reader) (image.Image, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxFile {
		return nil, fmt.Errorf("%w: it is larger than %d MiB: make it smaller", ErrPicture, MaxFile>>20)
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: save it as PNG or JPEG (%v)", ErrPicture, err)
	}
	if int64(config.Width)*int64(config.Height) > MaxPixels {
		return nil, fmt.Errorf("%w: it has %d × %d pixels, at most %d million are allowed: make it smaller", ErrPicture, config.Width, config.Height,
			MaxPixels/1_000_000)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: it is cut short or damaged: save it again as PNG or JPEG (%v)", ErrPicture, err)
	}
	return img, nil
}

// advise adds what to do.
func advise(err error) error {
	switch {
	case errors.Is(err, ErrNoCode):
		return fmt.Errorf("%w: take it again from nearer, straight from the front, in even light, with the white margin around the code", err)
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("%w: clean the label, take a sharp picture in even light, or type the text of the label instead", err)
	}
	return err
}
