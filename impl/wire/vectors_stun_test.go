package wire_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/rendezvous"
)

// stunRequest builds a binding request of 120 bytes: the attributes, then SOFTWARE.
func stunRequest(id []byte, attributes ...[]byte) []byte {
	b := append([]byte{0, 1, 0, 100, 0x21, 0x12, 0xa4, 0x42}, id...)
	for _, a := range attributes {
		b = append(b, a...)
	}
	b = binary.BigEndian.AppendUint16(append(b, 0x80, 0x22), uint16(116-len(b)))
	for len(b) < 120 {
		b = append(b, ' ')
	}
	return b
}

func TestSTUNVector(t *testing.T) {
	grid := rendezvous.Grid{Ports: [2]uint16{3478, 3479},
		Addrs: [2]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}}
	grid6 := grid
	grid6.Addrs = [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	s, err := rendezvous.New(rendezvous.Config{Static: key(t, 0x81), Rand: zeros{}, Grids: []rendezvous.Grid{grid, grid6}})
	if err != nil {
		t.Fatal(err)
	}
	change := []byte{0, 3, 0, 4, 0, 0, 0, 6}
	responsePort := []byte{0, 0x27, 0, 4, 0, 7, 0, 0}
	id := fixed(0x31, 12)
	var cases []vector
	for _, c := range []struct {
		name, from, to string
		request        []byte
	}{
		{"from the socket asked", "192.0.2.1:40000", "203.0.113.1:3478", stunRequest(id)},
		{"from the opposite socket", "192.0.2.1:40000", "203.0.113.1:3478", stunRequest(id, change)},
		{"over IPv6", "[2001:db8:7::9]:40000", "[2001:db8::2]:3479", stunRequest(id)},
		{"what is not understood", "192.0.2.1:40000", "203.0.113.1:3478", stunRequest(id, change, responsePort)},
	} {
		s.HandlePacket(time.Unix(0, 0), netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to), append([]byte(nil), c.request...))
		out := s.Ready().Packets
		if len(out) != 1 || out[0].To.String() != c.from {
			t.Fatalf("%s: answers %v", c.name, out)
		}
		cases = append(cases, vector{"case": c.name, "from": c.from, "to": c.to, "request": h(c.request),
			"answered_by": out[0].From.String(), "answer": h(out[0].B)})
	}
	verify(t, "stun", vector{"scenario": "binding requests to a rendezvous with two addresses of each family and the ports 3478 and 3479",
		"addresses": []string{"203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2"}, "cases": cases})
}

// zeros is a source of randomness for who needs none.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
