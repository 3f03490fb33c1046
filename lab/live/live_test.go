package live_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

func TestMain(m *testing.M) {
	live.Main()
	if os.Getenv(victimEnv) != "" {
		victim()
	}
	netnstest.Main(m)
}

// both runs the test with TUN devices, where they can be made, and with veth pairs.
func both(t *testing.T, test func(t *testing.T, f *live.Fabric)) {
	netnstest.Require(t, "netns")
	for _, veth := range []bool{false, true} {
		name := map[bool]string{false: "tun", true: "veth"}[veth]
		t.Run(name, func(t *testing.T) {
			f := start(t, live.Options{NoTUN: veth})
			if f.TUN() == veth {
				t.Skip("/dev/net/tun cannot be opened here")
			}
			test(t, f)
		})
	}
}

func start(t testing.TB, o live.Options) *live.Fabric {
	t.Helper()
	f, err := live.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close fabric: %v", err)
		}
	})
	return f
}

func newNet(t testing.TB, f *live.Fabric) *live.Net {
	t.Helper()
	n, err := f.NewNet(1)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// site is a namespace with a link to a net and a UDP socket on its address, IPv4 or IPv6.
type site struct {
	ns   *netns.NS
	up   *live.Uplink
	conn *net.UDPConn
	addr netip.AddrPort
}

func newSite(t testing.TB, n *live.Net, name string, addr netip.Addr, p link.Profile) *site {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	s := &site{ns: ns}
	prefix := netip.PrefixFrom(addr, addr.BitLen())
	s.up, err = n.Attach(live.UplinkConfig{Name: name, NS: ns, Addrs: []netip.Prefix{prefix}, Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() (err error) {
		s.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 7000)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	s.addr = netip.AddrPortFrom(addr, 7000)
	return s
}

func (s *site) send(t testing.TB, to *site, text string) {
	t.Helper()
	if _, err := s.conn.WriteToUDPAddrPort([]byte(text), to.addr); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what must happen; only a broken lab needs it.
const patience = 20 * time.Second

// receive waits for a packet.
func (s *site) receive(t testing.TB) string {
	t.Helper()
	text, err := s.receiveWithin(patience)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *site) receiveWithin(d time.Duration) (string, error) {
	var b [2048]byte
	if err := s.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return "", err
	}
	n, _, err := s.conn.ReadFromUDPAddrPort(b[:])
	return string(b[:n]), err
}

func delay(d time.Duration) link.Profile {
	return link.Profile{Up: link.Impairment{Delay: d}, Down: link.Impairment{Delay: d}}
}

var (
	addrA, addrB   = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	addrA6, addrB6 = netip.MustParseAddr("2001:db8:a::1"), netip.MustParseAddr("2001:db8:b::2")
)

func TestRoundTrip(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		for _, addrs := range [][2]netip.Addr{{addrA, addrB}, {addrA6, addrB6}} {
			t.Run(addrs[0].String(), func(t *testing.T) {
				n := newNet(t, f)
				defer n.Close()
				a := newSite(t, n, "a", addrs[0], delay(5*time.Millisecond))
				b := newSite(t, n, "b", addrs[1], delay(10*time.Millisecond))
				// Two links there and two back, and a little: a busy machine needs more rounds until it keeps neither end waiting.
				const least, most = 30 * time.Millisecond, 45 * time.Millisecond
				rounds, shortest := uint64(0), time.Hour
				for end := time.Now().Add(patience); rounds < 20 || shortest > most && time.Now().Before(end); rounds++ {
					i := rounds
					began := time.Now()
					a.send(t, b, fmt.Sprint("ping ", i))
					if got := b.receive(t); got != fmt.Sprint("ping ", i) {
						t.Fatalf("b received %q", got)
					}
					b.send(t, a, fmt.Sprint("pong ", i))
					if got := a.receive(t); got != fmt.Sprint("pong ", i) {
						t.Fatalf("a received %q", got)
					}
					shortest = min(shortest, time.Since(began))
				}
				if shortest < least || shortest > most {
					t.Errorf("shortest round trip took %v, want 30ms and a little", shortest)
				}
				s, err := n.Stats()
				if err != nil {
					t.Fatal(err)
				}
				if u := s.Uplinks[0]; u.Name != "a" || u.Up.Packets != rounds || u.Down.Packets != rounds || u.Drops.Total() != 0 {
					t.Errorf("a's counts: %+v, want %d packets up and down and no drops", u, rounds)
				}
				if s.Lateness.N != 2*rounds || s.Lateness.Max <= 0 || s.Lateness.P50 > s.Lateness.P99 {
					t.Errorf("lateness: %+v, want that of %d packets", s.Lateness, 2*rounds)
				}
				t.Logf("round trip %v, lateness %+v", shortest, s.Lateness)
			})
		}
	})
}
