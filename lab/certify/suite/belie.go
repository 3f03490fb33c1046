package suite

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// known are the options of a stage on which a camera is asked for what it declares not to have: it is told a case that it has to know.
func (r *run) known(c certify.Case) stage.Options {
	o := r.stage(c, path.Join(probeFolder, "undeclared"))
	if len(r.asked) > 0 {
		o.Told = r.asked[int(r.o.Seed%uint64(len(r.asked)))].Case.ID
	}
	return o
}

// belie asks the camera, at home beside another host, for what it declares not to have, and returns what it has of that all the same.
func belie(ctx context.Context, o stage.Options) (what string, err error) {
	if o.Device.Way == stage.Box && len(o.Device.Hook) == 0 {
		return "", nil // there is nobody to ask
	}
	s, err := stage.Open(o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	x, err := s.Set(ctx, "two-homes", stage.UnitsKey, "2")
	if err != nil {
		return "", err
	}
	camera, beside := x.Unplugged(), (*lab.Machine)(nil)
	if o.Device.Way != stage.Box {
		beside = x.Host("camera-2")
		if camera, err = x.Camera(ctx, 1); err != nil {
			if stage.OfCamera(err) {
				return "", nil // what runs no case shows that in each of them
			}
			return "", fmt.Errorf("bring the camera up: %w", err)
		}
	}
	return camera.AskUndeclared(ctx, beside)
}
