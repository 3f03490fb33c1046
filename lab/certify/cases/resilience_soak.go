package cases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// What is granted to a program that does not grow, beside a tenth of its memory: a file that it happens to have open, and a child.
const (
	grantedFiles     = 4
	grantedProcesses = 1
)

// eighths is of how many parts a soak is: hours. What is held in the second is compared with the last.
const eighths = 8

// accesses are the links that the homes have in turns.
var accesses = []string{"broadband", "cable", "lte", "adsl"}

// soak is a run of RES-5.
type soak struct {
	*stage.Stage
	x      *stage.Set
	camera *stage.Camera
	progs  []*holder
	missed string // why the first connect failed that did
	undo   []func() error
}

// holder is a program with what it has held, by the eighths of the time.
type holder struct {
	what  string
	usage func() (stage.Usage, error)
	held  [eighths][]stage.Usage
}

// hoursOfWork is RES-5. In brief it counts viewers in place of the hours.
func hoursOfWork(ctx context.Context, s *stage.Stage) certify.Result {
	h := &soak{Stage: s}
	if err := h.begin(ctx); err != nil {
		return outcome(s, err)
	}
	brief := 2 * eighths
	if len(h.progs) == 0 {
		brief = eighths / 2 // nothing is compared
	}
	began, watch := time.Now(), s.For(8*time.Hour, 0)
	for n := 0; s.Brief() && n < brief || time.Since(began) < watch; n++ {
		part := n * eighths / brief
		if !s.Brief() {
			part = int(time.Since(began) * eighths / watch)
		}
		if err := h.round(ctx, n, min(part, eighths-1)); err != nil {
			return s.Judge(err)
		}
		if c := s.Claim(); c.Failures > 0 && (s.Brief() || c.Refutes(s.Case().Rate)) {
			return s.Fail("%d of %d connects failed, after %v; the first: %s", c.Failures, c.Tries, time.Since(began).Round(time.Second), h.missed)
		}
	}
	s.Saw("seconds", int(time.Since(began).Seconds()))
	return h.verdict()
}

func (h *soak) begin(ctx context.Context) (err error) {
	if h.x, err = h.Set(ctx, "two-homes"); err != nil {
		return err
	}
	if h.camera, err = h.x.Camera(ctx, 1); err != nil {
		return err
	}
	h.add("the camera", h.camera.Usage)
	for _, role := range []certify.Role{certify.RoleRendezvous, certify.RoleRelay} {
		if p := h.x.Program(role); p != nil && p.Vendors {
			h.add("the "+string(role), p.Usage)
		}
	}
	_, err = glance(ctx, h.x, stage.Viewing{Camera: h.camera, For: shortLook}, "at first", time.Now(), h.Decl().Bounds.Recovery)
	return err
}

func (h *soak) add(what string, usage func() (stage.Usage, error)) {
	if _, err := usage(); err != nil {
		h.Note("what %s holds is not judged: %v", what, err)
		return
	}
	h.progs = append(h.progs, &holder{what: what, usage: usage})
}

// round is a viewer that comes and goes, over links that were changed before: every other one in order, the others without a word.
func (h *soak) round(ctx context.Context, n, part int) error {
	h.x.Tape().Forget(h.x.Tape().Mark())
	if err := h.change(n); err != nil {
		return err
	}
	v := stage.Viewing{Camera: h.camera, For: h.For(10*time.Second, shortLook)}
	w, took, err := reach(ctx, h.x, v, fmt.Sprintf("as viewer %d came", n+1), time.Now(), h.Decl().Bounds.Recovery)
	var late *unreached
	if err != nil && !errors.As(err, &late) {
		return err
	}
	if h.Try(err != nil); err != nil && h.missed == "" {
		h.missed = err.Error()
	}
	if w != nil && err == nil {
		if err := h.departs(ctx, w, n); err != nil {
			return err
		}
	}
	if err := h.Pause(ctx, h.For(5*time.Second, 0)); err != nil {
		return err
	}
	var held []stage.Usage
	for _, p := range h.progs {
		u, err := p.usage()
		if err != nil {
			return errors.Join(err, h.camera.Fault())
		}
		p.held[part] = append(p.held[part], u)
		held = append(held, u)
	}
	h.Record(map[string]any{"viewer": n + 1, "seconds": took.Seconds(), "failed": late != nil, "held": held})
	return nil
}

