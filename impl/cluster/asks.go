package cluster

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
)

// routes remember which node is the home of which connection of a device's here, and who of them visits which nodes. The
// longest unused are forgotten: twice maxRoutes are kept at most.
type routes struct {
	young, old map[routeKey]route
	guests     map[identity.UID]*guest
}

type routeKey struct {
	device identity.PublicKey
	id     uint64
}

type route struct {
	home   string
	camera identity.UID
	tie    *rendezvous.Tie // nil: not known yet
}

// guest is a viewer of this node that other nodes know.
type guest struct {
	key   identity.PublicKey
	homes map[string]bool
}

const maxRoutes = 1 << 15

// add remembers the home of a connection.
func (r *routes) add(k routeKey, to route) {
	if r.young == nil || len(r.young) >= maxRoutes {
		r.young, r.old = map[routeKey]route{}, r.young
	}
	r.young[k] = to
	if len(r.guests) >= 2*maxRoutes || r.guests == nil {
		r.guests = map[identity.UID]*guest{}
	}
	uid := k.device.UID()
	if r.guests[uid] == nil {
		r.guests[uid] = &guest{k.device, map[string]bool{}}
	}
	r.guests[uid].homes[to.home] = true
}

// find is the home of a connection.
func (r *routes) find(k routeKey) (to route, ok bool) {
	if to, ok = r.young[k]; ok {
		return to, true
	}
	if to, ok = r.old[k]; ok {
		r.add(k, to)
	}
	return to, ok
}

// Ask is rendezvous.Others'.
func (n *Node) Ask(_ time.Time, device identity.PublicKey, role rendezvous.Role, from netip.AddrPort, m wire.Message) bool {
	core := n.core.Load()
	if core == nil {
		return false
	}
	if cameras, _ := n.buckets(); cameras == nil {
		return false
	}
	v, ok := core.Describe(device, role)
	if !ok {
		return false
	}
	v.From = from
	body, err := wire.Marshal(m)
	if err != nil {
		return false
	}
	// The core's message may lie in its buffers.
	if v.Message, err = wire.Unmarshal(body); err != nil {
		return false
	}
	if !n.begin(device) {
		return false
	}
	if !n.asks.push(func() { defer n.ended(device); n.ask(v) }) {
		n.ended(device)
		return false
	}
	n.count(func(s *Stats) { s.Asked++ })
	return true
}

// asksEach is how much one device may ask at a time, so that others are asked for besides.
const asksEach = 32

func (n *Node) begin(device identity.PublicKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asking[device] >= asksEach {
		return false
	}
	n.asking[device]++
	return true
}

func (n *Node) ended(device identity.PublicKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asking[device]--; n.asking[device] == 0 {
		delete(n.asking, device)
	}
}

// ask finds out who is meant and lets him know.
func (n *Node) ask(v rendezvous.Visit) {
	switch m := v.Message.(type) {
	case *wire.Connect:
		n.connect(v, m)
	case *wire.Again:
		if v.Role == rendezvous.Camera {
			n.call(v, m)
		} else {
			n.again(v, m)
		}
	case *wire.Sample:
		n.forward(v, m.ID)
	case *wire.LocatedAck:
		n.forward(v, m.ID)
	}
}

// connect sends a viewer's request to the node that serves the camera. A repeated one may find it at another node.
func (n *Node) connect(v rendezvous.Visit, m *wire.Connect) {
	to := route{home: n.find(m.Camera), camera: m.Camera}
	if to.home == "" {
		n.refuse(v, m.ID)
		return
	}
	n.do(func(time.Time) { n.core.Load().Found(v.Device) })
	n.route(routeKey{v.Device, m.ID}, to)
	n.visit(to, v)
}

func (n *Node) route(k routeKey, to route) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.routes.add(k, to)
}

// forward sends a message about a connection to its home, if that is known: who sends it has heard from there.
func (n *Node) forward(v rendezvous.Visit, id uint64) {
	n.mu.Lock()
	to, known := n.routes.find(routeKey{v.Device, id})
	n.mu.Unlock()
	if known && v.Role == rendezvous.Viewer {
		to.tie = nil // the home has it
		n.visit(to, v)
	}
}

// again sends a viewer's request to where the camera is now: it may have another home than before.
func (n *Node) again(v rendezvous.Visit, m *wire.Again) {
	k := routeKey{v.Device, m.ID}
	n.mu.Lock()
	to, known := n.routes.find(k)
	n.mu.Unlock()
	if to.tie == nil {
		if t, ok := n.loadTie(v.Device, m.ID); ok {
			to.tie, to.camera, known = &t, t.Camera.UID(), true
		}
	}
	if !known || to.tie != nil && to.tie.Viewer != v.Device {
		n.refuse(v, m.ID)
		return
	}
	if n.serves(to.camera) && to.tie != nil {
		n.resume(v, *to.tie)
		return
	}
	if to.home = n.find(to.camera); to.home == "" {
		n.refuse(v, m.ID)
		return
	}
	n.route(k, to)
	n.do(func(now time.Time) { n.core.Load().Cede(now, v.Device, v.Role, m.ID) })
	n.visit(to, v)
}

