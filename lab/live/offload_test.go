package live_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// listenTCP returns what the first connection to the address sends until its end.
func listenTCP(t *testing.T, ns *netns.NS, at netip.AddrPort) <-chan []byte {
	t.Helper()
	var l net.Listener
	if err := ns.Do(func() (err error) { l, err = net.Listen("tcp", at.String()); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	received := make(chan []byte, 1)
	go func() {
		var all []byte
		if c, err := l.Accept(); err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			all, _ = io.ReadAll(c)
			c.Close()
		}
		received <- all
	}()
	return received
}

// sendTCP sends b in one large write, which the kernel leaves to the device to split where it may.
func sendTCP(t *testing.T, ns *netns.NS, to netip.AddrPort, b []byte) {
	t.Helper()
	var c net.Conn
	if err := ns.Do(func() (err error) { c, err = net.DialTimeout("tcp", to.String(), patience); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// TestBulkTCP sends much over every kind of way: what passes whole and what must be split is the same to both ends.
func TestBulkTCP(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		for name, p := range map[string]link.Profile{
			"perfect": {},
			"delay":   delay(time.Millisecond),
			"rate":    {Up: link.Impairment{Rate: 100_000_000}},
			"loss":    {Up: link.Impairment{Loss: 0.01, Corrupt: 0.01}},
			"mtu":     {Up: link.Impairment{MTU: 1300}},
		} {
			t.Run(name, func(t *testing.T) {
				n := newNet(t, f)
				defer n.Close()
				a, b := newSite(t, n, "a", addrA, p), newSite(t, n, "b", addrB, link.Profile{})
				passBulk(t, a, b)
			})
		}
		t.Run("IPv6", func(t *testing.T) {
			n := newNet(t, f)
			defer n.Close()
			a, b := newSite(t, n, "a", addrA6, link.Profile{}), newSite(t, n, "b", addrB6, link.Profile{})
			passBulk(t, a, b)
		})
		t.Run("router", func(t *testing.T) {
			n := newNet(t, f)
			defer n.Close()
			server := newSite(t, n, "server", serverAddr, link.Profile{})
			r := newRouter(t, n, home(t, "port-restricted-cone", wanA, lanA))
			a, _ := newStation(t, r, hostA, live.StationConfig{})
			a2, _ := newStation(t, r, hostA2, live.StationConfig{})
			for _, to := range []*site{server, a2} {
				passBulk(t, a, to)
			}
		})
		t.Run("captured", func(t *testing.T) {
			n := newNet(t, f)
			defer n.Close()
			a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
			path := capture(t, n, live.CaptureOptions{Snap: 60})
			passBulk(t, a, b)
			if _, err := n.StopCapture(); err != nil {
				t.Fatal(err)
			}
			for _, s := range read(t, path) {
				if s.orig > link.DefaultMTU {
					t.Fatalf("a packet of %d bytes in the capture, which no wire carries", s.orig)
				}
			}
		})
	})
}

// passBulk sends half a megabyte.
func passBulk(t *testing.T, from, to *site) {
	t.Helper()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	received := listenTCP(t, to.ns, to.addr)
	sendTCP(t, from.ns, to.addr, sent)
	if got := <-received; !bytes.Equal(got, sent) {
		t.Errorf("to %v: %d bytes arrived of %d, or other ones", to.addr, len(got), len(sent))
	}
}

// TestPassesUnsplit looks at what arrives: over a way that only delays, packets longer than the MTU.
func TestPassesUnsplit(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		if !f.TUN() {
			t.Skip("a veth's packets are split by the sender's kernel")
		}
		for name, c := range map[string]struct {
			profile link.Profile
			whole   bool
		}{
			"delay": {delay(time.Millisecond), true},
			"loss":  {link.Profile{Up: link.Impairment{Loss: 1e-9}}, false},
		} {
			t.Run(name, func(t *testing.T) {
				n := newNet(t, f)
				defer n.Close()
				a, b := newSite(t, n, "a", addrA, c.profile), newSite(t, n, "b", addrB, link.Profile{})
				capture(t, n, live.CaptureOptions{}) // splits, but only while it runs
				if _, err := n.StopCapture(); err != nil {
					t.Fatal(err)
				}
				longest := watchLength(t, b.ns)
				received := listenTCP(t, b.ns, b.addr)
				sendTCP(t, a.ns, b.addr, make([]byte, 1<<20))
				<-received
				if got := longest(); got > link.DefaultMTU != c.whole {
					t.Errorf("the longest packet that arrived has %d bytes; want more than the MTU: %v", got, c.whole)
				}
			})
		}
	})
}

// watchLength observes what the device gets, until the function that it returns tells the longest packet.
func watchLength(t *testing.T, ns *netns.NS) func() int {
	t.Helper()
	var fd int
	err := ns.Do(func() (err error) {
		const ip = unix.ETH_P_IP>>8 | unix.ETH_P_IP&0xff<<8
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, ip)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() (longest int) {
		defer unix.Close(fd)
		for {
			n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_TRUNC)
			if err != nil {
				return longest
			}
			longest = max(longest, n)
		}
	}
}

// TestSegmentedUDP sends many datagrams in one call, which the kernel may leave to the device to split (UDP_SEGMENT).
func TestSegmentedUDP(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		for name, p := range map[string]link.Profile{"perfect": {}, "rate": {Up: link.Impairment{Rate: 1_000_000_000}}} {
			t.Run(name, func(t *testing.T) {
				n := newNet(t, f)
				defer n.Close()
				server := newSite(t, n, "server", serverAddr, p)
				c := home(t, "full-cone", wanA, lanA)
				c.Profile = p
				a, _ := newStation(t, newRouter(t, n, c), hostA, live.StationConfig{})
				for _, from := range []*site{a, newSite(t, n, "public", addrA, p)} {
					sendSegmented(t, from, server)
				}
			})
		}
	})
}

func sendSegmented(t *testing.T, from, to *site) {
	t.Helper()
	const size, count = 1000, 20
	var b []byte
	for i := range count {
		b = append(b, bytes.Repeat([]byte{byte('a' + i)}, size)...)
	}
	if _, _, err := from.conn.WriteMsgUDPAddrPort(b, segmentControl(size), to.addr); err != nil {
		t.Skipf("UDP_SEGMENT: %v", err)
	}
	for i := range count {
		to.receiveFrom(t, strings.Repeat(string(rune('a'+i)), size))
	}
}

// segmentControl asks the kernel to send datagrams of size bytes each.
func segmentControl(size uint16) []byte {
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(ptr(oob))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], size)
	return oob
}
