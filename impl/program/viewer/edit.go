package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// AddOptions say how a camera is added.
type AddOptions struct {
	Name string        // "": "camera", "camera-2" …
	Wait time.Duration // how long an offline camera is waited for; 0: not at all
}

// Add pairs with the camera of a label or an invitation: it connects once, for which the camera has to be online, and
// writes it into the book.
func (v *Viewer) Add(ctx context.Context, label identity.Label, o AddOptions) (Camera, error) {
	if o.Name != "" {
		if err := checkName(o.Name); err != nil {
			return Camera{}, err
		}
	}
	c, w, release, err := v.meet(label, o)
	if err != nil {
		return Camera{}, err
	}
	defer release()
	if o.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Wait)
		defer cancel()
	}
	select {
	case <-ctx.Done():
		err = ctx.Err()
		v.mu.Lock()
		if c.failure != nil {
			err = c.failure
		}
		v.mu.Unlock()
	case err = <-w.done:
	}
	if err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if c.temporary {
			v.drop(c)
		}
		return Camera{}, fmt.Errorf("add camera %v: %w; nothing was added", label.UID(), err)
	}
	return v.enter(c.facts(v), o.Name)
}

// meet makes a camera that is not in the book, and connects to it.
func (v *Viewer) meet(label identity.Label, o AddOptions) (*camera, *waiter, func(), error) {
	if err := label.Validate(); err != nil {
		return nil, nil, nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, nil, nil, errors.New("add camera: the viewer is closed")
	}
	if old := v.find(label.UID()); old != nil {
		if old.temporary {
			return nil, nil, nil, errors.New("add camera: it is being added already")
		}
		return nil, nil, nil, fmt.Errorf("add camera: it is in the book as %q; remove it before, to pair anew", old.Name)
	}
	if o.Name != "" && slices.ContainsFunc(v.cameras, func(c *camera) bool { return strings.EqualFold(c.Name, o.Name) }) {
		return nil, nil, nil, fmt.Errorf("add camera: another is called %q already; give it another name", o.Name)
	}
	c := v.newCamera(entry{Label: label.String(), label: label, uid: label.UID()})
	c.temporary = true
	v.cameras = append(v.cameras, c)
	w := &waiter{once: o.Wait <= 0, done: make(chan error, 1)}
	c.waiters = append(c.waiters, w)
	return c, w, v.use(c), nil
}

// facts is what is known of a camera.
func (c *camera) facts(v *Viewer) entry {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := c.entry
	e.Near, e.Rendezvous = slices.Clone(c.Near), slices.Clone(c.home.known)
	return e
}

// Enter writes a camera into the book without connecting.
func (v *Viewer) Enter(label identity.Label, name string) (Camera, error) {
	if err := label.Validate(); err != nil {
		return Camera{}, err
	}
	if name != "" {
		if err := checkName(name); err != nil {
			return Camera{}, err
		}
	}
	return v.enter(entry{Label: label.String(), label: label, uid: label.UID()}, name)
}

func (v *Viewer) enter(e entry, name string) (Camera, error) {
	err := v.edit(func(c *content) error {
		if old := c.find(e.uid); old != nil {
			return fmt.Errorf("add camera: it is in the book as %q", old.Name)
		}
		if e.Name = name; name == "" {
			e.Name = c.free()
		}
		if c.named(e.Name) {
			return fmt.Errorf("add camera: another is called %q already; give it another name", e.Name)
		}
		c.Cameras = append(c.Cameras, &e)
		return nil
	})
	if err != nil {
		return Camera{}, err
	}
	return v.Camera(e.Name)
}

// edit changes the book, and what is known by it.
func (v *Viewer) edit(f func(*content) error) error {
	all, err := v.book.change(f)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sync(all)
	return nil
}

// Rename gives a camera another name.
func (v *Viewer) Rename(name, to string) error {
	if err := checkName(to); err != nil {
		return err
	}
	u, err := v.uid(name)
	if err != nil {
		return err
	}
	return v.edit(func(c *content) error {
		e := c.find(u)
		switch {
		case e == nil:
			return fmt.Errorf("rename %s: it was removed meanwhile", name)
		case c.named(to) && !strings.EqualFold(e.Name, to):
			return fmt.Errorf("rename %s: another is called %q already", name, to)
		}
		e.Name = to
		return nil
	})
}

// Remove forgets a camera. It remembers this viewer: Release, or have its owner Revoke it.
func (v *Viewer) Remove(name string) error {
	u, err := v.uid(name)
	if err != nil {
		return err
	}
	return v.edit(func(c *content) error {
		c.Cameras = slices.DeleteFunc(c.Cameras, func(e *entry) bool { return e.uid == u })
		return nil
	})
}

func (v *Viewer) uid(name string) (identity.UID, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return identity.UID{}, io.EOF
	}
	c, err := v.named(name)
	if err != nil {
		return identity.UID{}, err
	}
	return c.uid, nil
}

// note has the saver write down what is known of a camera. Whoever calls it holds mu.
func (v *Viewer) note(c *camera) {
	c.noted = true
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}

// saver writes down what was noted.
func (v *Viewer) saver() {
	for {
		select {
		case <-v.ctx.Done():
			return
		case <-v.dirty:
		}
		if err := v.save(); err != nil {
			v.opt.Log.Warn("book of cameras not saved", "error", err)
		}
	}
}

// save writes down what was noted of cameras that are still in the book.
func (v *Viewer) save() error {
	facts := map[identity.UID]entry{}
	v.mu.Lock()
	for _, c := range v.cameras {
		if c.noted && !c.temporary {
			e := c.entry
			e.Near, e.Rendezvous = slices.Clone(c.Near), slices.Clone(c.home.known)
			facts[c.uid] = e
		}
		c.noted = false
	}
	v.mu.Unlock()
	if len(facts) == 0 {
		return nil
	}
	return v.edit(func(c *content) error {
		for _, e := range c.Cameras {
			if f, ok := facts[e.uid]; ok {
				e.Role, e.LastPath, e.Near, e.Rendezvous = f.Role, f.LastPath, f.Near, f.Rendezvous
				if f.LastSeen.After(e.LastSeen) {
					e.LastSeen = f.LastSeen
				}
			}
		}
		return nil
	})
}
