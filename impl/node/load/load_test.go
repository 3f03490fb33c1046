package load

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/node"
)

// leaky relays by the first byte, and drops every tenth packet.
type leaky struct {
	box core.Outbox
	to  []netip.AddrPort
	n   int
}

func (l *leaky) HandlePacket(_ time.Time, _, _ netip.AddrPort, b []byte) {
	l.box.Begin()
	if l.n++; l.n%10 != 0 {
		l.box.Send(netip.AddrPort{}, l.to[b[0]], core.Forward, b)
	}
}

func (l *leaky) HandleTimeout(time.Time) {}
func (l *leaky) Deadline() time.Time     { return time.Time{} }
func (l *leaky) Ready() core.Output      { return l.box.Ready() }

func socket(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestWhatIsLostIsCounted(t *testing.T) {
	from, _ := socket(t)
	a, aAddr := socket(t)
	b, bAddr := socket(t)
	conn, at := socket(t)
	relay, err := node.New(&leaky{to: []netip.AddrPort{aAddr, bAddr}}, []*net.UDPConn{conn}, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	l, err := New(Config{From: from, To: []*net.UDPConn{a, b}, Relay: at, Frames: [][]byte{{0, 1, 2}, {1, 1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 {
		r, err := l.Run(t.Context(), 1000)
		if err != nil || r.Packets != 900 || r.Lost != 100 || r.CPU <= 0 || r.Elapsed < stalled || r.PerCore() <= 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Run(ended, 1<<40); err != context.Canceled {
		t.Errorf("after the end: %v", err)
	}
}

func TestBadLoads(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a load without receivers")
	}
	if _, err := cpuTime(1<<22 + 1); err == nil {
		t.Error("the time of no process")
	}
}
