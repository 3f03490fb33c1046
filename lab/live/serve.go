package live

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

// netState is a net in the fabric process.
type netState struct {
	*fabric.Net
	members  map[uint32]*part
	monitors []*port
	capture  *recorder // nil: none
}

// part is a member of a net: one of the three, and the device that it has or not. A router that hangs on the core has
// its uplink too.
type part struct {
	id      uint32
	uplink  *fabric.Uplink
	router  *fabric.Router
	station *fabric.Station
	port    *port
}

var (
	errNoNet    = errors.New("no such net")
	errNoMember = errors.New("no such uplink, router or station")
	errLater    = errors.New("the answer comes later") // what a handler returns whose request is answered by another one
)

// handle answers a request. It writes what it answers to control.out.
func (l *loop) handle(r *request) error {
	switch r.op {
	case opHello:
		return nil
	case opLateness:
		l.control.out.lateness(l.fab.Lateness(l.now()))
		return nil
	case opTrace:
		return l.takeTrace(r)
	case opNewNet:
		l.nets[r.net] = &netState{Net: l.fab.NewNet(r.body.u64()), members: map[uint32]*part{}}
		return r.body.err
	}
	n := l.nets[r.net]
	if n == nil {
		return errNoNet
	}
	switch r.op {
	case opCloseNet:
		l.closeNet(r.net, n)
	case opReset:
		n.Reset(r.body.u64())
		for _, p := range n.members {
			if p.port != nil {
				l.discard(p.port)
			}
		}
	case opStats:
		l.control.stats = n.stats(l.control.stats, nil)
		l.control.out.stats(l.control.stats)
	case opBlackhole:
		on, a, b := r.body.boolean(), r.body.text(), r.body.text()
		if r.body.err != nil {
			return r.body.err
		}
		return n.Blackhole(a, b, on)
	case opCapture:
		return l.startCapture(n, r)
	case opStopCapture:
		return l.stopCapture(n, r.id)
	case opMonitor:
		return l.addMonitor(n, r)
	case opAttach:
		return l.attach(n, r)
	case opAttachRouter:
		return l.attachRouter(n, r)
	case opAttachStation:
		return l.attachStation(n, r)
	default:
		p := n.members[r.member]
		if p == nil {
			return errNoMember
		}
		return l.member(n, p, r)
	}
	return r.body.err
}

func (l *loop) closeNet(id uint32, n *netState) {
	_ = l.stopCapture(n, 0)
	n.Close()
	delete(l.nets, id)
	for _, p := range n.members {
		l.closePort(p.port)
	}
	for _, p := range n.monitors {
		l.closePort(p)
	}
}

