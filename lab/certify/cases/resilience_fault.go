package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// mishap is something that happens to the camera or its server.
type mishap struct {
	what   string // "the server was killed and started again"
	stream bool   // in mid-stream
	brief  bool   // it is done in brief, too
	// do has it happen, and returns when it is over. The error *stage.Unsupported says that it cannot happen to such a device.
	do func(ctx context.Context, t *trials) (over time.Time, err error)
}

// mishaps are those of RES-3, but for the clock's.
var mishaps = []mishap{
	{"the server was killed and started again", false, true, killServer},
	{"the camera was killed and started again", true, true, killCamera},
	{"the server was stopped and went on", true, true, pauseServer},
	{"the camera was cut off", false, true, partitionCamera},
	{"the camera was killed and started again", false, false, killCamera},
	{"the camera was stopped and went on", false, false, pauseCamera},
	{"the server was stopped and went on", false, false, pauseServer},
	{"the server was cut off", false, false, partitionServer},
	{"the server was killed and started again", true, false, killServer},
	{"the camera was stopped and went on", true, false, pauseCamera},
	{"the camera was cut off", true, false, partitionCamera},
	{"the server was cut off", true, false, partitionServer},
}

func (m mishap) String() string {
	if m.stream {
		return "after " + m.what + ", in mid-stream,"
	}
	return "after " + m.what + ", idle,"
}

// trials is a run of RES-3.
type trials struct {
	*stage.Stage
	x      *stage.Set
	camera *stage.Camera
	ticket []byte // the first
	wrong  []byte // a stranger's
	shut   bool   // the stranger was turned away
	left   []string
}

// outlives is RES-3.
func outlives(ctx context.Context, s *stage.Stage) certify.Result {
	t := &trials{Stage: s}
	if err := t.begin(ctx); err != nil {
		return outcome(s, err)
	}
	moved, err := t.clock(ctx)
	switch {
	case err != nil:
		return t.verdict(err)
	case !moved:
		t.left = append(t.left, "its clock was not set, as it asks no NTP of the lab's")
	}
	for _, m := range mishaps {
		if s.Brief() && !m.brief {
			continue
		}
		if err := t.try(ctx, m); err != nil {
			return t.verdict(err)
		}
	}
	if len(t.left) > 0 {
		return s.PassNonstrict("%s", strings.Join(t.left, "; "))
	}
	return s.Pass()
}

// intruder means that a stranger was let in.
type intruder struct{ when string }

func (i *intruder) Error() string {
	return i.when + " a viewer was let in who was turned away before"
}

func (t *trials) verdict(err error) certify.Result {
	var in *intruder
	if errors.As(err, &in) {
		return t.Fail("%v", in)
	}
	return outcome(t.Stage, err)
}

func (t *trials) begin(ctx context.Context) (err error) {
	if t.x, err = t.Set(ctx, "two-homes"); err != nil {
		return err
	}
	if t.camera, err = t.x.Camera(ctx, 1); err != nil {
		return err
	}
	if t.ticket, err = t.camera.Ticket(); err != nil {
		return err
	}
	if err := t.works(ctx, "before anything had happened"); err != nil {
		return err
	}
	if t.wrong = t.ticket; !t.Decl().Has(certify.FeatureOwner) {
		t.wrong = another(t.ticket)
	}
	in, err := gets(ctx, t.x, t.stranger(), t.refusedIn())
	t.shut = !in
	t.Note("before anything had happened a second viewer is let in: %v", in)
	return err
}

// another is a ticket that differs in its longest word, in one place.
func another(ticket []byte) []byte {
	ticket = bytes.Clone(ticket)
	var longest []byte
	for _, w := range bytes.FieldsFunc(ticket, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) {
		if len(w) > len(longest) {
			longest = w
		}
	}
	if i := len(longest) / 2; i < len(longest) { // the word is a part of the copy
		if longest[i]++; longest[i] == '9'+1 || longest[i] == 'Z'+1 || longest[i] == 'z'+1 {
			longest[i] -= 2
		}
	}
	return ticket
}

func (t *trials) owner() stage.Viewing {
	return stage.Viewing{Camera: t.camera, Ticket: t.ticket, For: shortLook}
}

func (t *trials) stranger() stage.Viewing {
	return stage.Viewing{Camera: t.camera, Ticket: t.wrong, For: shortLook, Unit: stranger}
}

func (t *trials) refusedIn() time.Duration { return t.Decl().Bounds.FirstFrame + time.Second }

func (t *trials) works(ctx context.Context, when string) error {
	_, err := glance(ctx, t.x, t.owner(), when, time.Now(), t.Decl().Bounds.Recovery)
	return err
}

