package viewer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// entry is a camera in the book. Its label has a secret.
type entry struct {
	Name       string           `json:"name"`
	Label      string           `json:"label"`
	Role       wire.Role        `json:"role,omitempty"`
	LastSeen   time.Time        `json:"last_seen,omitzero"`
	LastPath   string           `json:"last_path,omitempty"`
	Near       []netip.AddrPort `json:"near,omitempty"`       // where it was met on the local network
	Rendezvous []netip.AddrPort `json:"rendezvous,omitempty"` // what its label's names stood for

	label identity.Label
	uid   identity.UID
}

// content is the book's file.
type content struct {
	Schema  string   `json:"schema"`
	Cameras []*entry `json:"cameras"`
}

const schema = "punchlab/viewer-book/1"

// book is the file of cameras, which several processes may change: each change reads it, and writes it again, under a lock.
type book struct {
	path string // "": memory
	mu   sync.Mutex
	held []*entry // in memory
}

// read returns the cameras.
func (b *book) read() ([]*entry, error) {
	if b.path == "" {
		return clones(b.held), nil
	}
	text, err := identity.ReadSecret(b.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read book of cameras: %w", err)
	}
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read book of cameras %s: %w; mend it, or move it away and add the cameras again", b.path, err)
	}
	if c.Schema != schema {
		return nil, fmt.Errorf("read book of cameras %s: its schema is %q, and this program knows %q: update this program", b.path, c.Schema, schema)
	}
	for i, e := range c.Cameras {
		if e == nil {
			return nil, fmt.Errorf("read book of cameras %s: camera %d is empty; mend it", b.path, i+1)
		}
		if e.label, err = identity.ParseLabel(e.Label); err != nil {
			return nil, fmt.Errorf("read book of cameras %s: camera %d (%s): %w", b.path, i+1, e.Name, err)
		}
		e.uid = e.label.UID()
	}
	return c.Cameras, nil
}

// change reads the book, has f change it, and writes it. It returns the cameras that are in it then.
func (b *book) change(f func(*content) error) ([]*entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := b.read()
	if err != nil {
		return nil, err
	}
	c := content{Schema: schema, Cameras: all}
	if err := f(&c); err != nil {
		return nil, err
	}
	slices.SortFunc(c.Cameras, func(a, b *entry) int { return strings.Compare(a.Name, b.Name) })
	b.held = c.Cameras
	if b.path == "" {
		return clones(c.Cameras), nil
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write book of cameras: %w", err)
	}
	if err := identity.WriteFile(b.path, append(text, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("write book of cameras: %w", err)
	}
	return clones(c.Cameras), nil
}

// lock keeps other processes out until unlock.
func (b *book) lock() (unlock func(), err error) {
	if b.path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(b.path), 0o700); err != nil {
		return nil, fmt.Errorf("lock book of cameras: %w", err)
	}
	f, err := os.OpenFile(b.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock book of cameras: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock book of cameras: %w", errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil
}

func clones(all []*entry) []*entry {
	out := make([]*entry, len(all))
	for i, e := range all {
		c := *e
		out[i] = &c
	}
	return out
}

// find returns the entry of a camera; nil: there is none.
func (c *content) find(u identity.UID) *entry {
	if i := slices.IndexFunc(c.Cameras, func(e *entry) bool { return e.uid == u }); i >= 0 {
		return c.Cameras[i]
	}
	return nil
}

// named says whether a name is taken.
func (c *content) named(name string) bool {
	return slices.ContainsFunc(c.Cameras, func(e *entry) bool { return strings.EqualFold(e.Name, name) })
}

// free returns a name that is not taken: "camera", "camera-2" …
func (c *content) free() string {
	for n := 1; ; n++ {
		name := "camera"
		if n > 1 {
			name = fmt.Sprintf("camera-%d", n)
		}
		if !c.named(name) {
			return name
		}
	}
}

// maxName is the length of a camera's name in the book, in bytes.
const maxName = 64

// checkName says what keeps a camera from being called so, if anything.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxName || strings.TrimSpace(name) != name:
		return fmt.Errorf("name a camera %q: a name has 1 to %d characters, and no space at its ends", name, maxName)
	case strings.HasPrefix(name, "-"), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' }):
		return fmt.Errorf("name a camera %q: a name begins with no dash, and has neither slashes nor control characters", name)
	}
	return nil
}
