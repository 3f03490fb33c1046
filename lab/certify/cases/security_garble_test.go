package cases

import (
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// strangers is a TCP segment from a port of a stranger's.
func strangers(from uint16, flags uint8, seq uint32, payload string) tape.Packet {
	return tape.Packet{
		Protocol: packet.ProtocolTCP, Flags: flags, Seq: seq, Payload: []byte(payload),
		Src: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.3"), from), Dst: netip.MustParseAddrPort("192.168.1.2:8554"),
	}
}

// A connection on which something was said counts once, however often and in how many segments that was sent; one on which nothing was
// does not.
func TestSpokenTo(t *testing.T) {
	other := strangers(4, packet.SYN, 1, "")
	other.Src = netip.MustParseAddrPort("203.0.113.33:4")
	ps := []tape.Packet{
		strangers(1, packet.SYN, 100, ""), strangers(1, packet.ACK, 101, "a"), strangers(1, packet.ACK, 101, "a"), strangers(1, packet.ACK, 102, "b"),
		strangers(2, packet.SYN, 100, ""), strangers(2, packet.ACK, 101, ""),
		strangers(3, packet.SYN, 900, ""), strangers(3, packet.ACK, 880, "of a connection before"),
		other, {Protocol: packet.ProtocolTCP, Src: other.Src, Dst: other.Dst, Seq: 2, Payload: []byte("the viewer's")},
		strangers(1, packet.SYN, 5000, ""), strangers(1, packet.ACK, 5001, "the port again"),
		strangers(5, packet.ACK, 1, "begun before the tape"),
	}
	theirs := []netip.Addr{netip.MustParseAddr("198.51.100.3")}
	if n := spokenTo(ps, 8554, theirs); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	if n := spokenTo(ps, 554, theirs); n != 0 {
		t.Errorf("%d connections to another port", n)
	}
}

// What clients begin with is the first thing that each said, once, and nothing that is of a session.
func TestOpening(t *testing.T) {
	to := netip.MustParseAddrPort("192.168.1.2:8554")
	ps := []tape.Packet{
		strangers(1, packet.SYN, 1, ""), strangers(1, packet.ACK, 2, "OPTIONS"), strangers(1, packet.ACK, 9, "PLAY, Session: 7"),
		strangers(2, packet.ACK, 2, "OPTIONS"), strangers(3, packet.ACK, 2, "GET"),
	}
	said := opening(ps, to)
	if len(said) != 2 || string(said[0]) != "OPTIONS" || string(said[1]) != "GET" {
		t.Errorf("%q", said)
	}
	if said := opening(ps, netip.MustParseAddrPort("192.168.1.2:80")); said != nil {
		t.Errorf("to another port: %q", said)
	}
}

// Where a viewer sent datagrams and segments the datagrams are imitated; where it sent segments alone, TCP's handshake.
func TestFloodAim(t *testing.T) {
	datagram := tape.Packet{Protocol: packet.ProtocolUDP, Dst: netip.MustParseAddrPort("203.0.113.1:4477"), Payload: []byte("hello")}
	tcp := strangers(1, packet.SYN, 1, "")
	ps := preferred([]tape.Packet{tcp, datagram, tcp})
	if len(ps) != 1 || ps[0].Dst != datagram.Dst {
		t.Fatalf("%+v is preferred", ps)
	}
	if a := aimAt("the camera", "camera", ps, ps[0]); a.tcp || a.at != datagram.Dst || len(a.shots) != 1 {
		t.Errorf("%+v", a)
	}
	ps = preferred([]tape.Packet{tcp, tcp})
	if a := aimAt("the camera", "camera", ps, ps[1]); !a.tcp || a.at != tcp.Dst || len(a.shots) != 0 {
		t.Errorf("%+v", a)
	}
}
