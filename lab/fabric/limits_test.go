package fabric

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// TestResetForgetsWaitingRST: a RST that a table held back is gone with the Reset, and the timer that was set for it
// neither sends nor delays the next one.
func TestResetForgetsWaitingRST(t *testing.T) {
	b := preset(t, "full-cone")
	b.Unsolicited = nat.RSTAfter6s
	h := newHome(t, b, link.Profile{}, false)
	var at []time.Duration
	h.net.SetTap(func(e TapEvent) {
		if e.Where == AtRouter && e.Point == Outbound {
			at = append(at, e.T)
		}
	})
	syn, _ := tcp(tcpDst, netip.AddrPortFrom(wanAddr, 80), 0, 0)
	setFlags(syn, packet.SYN)
	sendBytes(h.fab, h.peer, 0, syn)
	h.fab.Deliver(time.Second, 0)
	h.net.Reset(2)
	sendBytes(h.fab, h.peer, 2*time.Second, syn)
	for now := 2 * time.Second; now < 20*time.Second; now += time.Second / 2 {
		h.fab.Deliver(now, 0)
	}
	if diff := cmp.Diff([]time.Duration{8 * time.Second}, at); diff != "" {
		t.Errorf("when a RST left (-want +got):\n%s", diff)
	}
	if _, ok := h.fab.Deadline(); ok {
		t.Error("a timer is set that nobody needs")
	}
}

// TestNoErrorsAboutErrors: what dies on its way is answered once, and an error that dies never (RFC 1122 §3.2.2).
func TestNoErrorsAboutErrors(t *testing.T) {
	h := newHome(t, preset(t, "full-cone"), link.Profile{}, false)
	dying := datagram("192.168.1.2:1", "198.51.100.1:2", 10)
	setTTL(dying, 1, false)
	sendBytes(h.fab, h.station, 0, dying)
	if len(h.inside.packets) != 1 {
		t.Fatalf("a packet without a hop left was answered %d times", len(h.inside.packets))
	}
	about := packet.AppendError(nil, packet.TimeExceeded, inner4, 0, datagram("198.51.100.1:2", "192.168.1.2:1", 10))
	for _, ttl := range []uint8{1, 2, 4, 5} {
		setTTL(about, ttl, false)
		sendBytes(h.fab, h.station, time.Second, about)
	}
	h.fab.Deliver(time.Minute, 0)
	if len(h.inside.packets) != 1 {
		t.Errorf("%d errors came back about errors", len(h.inside.packets)-1)
	}
}

// TestOversizedFragment: a fragment that ends beyond what IP can number is not cut into ones that lie about where they
// belong.
func TestOversizedFragment(t *testing.T) {
	f := New(Config{})
	u, got, n := offloadNet(t, f, link.Profile{}, true)
	b := packet.AppendUDP(nil, tcpSrc, tcpDst, make([]byte, 3000))
	for offset, want := range map[uint16]int{0: 3, 7000: 3, 8190: 0} {
		n.Reset(1)
		got.packets = nil
		binary.BigEndian.PutUint16(b[6:], offset)
		setTTL(b, 64, true) // as it is, and the checksum
		sendBig(f, u, 0, b, GSO{})
		f.Deliver(time.Second, 0)
		if drops := n.Stats(nil).Uplinks[0].Drops; len(got.packets) != want || (drops[link.Malformed] == 1) != (want == 0) {
			t.Errorf("offset %d: %d fragments, %d malformed; want %d fragments", offset, len(got.packets), drops[link.Malformed], want)
		}
	}
	whole(t, f)
}

// TestOnePacketCannotTakeThePool: a packet of more segments than any kernel makes is refused.
func TestOnePacketCannotTakeThePool(t *testing.T) {
	for size, want := range map[int]int{1: 0, 29: 0, 48: 1} {
		f := New(Config{})
		u, got, n := offloadNet(t, f, link.Profile{}, true)
		data, g := tcp(tcpSrc, tcpDst, 60_000, size)
		sendBig(f, u, 0, data, g)
		f.Deliver(time.Second, 0)
		if drops := n.Stats(nil).Uplinks[0].Drops; len(got.packets) != want || (drops[link.Malformed] == 1) != (want == 0) {
			t.Errorf("segments of %d bytes: %d packets, %d malformed; want %d packets", size, len(got.packets), drops[link.Malformed], want)
		}
		whole(t, f)
	}
}

// whole fails if packets are missing in the pools.
func whole(t *testing.T, f *Fabric) {
	t.Helper()
	if small, big := DefaultMaxPackets-len(f.pool.free)-f.pool.left, DefaultMaxBig-len(f.pool.freeBig)-f.pool.leftBig; small != 0 || big != 0 {
		t.Errorf("%d small and %d big packets are missing", small, big)
	}
}
