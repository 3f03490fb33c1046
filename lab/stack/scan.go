package stack

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/label"
)

// scanning says whether the trial begins with the photo of a label: the viewer has never run before.
func (b *bundle) scanning() bool { return b.trial.Options[optScan] != "" }

// joinCamera waits until the camera alone is ready, where the viewer has not been started yet.
func (b *bundle) joinCamera(ctx context.Context) error {
	if err := until(ctx, b.watch.registered, "the camera did not register"); err != nil || !device.Classifies(b.policy) {
		return err
	}
	return until(ctx, b.watch.cameraReady, "the camera did not classify its NAT")
}

// scan reads the label off the photo, starts a viewer that has never run, and asks for the camera as soon as that can.
func (b *bundle) scan(ctx context.Context) (err error) {
	b.scanned = time.Now()
	if b.label, err = label.Read(bytes.NewReader(b.photo)); err != nil {
		return fmt.Errorf("read the label off its photo: %w", err)
	}
	if err := b.startViewer(); err != nil {
		return err
	}
	if err := until(ctx, b.watch.loggedIn, notLoggedIn); err != nil {
		return err
	}
	if device.Classifies(b.policy) {
		if err := until(ctx, b.watch.viewerReady, viewerUnclassified); err != nil {
			return err
		}
	}
	b.viewerDevice.Node().Do(func(now time.Time) { err = b.viewer.Connect(now, b.label, b.trial.Strategy) })
	return err
}

// What a photo is like.
const (
	photoSide   = 720  // pixels
	photoModule = 8    // pixels of one module of the code
	photoNoise  = 25.0 // standard deviation of a pixel, of 255
)

// photograph is a JPEG of a label as somebody holds a phone over it: at any angle, uneven in light, noisy.
func photograph(l identity.Label, random *rand.Rand) ([]byte, error) {
	code, err := label.New(l.String())
	if err != nil {
		return nil, err
	}
	angle := 2 * math.Pi * random.Float64()
	sin, cos := math.Sincos(angle)
	middle := float64(code.Size) / 2
	img := image.NewGray(image.Rect(0, 0, photoSide, photoSide))
	for y := range photoSide {
		for x := range photoSide {
			dx, dy := float64(x-photoSide/2)/photoModule, float64(y-photoSide/2)/photoModule
			light := 235 - 60*float64(x)/photoSide
			if code.Dark(int(math.Floor(dx*cos+dy*sin+middle)), int(math.Floor(dy*cos-dx*sin+middle))) {
				light = 45
			}
			img.SetGray(x, y, color.Gray{Y: uint8(min(255, max(0, light+photoNoise*random.NormFloat64())))})
		}
	}
	var b bytes.Buffer
	err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 80})
	return b.Bytes(), err
}
