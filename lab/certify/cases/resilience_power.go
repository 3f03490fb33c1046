package cases

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// Moments of power cuts.
const (
	inStart  = "in start"
	inIdle   = "in idle"
	inStream = "in stream"
)

// powerOff is how long the power is away: what a hook that is asked for `power` does, too.
const powerOff = time.Second

// stranger is the viewer's unit that has the camera's first ticket and was not its first viewer.
const stranger = 2

// cuts is a run of RES-2.
type cuts struct {
	*stage.Stage
	x      *stage.Set
	camera *stage.Camera
	ticket []byte // the first: what the owner has
	is     stage.Identity
	shut   bool // a stranger with the ticket was turned away before the first cut
	draw   *rand.Rand
}

// powerCuts is RES-2.
func powerCuts(ctx context.Context, s *stage.Stage) certify.Result {
	c := &cuts{Stage: s, draw: rand.New(rand.NewPCG(s.Seed(1), 2))}
	if err := c.begin(ctx); err != nil {
		return outcome(s, err)
	}
	n := s.N(100, 3)
	for i := 1; i <= n; i++ {
		moment := []string{inStream, inIdle, inStart}[i%3]
		private := moment == inIdle && i%(s.N(10, 1)) == 0 && s.Decl().Has(certify.FeaturePrivacy)
		wrong, err := c.cut(ctx, cut{i, moment, private, c.shut && (i == n || i%10 == 0)})
		s.Record(map[string]any{"cut": i, "moment": moment, "in privacy": private, "wrong": wrong})
		if err != nil && wrong == "" {
			return s.Judge(fmt.Errorf("power cut %d, %s: %w", i, moment, err))
		}
		s.Saw("cuts", 1)
		if s.Try(wrong != ""); wrong != "" {
			return s.Fail("power cut %d of %d, %s: %s", i, n, moment, wrong)
		}
	}
	return s.Pass()
}

// cut is one of them.
type cut struct {
	n       int
	moment  string
	private bool // the camera is in privacy mode
	knocks  bool // the stranger is the first who asks then
}

// begin has the camera get an owner.
func (c *cuts) begin(ctx context.Context) (err error) {
	if c.x, err = c.Set(ctx, "two-homes"); err != nil {
		return err
	}
	if c.camera, err = c.x.Camera(ctx, 1); err != nil {
		return err
	}
	if c.ticket, err = c.camera.Ticket(); err != nil {
		return err
	}
	if c.is, err = c.camera.Identity(); err != nil {
		return err
	}
	if _, err = glance(ctx, c.x, c.owner(), "before the first cut", time.Now(), c.Decl().Bounds.Recovery); err != nil {
		return err
	}
	if !c.Decl().Has(certify.FeatureOwner) {
		return nil
	}
	in, err := gets(ctx, c.x, c.other(), c.refusedIn())
	c.shut = !in
	c.Note("before the first cut a second viewer with the same ticket is let in: %v", in)
	return err
}

func (c *cuts) owner() stage.Viewing {
	return stage.Viewing{Camera: c.camera, Ticket: c.ticket, For: shortLook}
}

func (c *cuts) other() stage.Viewing {
	return stage.Viewing{Camera: c.camera, Ticket: c.ticket, For: shortLook, Unit: stranger}
}

// refusedIn is how long a viewer may try who should get nothing.
func (c *cuts) refusedIn() time.Duration { return c.Decl().Bounds.FirstFrame + time.Second }

