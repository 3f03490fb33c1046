package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v3"
	"github.com/punchlab/punchlab/lab/nat"
)

// loopback starts a server on 127.0.0.1 and .2, with ports that are free on both.
func loopback(t *testing.T) *Server {
	t.Helper()
	addrs := [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}
	for range 20 {
		var ports [2]uint16
		for i := range ports {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ports[i] = c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			c.Close()
		}
		if s, err := NewServer(net.ListenPacket, addrs, ports); err == nil {
			t.Cleanup(func() { s.Close() })
			return s
		}
	}
	t.Fatal("no free ports")
	return nil
}

func TestClassifyWithoutNAT(t *testing.T) {
	s := loopback(t)
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		r, err := Classify(t.Context(), func() (net.PacketConn, error) { return net.ListenPacket("udp4", addr) }, s.Addr(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(nil); err != nil {
			t.Error(err)
		}
	}
}

func TestClassifyEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	listen := func() (net.PacketConn, error) { return net.ListenPacket("udp4", "127.0.0.1:0") }
	if _, err := Classify(ctx, listen, netip.MustParseAddrPort("127.0.0.1:9"), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	r, err := Classify(t.Context(), listen, netip.MustParseAddrPort("127.0.0.1:9"), Options{RTO: time.Millisecond, Tries: 2})
	if err != nil || !r.NoUDP {
		t.Errorf("nobody listens: %v, %v", r, err)
	}
	broken := errors.New("broken")
	if _, err := Classify(t.Context(), func() (net.PacketConn, error) { return nil, broken }, s00, Options{}); !errors.Is(err, broken) {
		t.Errorf("no socket: %v", err)
	}
}

func TestNewServerRefuses(t *testing.T) {
	a, b := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	if _, err := NewServer(net.ListenPacket, [2]netip.Addr{a, a}, [2]uint16{1, 2}); err == nil {
		t.Error("one address is accepted")
	}
	if _, err := NewServer(net.ListenPacket, [2]netip.Addr{a, b}, [2]uint16{3, 3}); err == nil {
		t.Error("one port is accepted")
	}
	opened := 0
	_, err := NewServer(func(network, address string) (net.PacketConn, error) {
		if opened++; opened == 4 {
			return nil, errors.New("enough")
		}
		return net.ListenPacket(network, "127.0.0.1:0")
	}, [2]netip.Addr{a, b}, [2]uint16{1, 2})
	if err == nil {
		t.Error("a server without its fourth socket")
	}
}

// ask sends a request from a fresh socket and returns the answer and where it came from.
func roundTrip(t *testing.T, to netip.AddrPort, b []byte) ([]byte, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 1500)
	n, from, err := c.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	ap, err := endpointOf(from)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n], ap
}

// TestChangeRequest asks each socket for each change (RFC 5780 §7.2).
func TestChangeRequest(t *testing.T) {
	s := loopback(t)
	for i, row := range s.endpoints {
		for j, to := range row {
			for _, change := range []uint32{0, changePort, changeIP, changeIP | changePort} {
				b, from := roundTrip(t, to, ask(txID{1}, change))
				di, dj := int(change/changeIP), int(change/changePort%2)
				if want := s.endpoints[(i+di)%2][(j+dj)%2]; from != want {
					t.Errorf("change %#x asked of %v comes from %v, want %v", change, to, from, want)
				}
				a, err := parseAnswer(b)
				if err != nil || a.other != s.endpoints[1][1-j] {
					t.Errorf("other address of %v is %v (%v)", to, a.other, err)
				}
			}
		}
	}
}

// TestClassicClient speaks as RFC 3489: a transaction ID of 16 bytes, no cookie.
func TestClassicClient(t *testing.T) {
	s := loopback(t)
	id := []byte("sixteen bytes id")
	request := append([]byte{0, 1, 0, 8}, id...)
	request = append(request, 0, 3, 0, 4, 0, 0, 0, changePort)
	b, from := roundTrip(t, s.Addr(), request)
	if from != s.endpoints[0][1] {
		t.Errorf("answer comes from %v, want %v", from, s.endpoints[0][1])
	}
	if !bytes.Equal(b[4:20], id) || binary.BigEndian.Uint16(b) != 0x0101 {
		t.Fatalf("header is %x", b[:20])
	}
	got := map[stun.AttrType]netip.AddrPort{}
	for rest := b[20:]; len(rest) >= 12; rest = rest[12:] {
		ip, _ := netip.AddrFromSlice(rest[8:12])
		got[stun.AttrType(binary.BigEndian.Uint16(rest))] = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[6:]))
	}
	delete(got, stun.AttrMappedAddress)
	want := map[stun.AttrType]netip.AddrPort{stun.AttrSourceAddress: s.endpoints[0][1], stun.AttrChangedAddress: s.endpoints[1][1]}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("addresses (-want +got):\n%s", d)
	}
}

func TestServerCountsWhatItDrops(t *testing.T) {
	s := loopback(t)
	c, err := net.Dial("udp4", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	good := ask(txID{7}, 0)
	indication := append([]byte(nil), good...)
	indication[1] = 0x11
	padding := append(append([]byte(nil), good...), 0, 0x26, 0, 0) // PADDING, which must be understood and is not
	padding[3] = 4
	for _, b := range [][]byte{good[:19], {0x80, 0, 1}, append(append([]byte(nil), good...), 1), indication, good, padding} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 1500)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var types []uint16
	for range 2 {
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		types = append(types, binary.BigEndian.Uint16(buf))
	}
	if d := cmp.Diff([]uint16{0x0101, 0x0111}, types); d != "" {
		t.Errorf("answers (-want +got):\n%s", d)
	}
	if err := s.Close(); err != nil { // an answer is counted after it was sent
		t.Fatal(err)
	}
	if d := cmp.Diff(ServerStats{Answered: 2, Malformed: 3, Foreign: 1}, s.Stats()); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
}

func TestResultString(t *testing.T) {
	r := Result{Mapping: nat.EndpointIndependent, Filtering: nat.AddressDependent, Translated: true, Hairpin: true}
	if got, want := r.String(), "EIM/ADF, translated, changes ports, hairpin"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Result{NoUDP: true}).String(); got != "no UDP" {
		t.Errorf("got %q", got)
	}
}