// try has one mishap happen, and holds the camera to what it has to do then.
func (t *trials) try(ctx context.Context, m mishap) error {
	t.x.Tape().Forget(t.x.Tape().Mark()) // what is judged are frames
	var w *stage.View
	var err error
	if m.stream {
		v := t.owner()
		v.For = 0
		w, _, err = reach(ctx, t.x, v, "to be there when "+m.what, time.Now(), t.Decl().Bounds.Recovery)
	} else {
		err = t.works(ctx, "before "+m.what)
	}
	if err != nil {
		return err
	}
	over, err := m.do(ctx, t)
	if w != nil {
		if left := leave(t.Stage, w); err == nil {
			err = left
		}
	}
	var unsupported *stage.Unsupported
	if errors.As(err, &unsupported) {
		t.left = append(t.left, fmt.Sprintf("what %s is not known: %v", m, unsupported))
		return nil
	}
	if err != nil {
		return err
	}
	t.Saw("faults", 1)
	took, err := glance(ctx, t.x, t.owner(), m.String(), over, t.Decl().Bounds.Recovery)
	t.Record(map[string]any{"fault": m.what, "in mid-stream": m.stream, "connect after s": took.Seconds(), "failed": err != nil})
	if err != nil {
		return err
	}
	return t.turnedAway(ctx, m.String())
}

// turnedAway makes sure that the stranger gets nothing still.
func (t *trials) turnedAway(ctx context.Context, when string) error {
	if !t.shut || t.Brief() && t.Observed("faults")%2 != 0 {
		return nil
	}
	in, err := gets(ctx, t.x, t.stranger(), t.refusedIn())
	if err == nil && in {
		return &intruder{when}
	}
	return err
}

// How long things last.
func (t *trials) dead() time.Duration    { return t.For(time.Second, 250*time.Millisecond) }
func (t *trials) stopped() time.Duration { return t.For(10*time.Second, time.Second) }
func (t *trials) apart() time.Duration   { return t.For(time.Minute, 2*time.Second) }

// servers are the programs that serve the camera.
func (t *trials) servers() (all []*stage.Program) {
	for _, role := range []certify.Role{certify.RoleRendezvous, certify.RoleRelay} {
		if p := t.x.Program(role); p != nil {
			all = append(all, p)
		}
	}
	return all
}

func killServer(ctx context.Context, t *trials) (time.Time, error) {
	t.Note("the server is killed")
	for _, p := range t.servers() {
		p.Kill()
	}
	if err := t.Pause(ctx, t.dead()); err != nil {
		return time.Time{}, err
	}
	for _, p := range t.servers() {
		if err := p.Start(ctx); err != nil {
			return time.Time{}, err
		}
	}
	t.Note("the server is there again")
	return time.Now(), nil
}

func pauseServer(ctx context.Context, t *trials) (time.Time, error) {
	t.Note("the server is suspended")
	for _, p := range t.servers() {
		p.Pause()
	}
	err := t.Pause(ctx, t.stopped())
	for _, p := range t.servers() {
		p.Resume()
	}
	t.Note("the server goes on")
	return time.Now(), err
}

func partitionServer(ctx context.Context, t *trials) (time.Time, error) {
	return t.cutOff(ctx, lab.Event{Do: lab.DoUplinkDown, Host: t.servers()[0].Host})
}

func killCamera(ctx context.Context, t *trials) (time.Time, error) {
	if err := t.camera.Kill(); err != nil {
		return time.Time{}, err
	}
	if t.Way() != stage.Box { // whose hook has given the power back
		if err := t.Pause(ctx, t.dead()); err != nil {
			return time.Time{}, err
		}
	}
	back := time.Now()
	return back, t.camera.Start(ctx)
}

func pauseCamera(ctx context.Context, t *trials) (time.Time, error) {
	if err := t.camera.Pause(); err != nil {
		return time.Time{}, err
	}
	err := t.Pause(ctx, t.stopped())
	t.camera.Resume()
	return time.Now(), err
}

func partitionCamera(ctx context.Context, t *trials) (time.Time, error) {
	site := t.x.Lab().Topology().SiteOf(t.camera.Host())
	return t.cutOff(ctx, lab.Event{Do: lab.DoUplinkDown, Site: site.Name})
}

func (t *trials) cutOff(ctx context.Context, e lab.Event) (time.Time, error) {
	undo, err := t.x.Do(e)
	if err != nil {
		return time.Time{}, err
	}
	err = t.Pause(ctx, t.apart())
	return time.Now(), errors.Join(err, undo())
}

// clock has a camera that asks NTP when it starts be told another year, and then the truth. It reports whether it asked.
func (t *trials) clock(ctx context.Context) (bool, error) {
	const year = 365 * 24 * time.Hour
	const port = 123
	if !t.x.SetClock(year) {
		return false, nil
	}
	for _, when := range []string{"after its clock was set a year on,", "after its clock was set right again,"} {
		from := t.x.Tape().Mark()
		back, err := killCamera(ctx, t)
		if err != nil {
			return false, err
		}
		short, cancel := context.WithTimeout(ctx, t.For(time.Minute, 2*time.Second))
		_, err = t.x.Tape().Wait(short, from, 1, tape.CameTo(t.camera.Host()), tape.UDP, tape.Port(port))
		cancel()
		if ctx.Err() != nil {
			return false, err
		}
		if err != nil {
			t.Note("no answer of the lab's NTP came to the camera: %v", err)
			return false, nil
		}
		t.Saw("faults", 1)
		if err := t.works(ctx, when); err != nil {
			return true, err
		}
		t.Record(map[string]any{"fault": when, "back": back})
		if err := t.turnedAway(ctx, when); err != nil {
			return true, err
		}
		t.x.SetClock(0)
	}
	return true, nil
}
