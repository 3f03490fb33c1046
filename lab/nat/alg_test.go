package nat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

func algTable(t testing.TB) *nat.Table {
	b, _ := nat.Lookup("full-cone")
	b.ALG = true
	b.PortAssignment = nat.PortSequential
	table, err := nat.NewTable(nat.Config{Behavior: b, External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, LAN: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

var algHost, algServer = netip.MustParseAddrPort("10.0.0.2:5000"), netip.MustParseAddrPort("198.51.100.1:3478")

// TestALG: text and bytes of the inner endpoint become the outer one on the way out, and the reverse on the way in.
// The mapping is 10.0.0.2:5000 → 203.0.113.1:20000.
func TestALG(t *testing.T) {
	in, out := "\x0a\x00\x00\x02", "\xcb\x00\x71\x01"
	for _, c := range []struct{ payload, want string }{
		{"hello", "hello"},
		{"c=IN IP4 10.0.0.2\r\n", "c=IN IP4 203.0.113.1\r\n"},
		{"10.0.0.2:5000", "203.0.113.1:20000"},
		{"<10.0.0.2:5000> 10.0.0.2", "<203.0.113.1:20000> 203.0.113.1"},
		{"10.0.0.2:50001 10.0.0.2:500", "203.0.113.1:50001 203.0.113.1:500"},
		{"110.0.0.2 10.0.0.22 10.0.0.2.3 10.0.0.2.", "110.0.0.2 10.0.0.22 10.0.0.2.3 203.0.113.1."},
		{"10.0.0.210.0.0.2", "10.0.0.210.0.0.2"},
		{"\x00\x01\x13\x88" + in, "\x00\x01\x4e\x20" + out}, // MAPPED-ADDRESS
		{"x" + in + "\x13\x88y", "x" + out + "\x4e\x20y"},
		{in + in, out + out},
		{"\x13\x89" + in, "\x13\x89" + out},
		{in[:3], in[:3]},
	} {
		table := algTable(t)
		v := table.Translate(0, nat.Inside, udp(algHost, algServer, []byte(c.payload)))
		if got := algPayload(t, v); got != c.want {
			t.Errorf("out %q: %q, want %q", c.payload, got, c.want)
		}
		if strings.Contains(c.payload, "10.0.0.2.") || c.payload == "10.0.0.210.0.0.2" {
			continue // what looks like part of something longer is not changed, whichever way
		}
		v = table.Translate(0, nat.Outside, udp(algServer, netip.MustParseAddrPort("203.0.113.1:20000"), []byte(c.want)))
		if got := algPayload(t, v); got != c.payload {
			t.Errorf("in %q: %q, want %q", c.want, got, c.payload)
		}
	}
}

func algPayload(t testing.TB, v nat.Verdict) string {
	t.Helper()
	if v.Reason != nat.Passed {
		t.Fatal(v.Reason)
	}
	checkSums(t, v.Packet)
	p, err := packet.ParseIPv4(v.Packet)
	if err != nil || len(p) != len(v.Packet) {
		t.Fatalf("length: %v", err)
	}
	u, err := packet.ParseUDP(p.Payload())
	if err != nil || len(u) != len(p.Payload()) {
		t.Fatalf("length: %v", err)
	}
	return string(u.Payload())
}

// TestALGSparesXOR: what STUN does against such routers works: a XOR-MAPPED-ADDRESS comes through, MAPPED-ADDRESS
// tells the client its own address.
func TestALGSparesXOR(t *testing.T) {
	table := algTable(t)
	table.Translate(0, nat.Inside, udp(algHost, algServer, []byte("binding request")))
	const cookie = 0x2112a442
	seen := netip.MustParseAddrPort("203.0.113.1:20000")
	a := seen.Addr().As4()
	plain := append(binary.BigEndian.AppendUint16([]byte{0, 1, 0, 8, 0, 1}, seen.Port()), a[:]...)
	xor := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16([]byte{0, 0x20, 0, 8, 0, 1}, seen.Port()^cookie>>16), binary.BigEndian.Uint32(a[:])^cookie)
	v := table.Translate(0, nat.Outside, udp(algServer, seen, append(bytes.Clone(plain), xor...)))
	got := []byte(algPayload(t, v))
	if !bytes.Equal(got[12:], xor) {
		t.Errorf("XOR-MAPPED-ADDRESS became %x, was %x", got[12:], xor)
	}
	if want := append([]byte{0, 1, 0, 8, 0, 1, 0x13, 0x88}, 10, 0, 0, 2); !bytes.Equal(got[:12], want) {
		t.Errorf("MAPPED-ADDRESS became %x, want %x", got[:12], want)
	}
}

// TestALGLeavesTheRest: without checksum there is none afterwards, and a router without ALG changes nothing.
func TestALGLeavesTheRest(t *testing.T) {
	b := udp(algHost, algServer, []byte("10.0.0.2"))
	b[26], b[27] = 0, 0
	v := algTable(t).Translate(0, nat.Inside, b)
	if got := algPayload(t, v); got != "203.0.113.1" || v.Packet[26] != 0 || v.Packet[27] != 0 {
		t.Errorf("%q, checksum %x", got, v.Packet[26:28])
	}
	preset, _ := nat.Lookup("full-cone")
	plain, _ := nat.NewTable(nat.Config{Behavior: preset, External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}})
	if got := algPayload(t, plain.Translate(0, nat.Inside, udp(algHost, algServer, []byte("10.0.0.2")))); got != "10.0.0.2" {
		t.Errorf("a router without ALG: %q", got)
	}
}

// TestALGProperties: whatever surrounds them, endpoints are replaced, and the packet stays well formed.
func TestALGProperties(t *testing.T) {
	table := algTable(t)
	table.Translate(0, nat.Inside, udp(algHost, algServer, nil))
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"\x0a\x00\x00\x02", "\x13\x88", "10.0.0.2", ":5000", "1", ".", "ab", "\n"}), 0, 20).Draw(rt, "parts")
		payload := strings.Join(parts, "")
		got := algPayload(t, table.Translate(time.Second, nat.Inside, udp(algHost, algServer, []byte(payload))))
		if strings.Contains(got, "\x0a\x00\x00\x02") || strings.Contains(" "+got+" ", " 10.0.0.2 ") {
			rt.Errorf("%q became %q", payload, got)
		}
		if changed := strings.Count(got, "203.0.113.1"); changed > strings.Count(payload, "10.0.0.2") {
			rt.Errorf("%q became %q", payload, got)
		}
	})
}

func Example_alg() {
	b, _ := nat.Lookup("full-cone")
	b.ALG = true
	table, _ := nat.NewTable(nat.Config{Behavior: b, External: []netip.Addr{netip.MustParseAddr("203.0.113.1")}})
	p := packet.AppendUDP(nil, algHost, algServer, []byte("I am 10.0.0.2"))
	fmt.Printf("%s\n", table.Translate(0, nat.Inside, p).Packet[28:])
	// Output: I am 203.0.113.1
}