// departs has the viewer watch, and go.
func (h *soak) departs(ctx context.Context, w *stage.View, n int) error {
	if n%2 == 1 {
		err := h.Pause(ctx, h.For(5*time.Second, 100*time.Millisecond))
		w.Kill()
		return errors.Join(err, leave(h.Stage, w))
	}
	if h.Brief() {
		return leave(h.Stage, w)
	}
	_, err := w.Wait(ctx)
	return errors.Join(err, leave(h.Stage, w))
}

// change takes back what was changed before, and changes something else.
func (h *soak) change(n int) error {
	for _, undo := range h.undo {
		if err := undo(); err != nil {
			return err
		}
	}
	h.undo = nil
	t := h.x.Lab().Topology()
	camera, viewer := t.SiteOf(h.camera.Host()).Name, t.SiteOf("viewer").Name
	links := accesses[:h.N(len(accesses), 3)]
	events := []lab.Event{
		{Do: lab.DoLink, Site: camera, Link: links[n%len(links)]},
		{Do: lab.DoLink, Site: viewer, Link: links[n/len(links)%len(links)]},
	}
	if n%20 == 19 { // and now and then a home has a new address
		events = append(events, lab.Event{Do: lab.DoReaddress, Site: []string{camera, viewer}[n/20%2]})
	}
	for _, e := range events {
		undo, err := h.x.Do(e)
		if err != nil {
			return err
		}
		h.undo = append(h.undo, undo)
	}
	return nil
}

func (h *soak) verdict() certify.Result {
	for _, p := range h.progs {
		then, now := middle(p.held[1]), middle(p.held[eighths-1])
		h.Record(map[string]any{"program": p.what, "second eighth": then, "last eighth": now})
		h.Note("%s held %.1f MiB, %d files, %d processes in the second eighth of the time, and %.1f MiB, %d files, %d processes in the last",
			p.what, mib(then.Memory), then.Files, then.Processes, mib(now.Memory), now.Files, now.Processes)
		switch {
		case now.Memory > then.Memory+max(then.Memory/10, int64(h.N(grantedMemory, 4*grantedMemory))): // in brief heaps are young
			return h.Fail("the memory of %s grew from %.1f MiB to %.1f MiB while %d viewers came and went", p.what, mib(then.Memory), mib(now.Memory), h.Claim().Tries)
		case now.Files > then.Files+grantedFiles:
			return h.Fail("the open files of %s grew from %d to %d while %d viewers came and went", p.what, then.Files, now.Files, h.Claim().Tries)
		case now.Processes > then.Processes+grantedProcesses:
			return h.Fail("the processes of %s grew from %d to %d while %d viewers came and went", p.what, then.Processes, now.Processes, h.Claim().Tries)
		}
	}
	if len(h.progs) == 0 {
		return h.PassNonstrict("what the programs hold cannot be seen")
	}
	return h.Pass()
}

// middle are the medians of what was held: the lower one of two, so that a garbage collector's moment is nobody's growth.
func middle(held []stage.Usage) (u stage.Usage) {
	if len(held) == 0 {
		return u
	}
	median := func(of func(stage.Usage) int64) int64 {
		values := make([]int64, len(held))
		for i, h := range held {
			values[i] = of(h)
		}
		slices.Sort(values)
		return values[(len(values)-1)/2]
	}
	return stage.Usage{
		Memory:    median(func(u stage.Usage) int64 { return u.Memory }),
		Files:     int(median(func(u stage.Usage) int64 { return int64(u.Files) })),
		Processes: int(median(func(u stage.Usage) int64 { return int64(u.Processes) })),
	}
}
