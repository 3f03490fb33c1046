package cases

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// segment is an IPv4 packet with a TCP segment in it, its checksum right.
func segment(t *testing.T, payload []byte) []byte {
	t.Helper()
	src, dst := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:443")
	b := packet.AppendUDP(nil, src, dst, make([]byte, packetTCP-packet.UDPHeaderLen+len(payload)))
	b[9] = packet.ProtocolTCP
	tcp := b[packet.IPv4HeaderLen:]
	clear(tcp)
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12] = 5 << 4
	copy(tcp[packetTCP:], payload)
	binary.BigEndian.PutUint16(tcp[16:], packet.PseudoChecksum(src.Addr(), dst.Addr(), packet.ProtocolTCP, tcp))
	return b
}

const packetTCP = 20

// TestAlteredSegments: what a vandal makes of a segment or a datagram is another payload that its receiver has to take for whole.
func TestAlteredSegments(t *testing.T) {
	v := newVandal(1)
	payload := []byte("what a camera said to its viewer")
	src, dst := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:2000")
	for name, p := range map[string][]byte{"TCP": segment(t, payload), "UDP": packet.AppendUDP(nil, src, dst, payload)} {
		whole := bytes.Clone(p)
		altered := 0
		rule := v.vandalize(2)
		for range 200 {
			act := rule(attack.Seen{N: 1, Packet: p})
			if act.Packet == nil {
				continue
			}
			altered++
			b, ok := payloadOf(act.Packet)
			if !ok || bytes.Equal(b, payload) {
				t.Fatalf("%s: altered to %q", name, b)
			}
			ip, err := packet.ParseIPv4(act.Packet)
			if err != nil {
				t.Fatal(err)
			}
			l4 := bytes.Clone(ip.Payload())
			at := 6
			if name == "TCP" {
				at = 16
				if len(b) != len(payload) {
					t.Fatalf("a segment of %d bytes became one of %d", len(payload), len(b))
				}
			}
			sum := binary.BigEndian.Uint16(l4[at:])
			clear(l4[at : at+2])
			if want := packet.PseudoChecksum(ip.Src(), ip.Dst(), ip.Protocol(), l4); want != sum {
				t.Fatalf("%s: checksum %04x, want %04x", name, sum, want)
			}
		}
		if altered < 50 || !bytes.Equal(p, whole) {
			t.Errorf("%s: %d of 200 altered; the original changed: %v", name, altered, !bytes.Equal(p, whole))
		}
	}
}

// TestStripped: the first packets of each direction have a byte changed, or are dropped, and no others.
func TestStripped(t *testing.T) {
	p := packet.AppendUDP(nil, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), []byte{4, 1, 0, 0})
	for at, want := range map[int]byte{0: 3, 1: 0, 2: 1} {
		rule := newVandal(1).strip(2, at)
		for n := range 3 {
			for _, d := range []attack.Direction{attack.Up, attack.Down} {
				act := rule(attack.Seen{N: n + 1, Direction: d, Packet: p})
				if n == 2 {
					if act.Packet != nil || act.Drop {
						t.Errorf("the third packet: %+v", act)
					}
				} else if b, _ := payloadOf(act.Packet); len(b) != 4 || b[at] != want {
					t.Errorf("byte %d: %v", at, b)
				}
			}
		}
	}
	if act := newVandal(1).strip(2, -1)(attack.Seen{Packet: p}); !act.Drop {
		t.Errorf("dropped: %+v", act)
	}
}

// TestTokens: of a ticket what is public is no secret, and the bundled label's secret is looked for as it would travel.
func TestTokens(t *testing.T) {
	names := func(ss []tape.Secret) (all []string) {
		for _, s := range ss {
			all = append(all, string(s.Bytes))
		}
		return all
	}
	got := names(tokens([]byte("rtsp://camera.acme.example:554/UID-ACME-0123-4567-89AB/Zm9vYmFyYmF6cXV4MTIz"), stage.Identity{UID: "ACME0123456789AB"}, "camera.acme.example"))
	if !slices.Equal(got, []string{"Zm9vYmFyYmF6cXV4MTIz"}) {
		t.Errorf("tokens %q", got)
	}
	key, err := ids.NewKey(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	l := ids.Label{Key: key.Public(), RendezvousKey: key.Public(), Rendezvous: []string{"192.0.2.1:4479"}}
	for i := range l.Secret {
		l.Secret[i] = byte(7 * (i + 1))
	}
	if got := names(tokens([]byte(l.String()+"\n"), stage.Identity{})); !slices.Contains(got, string(l.Secret[:])) {
		t.Errorf("tokens of a label: %q", got)
	}
}

// TestQuoted finds whom an ICMP error is about.
func TestQuoted(t *testing.T) {
	about := packet.AppendUDP(nil, netip.MustParseAddrPort("192.0.2.1:2345"), netip.MustParseAddrPort("192.0.2.2:53"), []byte("x"))
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about...)
	if got := quoted(icmp); got != 2345 {
		t.Errorf("port %d", got)
	}
	for n := range icmp[:30] {
		if got := quoted(icmp[:n]); got != 0 {
			t.Errorf("of %d bytes: port %d", n, got)
		}
	}
}

// TestTellApart: two sorts of answers are told apart where one never comes of the other, or by their shares; and not by chance, nor where
// each answer is another.
func TestTellApart(t *testing.T) {
	for _, test := range []struct {
		name             string
		unknown, offline map[string]int
		apart            bool
	}{
		{"the same", map[string]int{"no": 40}, map[string]int{"no": 40}, false},
		{"each time", map[string]int{"never heard of": 4}, map[string]int{"away": 4}, true},
		{"too few", map[string]int{"never heard of": 3}, map[string]int{"away": 3}, false},
		{"by chance", map[string]int{"no": 38, "late": 2}, map[string]int{"no": 40}, false},
		{"by their shares", map[string]int{"no": 10, "late": 30}, map[string]int{"no": 40}, true},
		{"each is another", map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}, map[string]int{"e": 1, "f": 1, "g": 1, "h": 1}, false},
	} {
		if what, _, _ := tellApart([2]map[string]int{test.unknown, test.offline}); (what != "") != test.apart {
			t.Errorf("%s: %q", test.name, what)
		}
	}
}

// TestXORAddress: the value of RFC 5769 §2.2 for its transaction, which differs from ours by the mask of an IPv6 address alone.
func TestXORAddress(t *testing.T) {
	got := xorAddress(0x0020, netip.MustParseAddrPort("192.0.2.1:32853"))
	if want := []byte{0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43}; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}
