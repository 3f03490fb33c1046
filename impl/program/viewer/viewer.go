package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Viewer is open until Close.
type Viewer struct {
	opt      Options
	policy   punch.Policy
	book     *book
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup // homes and the saver
	callers  sync.WaitGroup // calls of other processes
	listener net.Listener   // for those; nil: the book is in memory
	dirty    chan struct{}  // facts are to be saved

	mu        sync.Mutex
	cameras   []*camera // by name
	homes     map[identity.PublicKey]*home
	followers map[chan struct{}]bool
	closed    bool
}

// Run opens a viewer, calls Ready, and closes it when the context ends.
func Run(ctx context.Context, o Options) error {
	v, err := Open(o)
	if err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready(v)
	}
	<-ctx.Done()
	return v.Close()
}

// Open reads the book and logs in at the cameras' rendezvous servers. One process at a time has a book open: see Use for the others.
func Open(o Options) (*Viewer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	v := &Viewer{
		opt: o, book: &book{path: o.Book}, dirty: make(chan struct{}, 1), homes: map[identity.PublicKey]*home{}, followers: map[chan struct{}]bool{},
	}
	if v.policy, err = punch.Lookup(o.Strategy); err != nil {
		return nil, err
	}
	if err := v.listen(); err != nil {
		return nil, err
	}
	all, err := v.book.read()
	if err != nil {
		if v.listener != nil {
			_ = v.listener.Close() // the other error says what to do
		}
		return nil, err
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.mu.Lock()
	v.sync(all)
	v.mu.Unlock()
	v.wg.Go(v.saver)
	v.serve()
	return v, nil
}

// Close ends all feeds and connections, says goodbye, and saves the book.
func (v *Viewer) Close() error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	v.closed = true
	now := time.Now()
	for _, c := range v.cameras {
		v.met(now, c)
		for _, f := range slices.Clone(c.feeds) {
			f.end(io.EOF)
		}
		c.dropped++ // its Closed is not news
		c.lost(&Refusal{wire.CodeShuttingDown, "the viewer was closed"})
		c.refuse(&Refusal{wire.CodeShuttingDown, "the viewer was closed"})
	}
	v.mu.Unlock()
	v.cancel()
	v.wg.Wait()
	err := v.save()
	if v.listener != nil { // last: who opens the book next finds nobody logged in by it
		_ = v.listener.Close()
		v.callers.Wait()
	}
	return err
}

// sync brings the cameras in line with the book. Whoever calls it holds mu.
func (v *Viewer) sync(all []*entry) {
	if v.closed {
		return
	}
	for _, e := range all {
		c := v.find(e.uid)
		if c == nil {
			v.cameras = append(v.cameras, v.newCamera(*e))
			continue
		}
		c.temporary = false
		c.Name, c.Label, c.label = e.Name, e.Label, e.label
		if c.Role == 0 {
			c.Role = e.Role
		}
	}
	for _, c := range slices.Clone(v.cameras) {
		if !c.temporary && !slices.ContainsFunc(all, func(e *entry) bool { return e.uid == c.uid }) {
			v.drop(c)
		}
	}
	slices.SortFunc(v.cameras, func(a, b *camera) int { return strings.Compare(a.Name, b.Name) })
	v.changed()
}

// newCamera makes one, and its home if it is the first there.
func (v *Viewer) newCamera(e entry) *camera {
	key := e.label.RendezvousKey
	h := v.homes[key]
	if h == nil {
		h = &home{v: v, key: key, kick: make(chan struct{}, 1)}
		h.ctx, h.cancel = context.WithCancel(v.ctx)
		v.homes[key] = h
	}
	for _, host := range e.label.Rendezvous {
		if !slices.Contains(h.hosts, host) {
			h.hosts = append(h.hosts, host)
		}
	}
	for _, a := range e.Rendezvous {
		if !slices.Contains(h.known, a) {
			h.known = append(h.known, a)
		}
	}
	if !h.running {
		h.running = true
		v.wg.Go(h.run)
	}
	h.wake()
	return &camera{entry: e, home: h, presence: Unknown, phase: Idle, pending: map[uint32]*question{}}
}

// drop forgets a camera, and its home if it was the last there.
func (v *Viewer) drop(c *camera) {
	for _, f := range slices.Clone(c.feeds) {
		f.end(fmt.Errorf("%s was removed", c.Name))
	}
	gone := &Refusal{wire.CodeEnded, "the camera was removed"}
	c.lost(gone)
	c.refuse(gone)
	v.cameras = slices.DeleteFunc(v.cameras, func(x *camera) bool { return x == c })
	c.home.gone = append(c.home.gone, c.uid)
	c.home.wake()
	if len(v.of(c.home)) == 0 {
		c.home.cancel()
		delete(v.homes, c.home.key)
	}
}

