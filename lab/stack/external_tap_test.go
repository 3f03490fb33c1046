package stack

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/packet"
	"golang.org/x/sys/unix"
)

// What a host sends in one call the taps have as the datagrams that a wire would carry, behind a router of either engine.
func TestTapsSeeAWire(t *testing.T) {
	for _, engine := range []string{"netfilter", "table"} {
		t.Run(engine, func(t *testing.T) {
			l := newLab(t, "two-homes", "camera.engine", engine, "link", "lan")
			camera, server := l.Host("camera"), l.Host("rendezvous")
			var mu sync.Mutex
			seen := map[string][]string{}
			taps, err := openTaps([]*lab.Machine{camera, server}, func(host string, out bool, _ time.Time, b []byte) {
				mu.Lock()
				defer mu.Unlock()
				if text, ok := datagramOf(t, b); ok {
					seen[fmt.Sprint(host, " ", out)] = append(seen[fmt.Sprint(host, " ", out)], text)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer taps.Close()
			const size, n = 1000, 20
			from, to := udpOn(t, camera), udpOn(t, server)
			var want []string
			for i := range n {
				want = append(want, strings.Repeat(string(rune('a'+i)), size))
			}
			if err := sendAtOnce(from, to.LocalAddr().(*net.UDPAddr).AddrPort(), strings.Join(want, ""), size); err != nil {
				t.Skipf("UDP_SEGMENT: %v", err)
			}
			_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
			for range n {
				if _, _, err := to.ReadFromUDPAddrPort(make([]byte, 2*size)); err != nil {
					t.Fatal(err)
				}
			}
			taps.Flush()
			if lost := taps.Lost(); lost > 0 {
				t.Errorf("%d packets lost", lost)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, where := range []string{"camera true", "rendezvous false"} {
				if got := seen[where]; !slices.Equal(got, want) {
					t.Errorf("%s: %d packets %.20q, want %d", where, len(got), got, n)
				}
			}
		})
	}
}

func udpOn(t *testing.T, m *lab.Machine) (c *net.UDPConn) {
	t.Helper()
	err := m.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(m.Addr(), 7000)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sendAtOnce sends datagrams of a size in one call (UDP_SEGMENT).
func sendAtOnce(c *net.UDPConn, to netip.AddrPort, text string, size uint16) error {
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], size)
	_, _, err := c.WriteMsgUDPAddrPort([]byte(text), oob, to)
	return err
}

// datagramOf reads a datagram and checks its checksum.
func datagramOf(t *testing.T, b []byte) (text string, ok bool) {
	p, err := packet.ParseIPv4(b)
	if err != nil || p.Protocol() != packet.ProtocolUDP {
		return "", false
	}
	u, err := packet.ParseUDP(p.Payload())
	if err != nil {
		return "", false
	}
	if packet.PseudoChecksum(p.Src(), p.Dst(), packet.ProtocolUDP, u) != 0 {
		t.Errorf("a datagram of %d bytes with a wrong checksum", len(u))
	}
	return string(u.Payload()), true
}
