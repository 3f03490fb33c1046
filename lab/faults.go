package lab

import (
	"errors"
	"reflect"
	"slices"
)

// faults are what events have changed and nobody has undone yet, thing by thing: a link, a router's addresses. Whoever
// calls its methods holds Lab.events.
//
//	what holds = what the topology says ── change ── change ── …
//
// Undoing a change leaves the later ones, and what the earlier ones did comes back.
type faults struct {
	things map[string]interface{ mend() error }
	order  []string // the names of things, as they were first changed
}

// thing is something that events change.
type thing[T any] struct {
	base, now T
	changes   []*func(T) T
	unsure    bool // setting it failed: it may be anything
	set       func(T) error
}

// change adds a change to the thing of that name, which is base if no event has touched it yet. If it can't be made,
// what was before holds. Undo takes it back, once; it does nothing after mend.
func change[T any](f *faults, name string, base T, set func(T) error, to func(T) T) (undo func() error, err error) {
	th, ok := f.things[name].(*thing[T])
	if !ok {
		th = &thing[T]{base: base, now: base, set: set}
		if f.things == nil {
			f.things = map[string]interface{ mend() error }{}
		}
		f.things[name] = th
		f.order = append(f.order, name)
	}
	c := &to
	th.changes = append(th.changes, c)
	th.unsure = true // an event that changes nothing is an event all the same: a router forgets
	if err := th.update(); err != nil {
		return nil, errors.Join(err, th.drop(c))
	}
	return func() error { return th.drop(c) }, nil
}

func (th *thing[T]) drop(c *func(T) T) error {
	i := slices.Index(th.changes, c)
	if i < 0 {
		return nil
	}
	th.changes = slices.Delete(th.changes, i, i+1)
	return th.update()
}

func (th *thing[T]) mend() error {
	th.changes = nil
	return th.update()
}

// update has come true what the changes make of the base.
func (th *thing[T]) update() error {
	want := th.base
	for _, c := range th.changes {
		want = (*c)(want)
	}
	if !th.unsure && reflect.DeepEqual(want, th.now) {
		return nil
	}
	th.unsure = true
	if err := th.set(want); err != nil {
		return err
	}
	th.now, th.unsure = want, false
	return nil
}

// mend undoes all that is left, what came last first. What can't be mended stays to be mended.
func (f *faults) mend() error {
	var errs []error
	var left []string
	for _, name := range slices.Backward(f.order) {
		if err := f.things[name].mend(); err != nil {
			errs, left = append(errs, err), append(left, name)
			continue
		}
		delete(f.things, name)
	}
	slices.Reverse(left)
	f.order = left
	return errors.Join(errs...)
}