// find returns a camera; nil: it is not known.
func (v *Viewer) find(u identity.UID) *camera {
	if i := slices.IndexFunc(v.cameras, func(c *camera) bool { return c.uid == u }); i >= 0 {
		return v.cameras[i]
	}
	return nil
}

// of lists a home's cameras.
func (v *Viewer) of(h *home) (all []*camera) {
	for _, c := range v.cameras {
		if c.home == h {
			all = append(all, c)
		}
	}
	return all
}

// named finds a camera by its name, its UID, or a beginning of either.
func (v *Viewer) named(name string) (*camera, error) {
	var begin []*camera
	for _, c := range v.cameras {
		switch {
		case c.temporary:
		case strings.EqualFold(c.Name, name), strings.EqualFold(c.uid.String(), name), strings.EqualFold(c.uid.Compact(), name):
			return c, nil
		case name != "" && hasPrefixFold(c.Name, name),
			len(name) >= leastUID && (hasPrefixFold(c.uid.String(), name) || hasPrefixFold(c.uid.Compact(), name)):
			begin = append(begin, c)
		}
	}
	switch len(begin) {
	case 0:
		return nil, fmt.Errorf("no camera is called %q: %s", name, v.names())
	case 1:
		return begin[0], nil
	}
	return nil, fmt.Errorf("%d cameras begin with %q: %s", len(begin), name, v.names())
}

// leastUID is how many characters of a UID name a camera: fewer are as likely a name that was mistyped.
const leastUID = 4

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// names says which cameras there are.
func (v *Viewer) names() string {
	var all []string
	for _, c := range v.cameras {
		if !c.temporary {
			all = append(all, c.Name)
		}
	}
	if len(all) == 0 {
		return "there is none yet; add one by its label"
	}
	return "the book has " + strings.Join(all, ", ")
}

// Cameras lists the cameras in the book, by name.
func (v *Viewer) Cameras() (all []Camera) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.cameras {
		if !c.temporary {
			all = append(all, c.snapshot())
		}
	}
	return all
}

// Camera finds one by its name, by its UID, or by a beginning of either that no other has.
func (v *Viewer) Camera(name string) (Camera, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, err := v.named(name)
	if err != nil {
		return Camera{}, err
	}
	return c.snapshot(), nil
}

// Servers lists the rendezvous servers that the book's labels name.
func (v *Viewer) Servers() (all []Server) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, h := range v.homes {
		all = append(all, Server{Hosts: slices.Clone(h.hosts), LoggedIn: h.loggedIn, RTT: h.rtt, Failure: h.failure})
	}
	slices.SortFunc(all, func(a, b Server) int { return slices.Compare(a.Hosts, b.Hosts) })
	return all
}

// Changed returns a channel that receives when the state of a camera or server has changed since it was last received from:
// at once where something happened, once a second while numbers alone change. cancel ends that.
func (v *Viewer) Changed() (changed <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.followers[c] = true
	return c, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.followers, c)
	}
}

// changed tells who follows.
func (v *Viewer) changed() {
	for c := range v.followers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Watch begins to watch a camera: see Feed.
func (v *Viewer) Watch(name string, o WatchOptions) (Stream, error) {
	f, err := v.Feed(name, o)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Feed begins to watch a camera.
func (v *Viewer) Feed(name string, o WatchOptions) (*Feed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, err := v.named(name)
	switch {
	case err != nil:
		return nil, err
	case v.closed:
		return nil, errors.New("watch: the viewer is closed")
	case o.Queue < 0:
		return nil, fmt.Errorf("watch: a queue of %d frames; give one or more", o.Queue)
	case o.Queue == 0:
		o.Queue = defaultQueue
	}
	f := &Feed{v: v, uid: c.uid, opt: o, news: make(chan struct{}, 1)}
	f.begin(c.gop)
	if f.needKey && c.phase == Watching {
		c.home.keys = append(c.home.keys, c.uid)
	}
	c.feeds = append(c.feeds, f)
	if c.phase == Refused || c.phase == Waiting { // it is asked for anew
		c.become(Idle)
	}
	c.home.wake()
	v.changed()
	return f, nil
}

// failHome has all that wait for a camera of a home learn that it cannot be used. Whoever calls it holds mu.
func (v *Viewer) failHome(h *home, r *Refusal) {
	for _, c := range v.of(h) {
		if any, _ := c.wanted(); any {
			h.failed(time.Now(), c, r)
		}
	}
}
