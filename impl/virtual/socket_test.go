package virtual_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/virtual"
)

// talker says what it is told to, answers what begins with '?', and notes what it hears.
type talker struct {
	box    core.Outbox
	heard  []heard
	opened []netip.AddrPort
	err    error
}

type heard struct {
	from, to netip.AddrPort
	text     string
	at       time.Duration
}

func (c *talker) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	c.box.Begin()
	c.heard = append(c.heard, heard{from, to, string(b), now.Sub(virtual.Start)})
	if b[0] == '?' {
		c.box.Send(to, from, core.Punch, []byte("!"+string(b[1:])))
	}
}

func (c *talker) HandleOpened(_ time.Time, socks []netip.AddrPort, err error) {
	c.box.Begin()
	c.opened, c.err = append(c.opened, socks...), err
	for _, s := range socks {
		c.box.Send(s, serverAddr, core.Punch, []byte("?"+s.String()))
	}
}

func (c *talker) HandleTimeout(time.Time) {}
func (c *talker) Deadline() time.Time     { return time.Time{} }
func (c *talker) Ready() core.Output      { return c.box.Ready() }

func (c *talker) texts() (all []string) {
	for _, h := range c.heard {
		all = append(all, h.text)
	}
	return all
}

// pair is a server without NAT and a client behind one, 15 ms from each other.
type pair struct {
	net                    *virtual.Net
	server, client         talker
	serverHost, clientHost *virtual.Host
	clientSite             *virtual.Site
}

var insideAddr = netip.MustParseAddrPort("10.0.0.2:5000")

func newPair(c virtual.NATConfig, loss float64) *pair {
	p := &pair{net: virtual.New(1)}
	p.serverHost = p.net.Site(virtual.SiteConfig{Addr: serverAddr.Addr(), Delay: 5 * time.Millisecond}).Host("server", &p.server, serverAddr)
	p.clientSite = p.net.Site(virtual.SiteConfig{Addr: cameraWAN, NAT: &c, Delay: 10 * time.Millisecond, Loss: loss})
	p.clientHost = p.clientSite.Host("client", &p.client, insideAddr)
	return p
}

func (p *pair) say(h *virtual.Host, c *talker, f func(o *core.Outbox)) {
	h.Do(func(time.Time) {
		c.box.Begin()
		f(&c.box)
	})
}

var portRestricted = virtual.NATConfig{Mapping: virtual.EndpointIndependent, Filtering: virtual.AddressAndPortDependent}

func TestSocketsOpenedForACore(t *testing.T) {
	p := newPair(portRestricted, 0)
	p.say(p.clientHost, &p.client, func(o *core.Outbox) { o.Open(3) })
	p.net.Run(time.Second, nil)
	var from []netip.AddrPort
	for i, h := range p.client.heard {
		if h.to != p.client.opened[i] || h.text != "!"+h.to.String() {
			t.Errorf("%v heard %q", h.to, h.text)
		}
		from = append(from, p.server.heard[i].from)
	}
	if len(from) != 3 || from[0] == from[1] || from[1] == from[2] {
		t.Fatalf("the sockets' mappings are %v", from)
	}
	gone := p.client.opened[0]
	p.say(p.clientHost, &p.client, func(o *core.Outbox) { o.Close(gone, insideAddr) })
	p.say(p.clientHost, &p.client, func(o *core.Outbox) {
		o.Send(gone, serverAddr, core.Punch, []byte("?gone"))
		o.Send(netip.AddrPort{}, serverAddr, core.Punch, []byte("?main"))
	})
	p.say(p.serverHost, &p.server, func(o *core.Outbox) { o.Send(serverAddr, from[0], core.Punch, []byte("late")) })
	p.net.Run(time.Second, nil)
	if last := p.client.texts()[3:]; !slices.Equal(last, []string{"!main"}) {
		t.Errorf("after closing one socket the client heard %q", last)
	}
	if main := p.client.heard[3]; main.to != insideAddr || slices.Contains(p.server.texts(), "?gone") {
		t.Errorf("after closing one socket the client heard at %v, the server %q", main.to, p.server.texts())
	}
	p.clientHost.Refuse = errors.New("no sockets here")
	p.say(p.clientHost, &p.client, func(o *core.Outbox) { o.Open(1) })
	if p.client.err != p.clientHost.Refuse || len(p.client.opened) != 3 {
		t.Errorf("refused with %v", p.client.err)
	}
}

// A packet that dies beyond its own NAT opens that NAT for the answer, and is not seen at the other end.
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		ttl       uint8
		out, ends bool // it passes the client's NAT, it arrives
	}{{1, false, false}, {2, true, false}, {3, true, false}, {4, true, true}, {0, true, true}} {
		p := newPair(portRestricted, 0)
		p.say(p.clientHost, &p.client, func(o *core.Outbox) { o.SendTTL(netip.AddrPort{}, serverAddr, c.ttl, core.Punch, []byte("x")) })
		p.net.Run(time.Second, nil)
		p.say(p.serverHost, &p.server, func(o *core.Outbox) {
			o.Send(serverAddr, netip.AddrPortFrom(cameraWAN, 20000), core.Punch, []byte("in"))
		})
		p.net.Run(time.Second, nil)
		if got := len(p.server.heard) == 1; got != c.ends {
			t.Errorf("TTL %d: arrives %v", c.ttl, got)
		}
		if got := len(p.client.heard) == 1; got != c.out {
			t.Errorf("TTL %d: opens the NAT %v", c.ttl, got)
		}
	}
}

