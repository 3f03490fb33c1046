package rendezvous

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
)

func newKey(t testing.TB) identity.Key {
	t.Helper()
	k, err := identity.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// freePorts finds two neighbours that nobody has, by UDP or TCP, at 127.0.0.1 and 127.0.0.2: other packages' tests have many.
func freePorts(t testing.TB) uint16 {
	t.Helper()
	for range 100 {
		a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		port := a.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		a.Close()
		if free(port) && free(port+1) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func free(port uint16) bool {
	for _, addr := range loopback(2) {
		at := netip.AddrPortFrom(addr, port)
		u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return false
		}
		u.Close()
		l, err := net.Listen("tcp4", at.String())
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func loopback(n int) (addrs []netip.Addr) {
	for i := range n {
		addrs = append(addrs, netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}))
	}
	return addrs
}

// A server listens at each address, at both ports where two addresses are, and leaves nothing open.
func TestSockets(t *testing.T) {
	port := freePorts(t)
	for round := range 2 {
		h, err := Start(Options{Key: newKey(t), Addrs: loopback(2), Port: port, NeedStreams: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Addrs(); len(got) != 4 {
			t.Errorf("round %d: sockets %v", round, got)
		}
		c, err := net.Dial("tcp", netip.AddrPortFrom(loopback(1)[0], port).String())
		if err != nil {
			t.Errorf("round %d: no TCP: %v", round, err)
		} else {
			c.Close()
		}
		if round == 0 {
			h.Kill()
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		_ = h.Stats()
	}
}

// What cannot be had is named, and what was opened before is closed.
func TestSocketsInUse(t *testing.T) {
	port := freePorts(t)
	at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback(2)[1], port))
	c, err := net.ListenUDP("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = Start(Options{Key: newKey(t), Addrs: loopback(2), Port: port})
	if err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("an address in use: %v", err)
	}
	c.Close()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err = Start(Options{Key: newKey(t), Addrs: loopback(2), Port: port, NeedStreams: true}); err == nil {
		t.Error("a TCP port in use is no error though streams are needed")
	}
	var log bytes.Buffer
	h, err := Start(Options{Key: newKey(t), Addrs: loopback(2), Port: port, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	h.Kill()
	if !strings.Contains(log.String(), at.String()) {
		t.Errorf("a TCP port in use is not logged: %s", log.String())
	}
}

func TestOptions(t *testing.T) {
	k := newKey(t)
	for name, o := range map[string]Options{
		"no key":        {Addrs: loopback(1)},
		"no address":    {Key: k, Network: device.Network{ListenUDP: device.Host().ListenUDP}},
		"one port":      {Key: k, Addrs: loopback(1), Port: 5, Second: 5},
		"no next port":  {Key: k, Addrs: loopback(1), Port: 65535},
		"a core's knob": {Key: k, Addrs: loopback(1), Limits: limits(-time.Second)},
	} {
		if h, err := Start(o); err == nil {
			h.Kill()
			t.Errorf("%s: started", name)
		}
	}
}

// Run serves until its context ends.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := false
	err := Run(ctx, Options{Key: newKey(t), Addrs: loopback(1), Port: freePorts(t), Drain: 100 * time.Millisecond, Ready: func(h *Handle) {
		ready = len(h.Addrs()) == 1
		cancel()
	}})
	if err != nil || !ready {
		t.Errorf("ready %v, %v", ready, err)
	}
}