// cut does one. wrong says what of the camera's it did not outlive.
func (c *cuts) cut(ctx context.Context, k cut) (wrong string, err error) {
	c.x.Tape().Forget(c.x.Tape().Mark()) // what is judged are frames
	if k.private {
		var unsupported *stage.Unsupported
		switch err := c.camera.Action(ctx, certify.ActionPrivacyOn); {
		case errors.As(err, &unsupported):
			k.private = false
		case err != nil:
			return "", err
		}
	}
	back, err := c.dark(ctx, k.moment)
	if err != nil {
		return faultOf(err)
	}
	now, err := c.camera.Identity()
	if err != nil {
		return faultOf(err)
	}
	if now != c.is {
		return fmt.Sprintf("its identity is not the same: it says that it is %s, and was %s", called(now), called(c.is)), nil
	}
	if k.private {
		in, err := gets(ctx, c.x, c.owner(), c.refusedIn())
		switch {
		case err != nil:
			return faultOf(err)
		case in:
			return "it gives media, and was in privacy mode before: its settings are not the same", nil
		}
		if err := c.camera.Action(ctx, certify.ActionPrivacyOff); err != nil {
			return faultOf(err)
		}
		back = time.Now()
	}
	if k.knocks {
		in, err := gets(ctx, c.x, c.other(), c.refusedIn())
		switch {
		case err != nil:
			return faultOf(err)
		case in:
			return "a viewer is let in who was turned away before: it has forgotten its owner", nil
		}
	}
	took, err := glance(ctx, c.x, c.owner(), fmt.Sprintf("after power cut %d, %s,", k.n, k.moment), back, c.Decl().Bounds.Recovery)
	var late *unreached
	if errors.As(err, &late) {
		return late.Error(), nil
	}
	c.Record(map[string]any{"cut": k.n, "connect after s": took.Seconds()})
	return faultOf(err)
}

// faultOf takes what the vendor's program has done for what is wrong.
func faultOf(err error) (wrong string, _ error) {
	var fault *stage.Fault
	if errors.As(err, &fault) {
		return fault.Error(), err
	}
	return "", err
}

// dark cuts the power at a moment, and returns when it came back. The camera is ready then.
func (c *cuts) dark(ctx context.Context, moment string) (back time.Time, err error) {
	within := func(full, brief time.Duration) time.Duration {
		return time.Duration(c.draw.Int64N(int64(c.For(full, brief))))
	}
	switch moment {
	case inIdle:
		if err := c.Pause(ctx, within(5*time.Second, 500*time.Millisecond)); err != nil {
			return back, err
		}
		back, err = c.off(ctx)
	case inStream:
		v := c.owner()
		v.For = 0
		w, _, err := reach(ctx, c.x, v, "to be cut off", time.Now(), c.Decl().Bounds.Recovery)
		if err != nil {
			return back, err
		}
		if err := c.Pause(ctx, within(5*time.Second, 500*time.Millisecond)); err != nil {
			return back, err
		}
		back, err = c.off(ctx)
		if err := errors.Join(err, leave(c.Stage, w)); err != nil {
			return back, err
		}
	case inStart:
		if _, err := c.off(ctx); err != nil {
			return back, err
		}
		short, cancel := context.WithTimeout(ctx, within(time.Second, 200*time.Millisecond))
		err := c.camera.Start(short) // not to the end, as a rule
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return back, err
		}
		back, err = c.off(ctx)
		if err != nil {
			return back, err
		}
	}
	if err != nil {
		return back, err
	}
	return back, c.camera.Start(ctx)
}

// off cuts the power for a second, and returns when it is to come back: now.
func (c *cuts) off(ctx context.Context) (time.Time, error) {
	if err := c.camera.Kill(); err != nil {
		return time.Time{}, err
	}
	if c.Way() != stage.Box { // whose hook has done both
		if err := c.Pause(ctx, c.For(powerOff, powerOff/4)); err != nil {
			return time.Time{}, err
		}
	}
	return time.Now(), nil
}

// called is what a camera is called by.
func called(id stage.Identity) string {
	for _, name := range []string{id.UID, id.Serial, id.MAC} {
		if name != "" {
			return name
		}
	}
	return "nobody"
}

// gets reports whether a viewer gets a frame within a time from now on, who perhaps should not.
func gets(ctx context.Context, x *stage.Set, v stage.Viewing, within time.Duration) (bool, error) {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	w, err := x.View(ctx, v)
	if err != nil {
		return false, err
	}
	_, err = w.FirstFrame(limit)
	if stopped := w.Stop(); stopped != nil {
		return false, stopped
	}
	var ended *stage.Ended
	switch {
	case len(w.Frames()) > 0:
		return true, nil
	case ctx.Err() == nil && (errors.As(err, &ended) || errors.Is(err, context.DeadlineExceeded)):
		return false, nil
	}
	return false, err
}
