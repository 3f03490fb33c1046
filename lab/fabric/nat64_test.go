package fabric

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// TestNAT64: packets change their length on the way, and what does not fit any more is told.
func TestNAT64(t *testing.T) {
	b := preset(t, "full-cone")
	b.IPv6 = nat.NAT64
	h := newHome(t, b, link.Profile{}, false)
	sendBytes(h.fab, h.station, 0, datagram("[2001:db8:1::2]:1000", "[64:ff9b::198.51.100.1]:5", 1000))
	if len(h.outside.packets) != 1 || packet.Version(h.outside.packets[0]) != 4 || len(h.outside.packets[0]) != 1028 {
		t.Fatalf("%d packets came out; %v", len(h.outside.packets), h.router.Table().Counts())
	}
	src := endpointsOf(h.outside.packets[0]).Src
	back := packet.AppendUDP(nil, netip.AddrPortFrom(dstAddr, 5), src, make([]byte, 1452))
	sendBytes(h.fab, h.peer, 0, back)
	sendBytes(h.fab, h.peer, 0, packet.AppendUDP(nil, netip.AddrPortFrom(dstAddr, 5), src, make([]byte, 1453)))
	if len(h.inside.packets) != 1 || len(h.inside.packets[0]) != 1500 {
		t.Fatalf("%d packets came in", len(h.inside.packets))
	}
	answer := h.outside.packets[len(h.outside.packets)-1]
	m := packet.IPv4(answer).Payload()
	if packet.IPv4(answer).Src() != wanAddr || m[0] != 3 || m[1] != 4 || binary.BigEndian.Uint16(m[6:]) != 1480 || packet.Checksum(m) != 0 {
		t.Errorf("answer from %v: %x", packet.IPv4(answer).Src(), m)
	}
	big, g := tcp(netip.AddrPortFrom(inner6, 4000), netip.MustParseAddrPort("[64:ff9b::198.51.100.1]:80"), 3000, 1000)
	syn, _ := tcp(netip.AddrPortFrom(inner6, 4000), netip.MustParseAddrPort("[64:ff9b::198.51.100.1]:80"), 0, 0)
	setFlags(syn, packet.SYN)
	before := len(h.outside.packets)
	sendBytes(h.fab, h.station, 0, syn)
	sendBig(h.fab, h.station, 0, big, g)
	if got := h.outside.packets[before:]; len(got) != 4 || !transportOK(got[3]) || len(got[3]) != 1040 {
		t.Errorf("%d packets of a SYN and three segments came out", len(got))
	}

	// The answer in segments of 1,440 bytes: translated they are exactly as long as the LAN can carry.
	src = endpointsOf(h.outside.packets[before]).Src
	reply, g := tcp(netip.AddrPortFrom(dstAddr, 80), src, 14000, 1440)
	had := len(h.inside.packets)
	sendBig(h.fab, h.peer, 0, reply, g)
	got := h.inside.packets[had:]
	if len(got) != 10 || len(got[0]) != 1500 || !transportOK(got[0]) || len(h.outside.packets) != before+4 {
		t.Errorf("%d packets of ten segments came in, %d answers", len(got), len(h.outside.packets)-before-4)
	}
}
