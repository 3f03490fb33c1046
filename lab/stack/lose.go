package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// How a trial's camera goes.
const (
	lostGoodbye   = "goodbye"   // it is shut down, and says so
	lostPowerCut  = "power-cut" // it ends without a word
	lostUnplugged = "unplugged" // its home has no internet
)

// loser takes the camera away once its video has been seen, and brings it back, while a viewer that watches its presence
// says when it was told.
//
//	video ── told: online ── away ──────────► told: gone ── back ──────► told: online
//	                          └ gone_told_s ─┘               └ back_told_s ─┘
type loser struct {
	b   *bundle
	lab *lab.Lab
	how string
}

// patience is how long the viewer waits to be told: two keepalives, which is what a rendezvous promises, and what a camera
// that is back needs at most until it tries again.
const tellPatience = 2*fleetKeepalive + 10*time.Second

// lose does all of it, and adds what was measured to the observation. A viewer that is not told has a failed trial.
func (b *bundle) lose(ctx context.Context, l *lab.Lab, o *Observation) error {
	w := &loser{b: b, lab: l, how: b.trial.Options[optLost]}
	if err := b.follow(); err != nil {
		return err
	}
	if _, ok := b.told(ctx, time.Time{}, true); !ok {
		w.fail(ctx, o, "the viewer was not told that the camera is online")
		return nil
	}
	begun := time.Now()
	back, err := w.take()
	if err != nil {
		return err
	}
	if d, ok := b.told(ctx, begun, false); ok {
		o.Probes["gone_told_s"] = d.Seconds()
	} else {
		w.fail(ctx, o, "the viewer was not told that the camera is gone")
	}
	begun = time.Now()
	if err := back(); err != nil {
		return err
	}
	if d, ok := b.told(ctx, begun, true); ok {
		o.Probes["back_told_s"] = d.Seconds()
	} else {
		w.fail(ctx, o, "the viewer was not told that the camera is back")
	}
	return nil
}

// follow has the viewer watch the camera's presence.
func (b *bundle) follow() (err error) {
	b.viewerDevice.Node().Do(func(now time.Time) { err = b.viewer.Watch(now, []identity.UID{b.label.UID()}) })
	return err
}

// fail keeps what went wrong first, unless the trial ends for another reason.
func (w *loser) fail(ctx context.Context, o *Observation, what string) {
	if ctx.Err() == nil && o.Error == "" {
		o.Outcome, o.Cause, o.Error = "failed", fmt.Sprintf("%s within %v (%s)", what, tellPatience, w.how), "presence"
	}
}

// take takes the camera away. The function brings it back.
func (w *loser) take() (back func() error, err error) {
	switch w.how {
	case lostUnplugged:
		return w.lab.Do(lab.Event{Do: lab.DoUplinkDown, Site: w.lab.Topology().SiteOf("camera").Name})
	case lostGoodbye:
		w.b.cameraDevice.Node().Do(w.b.camera.Close)
	}
	if err := w.b.cameraDevice.close(); err != nil {
		return nil, err
	}
	return w.b.restartCamera, nil
}

// restartCamera starts the camera again, as it is after a power cut: with its keys, and nothing else.
func (b *bundle) restartCamera() (err error) {
	if b.cameraDevice, err = openDevice(b.cameraDevice.machine, b.policy, 0); err != nil {
		return err
	}
	return b.startCamera()
}

// told waits until the viewer is told that the camera is online, or that it is not, and says how long after a moment that was.
func (b *bundle) told(ctx context.Context, since time.Time, online bool) (time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, tellPatience)
	defer cancel()
	for {
		b.watch.mu.Lock()
		p, next := b.watch.presence, b.watch.told
		b.watch.mu.Unlock()
		if p.At.After(since) && (p.State == wire.StateOnline) == online {
			return p.At.Sub(since), true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return 0, false
		}
	}
}

// tellPresence keeps what the viewer was told last. The caller holds the lock.
func (w *watch) tellPresence(p viewer.Presence) {
	w.presence = p
	close(w.told)
	w.told = make(chan struct{})
}