// serves says whether a camera is here.
func (n *Node) serves(uid identity.UID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.held[uid]
	return h != nil && h.state == wire.StateOnline
}

// resume goes on with a connection here, whose home this node has become.
func (n *Node) resume(v rendezvous.Visit, t rendezvous.Tie) {
	n.count(func(s *Stats) { s.Restored++ })
	n.do(func(now time.Time) { _ = n.core.Load().Resume(now, t, v.Device, v.Role, v.From, v.Message) })
}

// visit lets a device speak to the home of its connection.
func (n *Node) visit(to route, v rendezvous.Visit) {
	p, err := pack(v)
	if err != nil {
		return
	}
	n.send(to.home, &letter{Kind: kindVisit, Visit: p, Tie: to.tie})
}

// call asks for the viewer of a camera's connection, wherever he is.
func (n *Node) call(v rendezvous.Visit, m *wire.Again) {
	t, ok := n.loadTie(v.Device, m.ID)
	if !ok || t.Camera != v.Device || t.CameraID != m.ID {
		n.refuse(v, m.ID)
		return
	}
	here := false
	n.do(func(time.Time) { _, here = n.core.Load().Describe(t.Viewer, rendezvous.Viewer) })
	if here {
		n.resume(v, t)
		return
	}
	body, err := wire.Marshal(m)
	if err != nil {
		return
	}
	if n.anyone(&letter{Kind: kindCall, Device: t.Viewer, Role: rendezvous.Viewer, Tie: &t, Body: body}) == "" {
		n.refuse(v, m.ID)
	}
}

// called answers call where this node serves the viewer.
func (n *Node) called(l *letter) {
	if l.Tie == nil || l.Tie.Viewer != l.Device || l.Role != rendezvous.Viewer {
		return
	}
	var v rendezvous.Visit
	var here bool
	n.do(func(now time.Time) {
		core := n.core.Load()
		if v, here = core.Describe(l.Device, rendezvous.Viewer); here {
			core.Cede(now, l.Device, rendezvous.Viewer, l.Tie.ViewerID)
		}
	})
	n.send(l.Node, &letter{Kind: kindHere, Ref: l.Ref, Alive: here})
	if !here {
		return
	}
	n.route(routeKey{l.Device, l.Tie.ViewerID}, route{home: l.Node, camera: l.Tie.Camera.UID(), tie: l.Tie})
	if p, err := pack(v); err == nil {
		n.send(l.Node, &letter{Kind: kindVisit, Visit: p, Tie: l.Tie, Camera: l.Body})
	}
}

// visited takes what another node's device says.
func (n *Node) visited(l *letter) {
	if l.Visit == nil {
		return
	}
	v, err := l.Visit.unpack(l.Node)
	if err != nil {
		n.count(func(s *Stats) { s.Bad++ })
		return
	}
	v.Tie = l.Tie
	n.count(func(s *Stats) { s.Visits++ })
	var asked wire.Message
	if l.Camera != nil && l.Tie != nil {
		asked, _ = wire.Unmarshal(l.Camera)
	}
	n.do(func(now time.Time) {
		core := n.core.Load()
		if err := core.Visit(now, v); err != nil {
			return
		}
		if m, ok := asked.(*wire.Again); ok {
			if c, ok := core.Describe(l.Tie.Camera, rendezvous.Camera); ok {
				_ = core.Resume(now, *l.Tie, c.Device, c.Role, c.From, m)
			}
		}
	})
}

// Tell is rendezvous.Others'.
func (n *Node) Tell(p rendezvous.Proxy, device identity.PublicKey, role rendezvous.Role, m wire.Message) {
	body, err := wire.Marshal(m)
	if err != nil {
		return
	}
	n.post(p.Node, &letter{Kind: kindTell, Device: device, Role: role, Body: body})
}

// told hands a device what another node's core says to it.
func (n *Node) told(l *letter) {
	m, err := wire.Unmarshal(l.Body)
	if err != nil {
		n.count(func(s *Stats) { s.Bad++ })
		return
	}
	n.count(func(s *Stats) { s.Told++ })
	n.do(func(now time.Time) { _ = n.core.Load().Told(now, l.Node, l.Device, l.Role, m) })
}

// guestMoved lets the homes of a viewer's connections know where he is now.
func (n *Node) guestMoved(uid identity.UID) {
	n.mu.Lock()
	g := n.routes.guests[uid]
	n.mu.Unlock()
	if g == nil {
		return
	}
	v, ok := n.core.Load().Describe(g.key, rendezvous.Viewer)
	if !ok {
		return
	}
	p, err := pack(v)
	if err != nil {
		return
	}
	for _, home := range n.homes(g) {
		n.post(home, &letter{Kind: kindVisit, Visit: p})
	}
}

// guestLeft lets them know that he has gone.
func (n *Node) guestLeft(viewer identity.PublicKey) {
	n.mu.Lock()
	g := n.routes.guests[viewer.UID()]
	n.mu.Unlock()
	if g == nil {
		return
	}
	for _, home := range n.homes(g) {
		n.post(home, &letter{Kind: kindLeft, Device: viewer, Role: rendezvous.Viewer})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.routes.guests, viewer.UID())
}

func (n *Node) homes(g *guest) (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range g.homes {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
