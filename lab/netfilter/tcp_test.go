package netfilter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// reusable lets sockets share a local TCP port, as hole punching needs.
func reusable(_, _ string, c syscall.RawConn) error {
	var err error
	ctl := c.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return errors.Join(ctl, err)
}

func dial(ns *netns.NS, from netip.AddrPort, to netip.AddrPort, wait time.Duration) (c net.Conn, err error) {
	err = ns.Do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: wait, Control: reusable}
		c, err = d.Dial("tcp4", to.String())
		return err
	})
	return c, err
}

// dialTCP connects and closes again. A wait of 0 sends one SYN and does not stay for the answer.
func dialTCP(ns *netns.NS, from string, to netip.AddrPort, wait time.Duration) error {
	c, err := dial(ns, netip.AddrPortFrom(netip.MustParseAddr(from), 0), to, max(wait, time.Millisecond))
	if err == nil {
		c.Close()
	}
	return err
}

// echo tells whoever connects what endpoint it has.
func echo(t *testing.T, ns *netns.NS, addr string) {
	t.Helper()
	var l net.Listener
	must(t, ns.Do(func() (err error) {
		l, err = (&net.ListenConfig{Control: reusable}).Listen(context.Background(), "tcp4", addr)
		return err
	}))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().String())
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
}

// tcpSeen connects out and returns the endpoint that the server sees.
func tcpSeen(ns *netns.NS, from, to netip.AddrPort) (netip.AddrPort, error) {
	c, err := dial(ns, from, to, comes)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		return netip.AddrPort{}, err
	}
	_ = c.(*net.TCPConn).SetLinger(0) // the port is free at once
	return netip.ParseAddrPort(string(b))
}

func TestTCPMapping(t *testing.T) {
	b := newBench(t, 2)
	servers := []netip.AddrPort{at("198.51.100.1", 80), at("198.51.100.2", 80), at("198.51.100.2", 81)}
	for _, a := range servers {
		echo(t, b.core, a.String())
	}
	for i, m := range dependencies {
		b.install(pair(m, nat.AddressAndPortDependent))
		var seen [3]netip.AddrPort
		for j, to := range servers {
			var err error
			seen[j], err = tcpSeen(b.hosts[0], at("10.0.0.2", uint16(9000+i)), to)
			must(t, err)
		}
		got := nat.AddressAndPortDependent
		switch {
		case seen[0] == seen[1] && seen[1] == seen[2]:
			got = nat.EndpointIndependent
		case seen[1] == seen[2]:
			got = nat.AddressDependent
		}
		if got != m {
			t.Errorf("TCP mapping is %v, want %v (%v)", got, m, seen)
		}
	}
}

// TestTCPFiltering has a host map a port by connecting out, listen on it, and be called.
func TestTCPFiltering(t *testing.T) {
	b := newBench(t, 2)
	echo(t, b.core, "198.51.100.1:80")
	for i, m := range dependencies {
		for j, f := range dependencies {
			for k, hairpin := range []nat.Hairpinning{nat.HairpinNone, nat.HairpinExternalSource} {
				behavior := pair(m, f)
				behavior.Hairpinning, behavior.Unsolicited = hairpin, nat.RST
				b.install(behavior)
				local := at("10.0.0.2", uint16(9500+100*i+10*j+k))
				echo(t, b.hosts[0], local.String())
				ext, err := tcpSeen(b.hosts[0], local, at("198.51.100.1", 80))
				must(t, err)
				for _, caller := range []struct {
					ns   *netns.NS
					addr string
					want bool
				}{
					{b.core, "198.51.100.2", f == nat.EndpointIndependent},
					{b.core, "198.51.100.1", f != nat.AddressAndPortDependent},
					{b.hosts[1], "10.0.1.2", f == nat.EndpointIndependent && hairpin == nat.HairpinExternalSource},
				} {
					wait := 60 * time.Millisecond // a hairpin that is off drops
					if caller.want {
						wait = comes
					}
					if err := dialTCP(caller.ns, caller.addr, ext, wait); (err == nil) != caller.want {
						t.Errorf("%v, hairpin %v, call from %s: %v, want success %v", behavior, hairpin, caller.addr, err, caller.want)
					}
				}
			}
		}
	}
}

// TestTCPSimultaneousOpen has two hosts behind port-restricted NATs dial each other.
func TestTCPSimultaneousOpen(t *testing.T) {
	core := newCore(t)
	home, away := newSite(t, core, wanA, "10.0", 1), newSite(t, core, wanB, "10.9", 1)
	echo(t, core, "198.51.100.1:80")
	behavior := preset(t, "port-restricted-cone")
	home.install(behavior)
	away.install(behavior)
	a, b := at("10.0.0.2", 9100), at("10.9.0.2", 9100)
	atA, err := tcpSeen(home.hosts[0], a, at("198.51.100.1", 80))
	must(t, err)
	atB, err := tcpSeen(away.hosts[0], b, at("198.51.100.1", 80))
	must(t, err)
	punch := func(ns *netns.NS, from, to netip.AddrPort) (err error) {
		c, err := dial(ns, from, to, comes)
		if err != nil {
			return fmt.Errorf("dial %v: %w", to, err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "hello"); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 5))
		return err
	}
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = punch(home.hosts[0], a, atB) })
	wg.Go(func() { errs[1] = punch(away.hosts[0], b, atA) })
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestTCPPortsAndBlockedUDP(t *testing.T) {
	b := newBench(t, 1)
	for _, p := range []uint16{80, 443} {
		echo(t, b.core, at("198.51.100.1", p).String())
	}
	srv := b.server[0][0]
	for name, want := range map[string]map[uint16]bool{
		"udp-blocked": {80: true, 443: true},
		"tcp443-only": {80: false, 443: true},
	} {
		b.install(preset(t, name))
		for p, ok := range want {
			wait := 150 * time.Millisecond
			if ok {
				wait = comes
			}
			if err := dialTCP(b.hosts[0], "10.0.0.2", at("198.51.100.1", p), wait); (err == nil) != ok {
				t.Errorf("%s: TCP to port %d: %v, want success %v", name, p, err, ok)
			}
		}
		b.host(0, 0).misses(srv.addr, srv)
	}
}
