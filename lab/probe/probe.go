// Package probe classifies a NAT over real sockets, as RFC 5780 does: a server with two addresses and two ports, and a
// client that asks it from several fresh sockets at once.
//
//	            server  s00  s01        first index: address, second: port
//	                    s10  s11
//	map socket   ──► s00, then s10, s11       the same reflexive endpoint three times: EIM; twice: ADM; else APDM
//	any socket   ──► s00 "answer from s11"    arrives: EIF
//	port socket  ──► s00 "answer from s01"    arrives: ADF; neither: APDF
//	x, y sockets ──► s00, then each other's reflexive endpoint: hairpin
//
// Each test has a socket of its own, because what one socket has sent opens filters and makes mappings for all that it
// sends later. Two round trips suffice. A filtered answer can only be seen as an absent one, so each such request is
// followed by a plain one on the same socket, and counts as filtered when that one's answer is there and its own is
// not, several times over.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// ErrInconclusive means that the server answers, but not as a classification needs it.
var ErrInconclusive = errors.New("inconclusive")

// Result is what a classification saw.
type Result struct {
	Mapping       nat.Dependency
	Filtering     nat.Dependency // EndpointIndependent too where nothing filters
	Translated    bool
	PortPreserved bool           // the external port is the internal one, for most of the sockets
	Hairpin       bool           // two sockets of the host reach each other through their reflexive endpoints
	Reflexive     netip.AddrPort // of the first socket
	NoUDP         bool           // the server never answered; the other fields are then zero
}

// String is one line, such as "EIM/APDF, translated, preserves ports, no hairpin".
func (r Result) String() string {
	if r.NoUDP {
		return "no UDP"
	}
	s := r.Mapping.Mapping() + "/" + r.Filtering.Filtering()
	for _, p := range []struct {
		is      bool
		yes, no string
	}{
		{r.Translated, "translated", "not translated"},
		{r.PortPreserved, "preserves ports", "changes ports"},
		{r.Hairpin, "hairpin", "no hairpin"},
	} {
		if p.is {
			s += ", " + p.yes
		} else {
			s += ", " + p.no
		}
	}
	return s
}

// Check compares the result with what the routers on the path promise, innermost first, and says what differs.
func (r Result) Check(path []nat.Behavior) error {
	want := nat.Promise(path)
	got := nat.Class{
		Mapping: r.Mapping, Filtering: r.Filtering, Translated: r.Translated, PortPreserved: r.PortPreserved,
		Hairpin: r.Hairpin, NoUDP: r.NoUDP,
	}
	if got == want {
		return nil
	}
	expected := Result{
		Mapping: want.Mapping, Filtering: want.Filtering, Translated: want.Translated, PortPreserved: want.PortPreserved,
		Hairpin: want.Hairpin, NoUDP: want.NoUDP,
	}
	return fmt.Errorf("classify NAT: got %v; the path %v promises %v", r, path, expected)
}

// Options tune a classification. Zero values are the defaults.
type Options struct {
	RTO   time.Duration // between transmissions of a request; default 100 ms
	Tries int           // transmissions before the server counts as unreachable; default 8
}

func (o Options) withDefaults() Options {
	if o.RTO <= 0 {
		o.RTO = 100 * time.Millisecond
	}
	if o.Tries <= 0 {
		o.Tries = 8
	}
	return o
}

// Classify asks the server about the NATs between here and there. listen opens a fresh UDP socket on any port each
// time; a socket on the unspecified address is taken to be in the caller's network namespace.
func Classify(ctx context.Context, listen func() (net.PacketConn, error), server netip.AddrPort, o Options) (Result, error) {
	d := &driver{inbox: make(chan packet)}
	defer d.close()
	var local [sockets]netip.AddrPort
	for i := range local {
		c, err := listen()
		if err != nil {
			return Result{}, fmt.Errorf("classify NAT: open socket: %w", err)
		}
		d.conns = append(d.conns, c)
		if local[i], err = endpointOf(c.LocalAddr()); err != nil {
			return Result{}, fmt.Errorf("classify NAT: %w", err)
		}
	}
	c := newClient(time.Now(), local, server, o, newIDs())
	if err := d.run(ctx, c); err != nil {
		return Result{}, fmt.Errorf("classify NAT: %w", err)
	}
	r, err := c.result()
	if err != nil {
		return r, fmt.Errorf("classify NAT: %w", err)
	}
	if local[0].Addr().IsUnspecified() && !r.NoUDP {
		r.Translated = !ownAddress(r.Reflexive.Addr()) || r.Reflexive.Port() != local[0].Port()
	}
	return r, nil
}

// packet is a datagram that a socket received.
type packet struct {
	socket int
	from   netip.AddrPort
	b      []byte
}

// driver connects the client to its sockets. It owns a reading goroutine for each and waits for them in close.
type driver struct {
	conns   []net.PacketConn
	readers sync.WaitGroup
	inbox   chan packet
}

func (d *driver) run(ctx context.Context, c *client) error {
	stop := make(chan struct{})
	defer close(stop)
	for i := range d.conns {
		d.readers.Go(func() { d.read(i, stop) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.HandleTimeout(time.Now())
		for _, out := range c.Ready() {
			// A packet that can't be sent is a lost one: it is sent again.
			_, _ = d.conns[out.socket].WriteTo(out.b, net.UDPAddrFromAddrPort(out.to))
		}
		if c.Done() {
			return nil
		}
		timer.Reset(time.Until(c.Deadline()))
		select {
		case p := <-d.inbox:
			c.HandlePacket(time.Now(), p.socket, p.from, p.b)
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *driver) read(i int, stop <-chan struct{}) {
	buf := make([]byte, 1500)
	for {
		n, addr, err := d.conns[i].ReadFrom(buf)
		if err != nil {
			return
		}
		from, err := endpointOf(addr)
		if err != nil {
			continue
		}
		select {
		case d.inbox <- packet{i, from, append([]byte(nil), buf[:n]...)}:
		case <-stop:
			return
		}
	}
}

func (d *driver) close() {
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.readers.Wait()
}

func endpointOf(a net.Addr) (netip.AddrPort, error) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("socket address %v (%T) is not UDP", a, a)
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func ownAddress(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, own := range addrs {
		if p, err := netip.ParsePrefix(own.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}
