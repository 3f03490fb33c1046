package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/portmap"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/lab"
)

// mapTimeout is how long a device waits for its router to map a port. Who is on the same LAN answers within milliseconds.
const mapTimeout = 400 * time.Millisecond

// device is what a camera or a viewer has of its host: sockets, the node that drives its core, a port mapping.
//
//	host ── UDP socket, more of them on demand ──┐
//	     ── TCP, also accepted ──────────────────┼── node ── core
//	     ── an allocation at a TURN server ──────┘
//	router ── PCP, NAT-PMP, UPnP ── mapping ─────────► core.HandleMapped
type device struct {
	machine *lab.Machine
	policy  punch.Policy
	conn    *net.UDPConn
	port    uint16 // of conn
	opt     node.Options
	relayed []netip.AddrPort // allocations
	turn    *allocation

	node    *node.Node
	forget  func()
	mapping *portmap.Mapping
	wg      sync.WaitGroup
}

// openDevice opens the sockets that a policy needs.
func openDevice(m *lab.Machine, p punch.Policy, port uint16) (*device, error) {
	d := &device{machine: m, policy: p}
	// Not bound to an address: a host that moves has another one.
	conn, err := m.ListenUDP(netip.AddrPortFrom(netip.Addr{}, port))
	if err != nil {
		return nil, err
	}
	d.conn, d.port = conn, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	d.opt = node.Options{Listen: func() (*net.UDPConn, error) { return m.ListenUDP(netip.AddrPort{}) }, Dial: m.DialTCP}
	if p.Uplink == punch.UplinkTCP || p.Methods&punch.MethodTCP != 0 {
		l, err := m.ListenTCP(netip.AddrPort{})
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.opt.Accept = []node.Listener{{Listener: l, Proto: core.TCP}}
	}
	return d, nil
}

// host lists the device's own addresses as candidates, 8 at most.
func (d *device) host() (at []netip.AddrPort) {
	for _, a := range d.machine.Addrs {
		if len(at) < 8 {
			at = append(at, netip.AddrPortFrom(a, d.port))
		}
	}
	return at
}

// drive starts the node, which takes the sockets over.
func (d *device) drive(c core.Core, observe func(any)) error {
	d.opt.Observe = observe
	conn := d.conn
	d.conn = nil
	n, err := node.New(c, []*net.UDPConn{conn}, d.opt)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	d.node, d.opt.Accept = n, nil
	d.forget = d.machine.Run(sleeper{n})
	return nil
}

// sleeper lets an event suspend the device's program. Nobody starts it again, so it cannot be killed (see Bundled.Programs).
type sleeper struct{ node *node.Node }

func (s sleeper) Kill()        {}
func (s sleeper) Start() error { return nil }
func (s sleeper) Sleep()       { s.node.Suspend() }
func (s sleeper) Wake()        { s.node.Resume() }

// mapPort asks the router for a port mapping and tells the core of it, now and whenever it changes. seen is where the
// rendezvous sees the device. A router that maps none is no error.
func (d *device) mapPort(ctx context.Context, seen netip.Addr, mapped func(now time.Time, external netip.AddrPort)) error {
	gateway := d.machine.Gateway()
	if !gateway.Is4() || !d.machine.Addr().Is4() {
		return nil
	}
	m, err := portmap.Map(ctx, portmap.Config{
		Gateway: gateway, Internal: netip.AddrPortFrom(d.machine.Addr(), d.port), Seen: seen, Timeout: mapTimeout,
		ListenPacket: d.machine.ListenPacket, DialContext: d.machine.DialContext,
	})
	if err != nil {
		return nil //nolint:nilerr // most routers map nothing; what they say is the trial's result, not its fault
	}
	d.mapping = m
	tell := func() { d.node.Do(func(now time.Time) { mapped(now, m.External()) }) }
	tell()
	d.wg.Go(func() {
		for range m.Changed() {
			tell()
		}
	})
	return nil
}

// close ends everything that the device has.
func (d *device) close() error {
	var errs []error
	if d.forget != nil {
		d.forget()
	}
	if d.mapping != nil {
		errs = append(errs, d.mapping.Close())
		d.wg.Wait()
	}
	if d.node != nil {
		errs = append(errs, d.node.Close())
	}
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
	}
	for _, l := range d.opt.Accept {
		errs = append(errs, l.Close())
	}
	if d.turn != nil {
		errs = append(errs, d.turn.close())
	}
	return errors.Join(errs...)
}

// serverAddrs is where a device finds a rendezvous at an address, in the order in which it should try.
func serverAddrs(a netip.Addr, u punch.Uplink) []netip.AddrPort {
	udp := netip.AddrPortFrom(a, bundledPort)
	tcp, tls := core.Over(core.TCP, udp), core.Over(core.TLS, netip.AddrPortFrom(a, tlsPort))
	switch u {
	case punch.UplinkUDP:
		return []netip.AddrPort{udp}
	case punch.UplinkTCP:
		return []netip.AddrPort{tcp}
	case punch.UplinkTLS:
		return []netip.AddrPort{tls}
	case punch.UplinkAny:
		return []netip.AddrPort{udp, tls}
	}
	panic(fmt.Sprintf("stack: uplink %d is not known", u))
}

// classifies reports whether a policy decides by what both sides know of their NATs.
func classifies(p punch.Policy) bool {
	return p.Methods&(punch.MethodSilence|punch.MethodPrediction|punch.MethodBirthday) != 0
}