// stats collects the counts of all members into s.
func (n *netState) stats(s Stats, buf []fabric.UplinkStats) Stats {
	core := n.Stats(buf)
	s = Stats{Lateness: core.Lateness, Uplinks: s.Uplinks[:0], Routers: s.Routers[:0], Stations: s.Stations[:0]}
	for _, u := range core.Uplinks {
		s.Uplinks = append(s.Uplinks, UplinkStats{UplinkStats: u})
	}
	for _, p := range n.members {
		switch {
		case p.station != nil:
			s.Stations = append(s.Stations, StationStats{StationStats: p.station.Stats(), Router: p.router.Name(), id: p.id})
			continue
		case p.router != nil:
			s.Routers = append(s.Routers, RouterStats{RouterStats: p.router.Stats(), id: p.id})
		}
		if p.uplink != nil {
			at, _ := slices.BinarySearchFunc(s.Uplinks, p.uplink.Name(), func(u UplinkStats, name string) int { return strings.Compare(u.Name, name) })
			s.Uplinks[at].id = p.id
		}
	}
	slices.SortFunc(s.Routers, func(a, b RouterStats) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(s.Stations, func(a, b StationStats) int { return cmp.Compare(a.id, b.id) })
	return s
}

// member answers a request about one member.
func (l *loop) member(n *netState, p *part, r *request) error {
	switch r.op {
	case opDetach:
		l.detach(n, p)
		return nil
	case opDown:
		down := r.body.boolean()
		switch {
		case r.body.err != nil:
		case p.station != nil:
			p.station.SetDown(down)
		case p.router != nil:
			p.router.SetDown(down)
		default:
			p.uplink.SetDown(down)
		}
		return r.body.err
	}
	if p.uplink != nil && (r.op == opProfile || r.op == opRouted) {
		return l.uplink(p, r)
	}
	if p.router == nil || p.station != nil {
		return errMessage
	}
	return l.router(p, r)
}

func (l *loop) detach(n *netState, p *part) {
	delete(n.members, p.id)
	switch {
	case p.station != nil:
		p.station.Close()
	case p.router != nil:
		p.router.Close()
	default:
		p.uplink.Close()
	}
	l.closePort(p.port)
}

func (l *loop) uplink(p *part, r *request) error {
	if r.op == opProfile {
		profile, err := l.profile(&r.body)
		if err != nil {
			return err
		}
		return p.uplink.SetProfile(profile)
	}
	var routed []netip.Prefix
	if r.body.json(&routed); r.body.err != nil {
		return r.body.err
	}
	return p.uplink.SetRouted(routed)
}

// router answers a request about a router of engine table.
func (l *loop) router(p *part, r *request) error {
	t, out := p.router.Table(), &l.control.out
	// The table's time does not go back, so what is due comes first.
	now := l.now()
	l.fab.Deliver(now, 0)
	defer p.router.Changed(now)
	switch r.op {
	case opRouterApply:
		seed := r.body.u64()
		var b nat.Behavior
		if r.body.json(&b); r.body.err != nil {
			return r.body.err
		}
		return t.Apply(b, seed)
	case opRouterReset:
		t.Reset(r.body.u64())
		return r.body.err
	case opRouterExternal:
		var b externalBody
		if r.body.json(&b); r.body.err != nil {
			return r.body.err
		}
		if err := t.SetExternal(b.Addrs); err != nil || b.WAN == nil {
			return err
		}
		return p.router.SetWAN(b.WAN)
	case opRouterPortMaps:
		out.json(t.PortMaps(now))
	case opRouterCounts:
		for _, v := range t.Counts() {
			out.u64(v)
		}
	case opRouterLen:
		out.u64(uint64(t.Len()))
	case opRouterMap, opRouterUnmap:
		var m nat.PortMap
		if r.body.json(&m); r.body.err != nil {
			return r.body.err
		}
		if r.op == opRouterUnmap {
			return t.Unmap(now, m)
		}
		a, err := t.Map(now, m)
		out.json(a)
		return err
	default:
		return errMessage
	}
	return nil
}

func (l *loop) attach(n *netState, r *request) error {
	profile, err := l.profile(&r.body)
	var b uplinkBody
	r.body.json(&b)
	if err = errors.Join(err, r.body.err); err != nil {
		return err
	}
	p, err := newPort(r, b.Device)
	if err != nil {
		return err
	}
	profile.Name = b.Name
	u, err := n.Attach(fabric.UplinkConfig{Name: b.Name, Routed: b.Routed, Output: p, Offload: p.offload(), Profile: profile})
	if err != nil {
		return err
	}
	p.enter = u.Send
	return l.enter(n, r, &part{uplink: u, port: p})
}

func (l *loop) attachRouter(n *netState, r *request) error {
	profile, err := l.profile(&r.body)
	var b routerBody
	r.body.json(&b)
	if err = errors.Join(err, r.body.err); err != nil {
		return err
	}
	table, err := nat.NewTable(b.NAT)
	if err != nil {
		return err
	}
	profile.Name = b.Name
	c := fabric.RouterConfig{Name: b.Name, Table: table, Gateway: b.Gateway, Gateway6: b.Gateway6, LAN: b.LAN, WAN: b.WAN, Profile: profile}
	if b.Behind != 0 {
		outer := n.members[b.Behind]
		if outer == nil || outer.router == nil || outer.station != nil {
			return fmt.Errorf("the router that it is behind: %w", errNoMember)
		}
		c.Behind = outer.router
	}
	p := &part{}
	if r.fd >= 0 {
		if p.port, err = newPort(r, b.Device); err != nil {
			return err
		}
		c.Output, c.Offload = p.port, p.port.offload()
	}
	if p.router, err = n.AttachRouter(c); err != nil {
		return err
	}
	// The net's Reset gives the table a seed by its name. Until then it has its own.
	table.Reset(b.NAT.Seed)
	p.router.Changed(l.now())
	p.uplink = p.router.Uplink()
	if p.port != nil {
		p.port.enter = p.router.Receive
	}
	return l.enter(n, r, p)
}

func (l *loop) attachStation(n *netState, r *request) error {
	var b stationBody
	if r.body.json(&b); r.body.err != nil {
		return r.body.err
	}
	on := n.members[b.Router]
	if on == nil || on.router == nil || on.station != nil {
		return fmt.Errorf("its router: %w", errNoMember)
	}
	p, err := newPort(r, b.Device)
	if err != nil {
		return err
	}
	s, err := on.router.Attach(fabric.StationConfig{Name: b.Name, Addrs: b.Addrs, Routed: b.Routed, Output: p, Offload: p.offload(), Self: b.Self})
	if err != nil {
		return err
	}
	p.enter = s.Send
	return l.enter(n, r, &part{router: on.router, station: s, port: p})
}

// enter watches a new member's device and keeps the descriptor.
func (l *loop) enter(n *netState, r *request, p *part) error {
	p.id = r.member
	n.members[p.id] = p
	if p.port == nil {
		return nil
	}
	if err := l.register(p.port); err != nil {
		p.port = nil // its descriptor is still the request's
		l.detach(n, p)
		return err
	}
	r.fd = -1
	return nil
}

// register watches a port's descriptor.
func (l *loop) register(p *port) error {
	for p.index = 0; p.index < len(l.ports) && l.ports[p.index] != nil; {
		p.index++
	}
	if p.index == len(l.ports) {
		l.ports = append(l.ports, nil)
	}
	if err := l.watch(p.fd, int32(p.index)); err != nil {
		return err
	}
	l.ports[p.index] = p
	return nil
}

func (l *loop) closePort(p *port) {
	if p == nil {
		return
	}
	l.forget(p)
	unix.Close(p.fd) // not the last one of the device: the parent has it too
	l.ports[p.index] = nil
}