func stamps(t *talker) (s string) {
	for _, h := range t.heard {
		s += fmt.Sprintf("%v %s; ", h.at, h.text)
	}
	return s
}

// A stream costs a round trip to be made, with TLS two, and one more to be answered; then it is as fast as datagrams.
func TestStreams(t *testing.T) {
	const rtt = 30 * time.Millisecond
	for _, proto := range []core.Proto{core.TCP, core.TLS} {
		p := newPair(portRestricted, 0)
		to := core.Over(proto, serverAddr)
		p.serverHost.Accept = []netip.AddrPort{to}
		ask := func(text string) {
			p.say(p.clientHost, &p.client, func(o *core.Outbox) { o.Send(netip.AddrPort{}, to, core.Punch, []byte(text)) })
		}
		ask("?a")
		ask("?b")
		p.net.Run(time.Second, nil)
		ask("?c")
		p.net.Run(time.Second, nil)
		made := time.Duration(proto) * rtt // TCP is 1, TLS 2
		if want := fmt.Sprintf("%v !a; %v !b; %v !c; ", made+rtt, made+rtt, time.Second+rtt); stamps(&p.client) != want {
			t.Errorf("%v: answers at %s, want %s", proto, stamps(&p.client), want)
		}
		h := p.server.heard[0]
		if got, at := core.ProtoOf(h.from); got != proto || at.Addr() != cameraWAN || h.to != to {
			t.Errorf("%v: heard from %v at %v", proto, h.from, h.to)
		}
		if h := p.client.heard[0]; h.from != to || h.to != core.Over(proto, insideAddr) {
			t.Errorf("%v: answered from %v to %v", proto, h.from, h.to)
		}

		// After the NAT forgot, the server knows nothing of the stream; the packet that finds out is lost, the next dials.
		p.clientSite.Rebind()
		ask("?lost")
		p.net.Run(time.Second, nil)
		ask("?d")
		p.net.Run(time.Second, nil)
		if all := p.client.texts(); !slices.Equal(all, []string{"!a", "!b", "!c", "!d"}) {
			t.Errorf("%v: after the NAT forgot: %q", proto, all)
		}

		// Ended, and begun anew.
		p.say(p.clientHost, &p.client, func(o *core.Outbox) {
			o.Send(netip.AddrPort{}, to, core.Punch, []byte("bye"))
			o.Close(to)
		})
		p.net.Run(time.Second, nil)
		p.say(p.serverHost, &p.server, func(o *core.Outbox) {
			o.Send(serverAddr, p.server.heard[len(p.server.heard)-1].from, core.Punch, []byte("too late"))
		})
		p.net.Run(20*time.Second, nil)
		if p.serverHost.StreamDrops != 1 || p.server.texts()[len(p.server.heard)-1] != "bye" {
			t.Errorf("%v: after the end: %d drops, heard %q", proto, p.serverHost.StreamDrops, p.server.texts())
		}
		ask("?e")
		p.net.Run(time.Second, nil)
		if all := p.client.texts(); all[len(all)-1] != "!e" {
			t.Errorf("%v: no stream after the end: %q", proto, all)
		}
	}
}

// What is lost on the way comes later, in order; what nobody accepts is dropped.
func TestStreamsLoseNothing(t *testing.T) {
	p := newPair(portRestricted, 0.2)
	to := core.Over(core.TCP, serverAddr)
	p.serverHost.Accept = []netip.AddrPort{to}
	var want []string
	for i := range 60 {
		p.say(p.clientHost, &p.client, func(o *core.Outbox) { o.Send(netip.AddrPort{}, to, core.Punch, fmt.Append(nil, "n", i)) })
		want = append(want, fmt.Sprint("n", i))
		p.net.Run(50*time.Millisecond, nil)
	}
	p.net.Run(10*time.Second, nil)
	if !slices.Equal(p.server.texts(), want) {
		t.Errorf("heard %q", p.server.texts())
	}
	p.say(p.clientHost, &p.client, func(o *core.Outbox) {
		o.Send(netip.AddrPort{}, core.Over(core.TLS, serverAddr), core.Punch, []byte("nobody there"))
	})
	p.net.Run(5*time.Second, nil)
	if p.clientHost.StreamDrops != 1 {
		t.Errorf("%d drops", p.clientHost.StreamDrops)
	}
}

// Two sides behind NATs that filter by address and port dial each other: the one's SYN is dropped, the other's finds the way.
func TestSimultaneousOpen(t *testing.T) {
	n := virtual.New(1)
	var a, b talker
	site := func(wan netip.Addr) *virtual.Site {
		return n.Site(virtual.SiteConfig{Addr: wan, NAT: &portRestricted, Delay: 10 * time.Millisecond})
	}
	ah := site(cameraWAN).Host("a", &a, insideAddr)
	bh := site(viewerWAN).Host("b", &b, insideAddr)
	ah.Accept = []netip.AddrPort{core.Over(core.TCP, insideAddr)}
	say := func(h *virtual.Host, c *talker, to netip.Addr, text string) {
		h.Do(func(time.Time) {
			c.box.Begin()
			c.box.Send(netip.AddrPort{}, core.Over(core.TCP, netip.AddrPortFrom(to, 20000)), core.Punch, []byte(text))
		})
	}
	say(ah, &a, viewerWAN, "from a")
	n.Run(50*time.Millisecond, nil)
	say(bh, &b, cameraWAN, "from b")
	n.Run(100*time.Millisecond, nil)
	if stamps(&a) != "110ms from b; " || stamps(&b) != "90ms from a; " {
		t.Errorf("a heard %s, b heard %s", stamps(&a), stamps(&b))
	}
}
