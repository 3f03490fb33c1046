package rendezvous

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"github.com/punchlab/punchlab/impl/core"
)

var grid4 = Grid{
	Addrs: [2]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")},
	Ports: [2]uint16{3478, 3479},
}

var grid6 = Grid{
	Addrs:  [2]netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")},
	Ports:  [2]uint16{3478, 3479},
	Public: [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")},
}

func withGrids(c *Config) { c.Grids = []Grid{grid4, grid6} }

// ask builds a binding request, filled up to size.
func ask(t testing.TB, size int, attributes ...stun.RawAttribute) []byte {
	t.Helper()
	m := &stun.Message{Type: stun.BindingRequest, TransactionID: [12]byte{1, 2, 3}}
	m.WriteHeader()
	for _, a := range attributes {
		m.Add(a.Type, a.Value)
	}
	if fill := size - len(m.Raw) - stunAttribute; fill >= 0 {
		m.Add(stun.AttrSoftware, bytes.Repeat([]byte{' '}, fill))
	}
	return bytes.Clone(m.Raw)
}

func change(flags byte) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, flags}}
}

// bind hands a request to a socket and returns the answer and the packet it came in, nil where there is none.
func (r *rig) bind(from, to string, b []byte) (*stun.Message, *core.Packet) {
	r.t.Helper()
	r.s.HandlePacket(r.now, addr(from), addr(to), bytes.Clone(b))
	r.drain()
	if len(r.out) == 0 {
		return nil, nil
	}
	p := r.out[0]
	if r.out = r.out[1:]; len(r.out) > 0 || p.To != addr(from) {
		r.t.Fatalf("answers %v and %v", p, r.out)
	}
	if len(p.B) > len(b) {
		r.t.Errorf("%d bytes answer %d", len(p.B), len(b))
	}
	m := &stun.Message{Raw: p.B}
	if err := m.Decode(); err != nil || m.TransactionID != [12]byte{1, 2, 3} || int(binary.BigEndian.Uint16(p.B[2:])) != len(p.B)-stunHeader {
		r.t.Fatalf("answer %x: %v", p.B, err)
	}
	return m, &p
}

// told reads the three addresses of an answer.
func told(t *testing.T, m *stun.Message) (mapped, origin, other string) {
	t.Helper()
	var x stun.XORMappedAddress
	var o stun.ResponseOrigin
	var a stun.OtherAddress
	if err := x.GetFrom(m); err != nil {
		t.Fatal(err)
	}
	mapped = x.String()
	if o.GetFrom(m) == nil {
		origin = o.String()
	}
	if a.GetFrom(m) == nil {
		other = a.String()
	}
	return mapped, origin, other
}

// RFC 5780 §6.1: which socket answers, by the one asked and the flags.
func TestBehaviourDiscovery(t *testing.T) {
	r := newRig(t, withGrids)
	for _, c := range []struct {
		to            string
		flags         byte
		origin, other string
	}{
		{"203.0.113.1:3478", 0, "203.0.113.1:3478", "203.0.113.2:3479"},
		{"203.0.113.1:3478", changePort, "203.0.113.1:3479", "203.0.113.2:3479"},
		{"203.0.113.1:3478", changeIP, "203.0.113.2:3478", "203.0.113.2:3479"},
		{"203.0.113.1:3478", changeIP | changePort, "203.0.113.2:3479", "203.0.113.2:3479"},
		{"203.0.113.2:3479", 0, "203.0.113.2:3479", "203.0.113.1:3478"},
		{"203.0.113.2:3478", changeIP, "203.0.113.1:3478", "203.0.113.1:3479"},
	} {
		m, p := r.bind("192.0.2.1:5000", c.to, ask(t, 120, change(c.flags)))
		if m == nil || m.Type != stun.BindingSuccess {
			t.Fatalf("%s, flags %d: %v", c.to, c.flags, m)
		}
		mapped, origin, other := told(t, m)
		if mapped != "192.0.2.1:5000" || origin != c.origin || other != c.other || p.From != addr(c.origin) {
			t.Errorf("%s, flags %d: mapped %s, origin %s from %v, other %s; want %s and %s",
				c.to, c.flags, mapped, origin, p.From, other, c.origin, c.other)
		}
	}
	m, p := r.bind("[2001:db8:7::1]:5000", "[fd00::1]:3478", ask(t, 120, change(changeIP)))
	if mapped, origin, other := told(t, m); mapped != "[2001:db8:7::1]:5000" || origin != "[2001:db8::2]:3478" || other != "[2001:db8::2]:3479" ||
		p.From != addr("[fd00::2]:3478") {
		t.Errorf("IPv6: mapped %s, origin %s from %v, other %s", mapped, origin, p.From, other)
	}
	if n := r.s.Stats().Bindings; n != 7 {
		t.Errorf("%d bindings counted", n)
	}
}

// A server without a grid, and one that is asked by a stream, says where the client appears from, and nothing of others.
func TestBindingWithoutGrid(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Config)
		from, to string
	}{
		"no grid":      {nil, "192.0.2.1:5000", "203.0.113.1:3478"},
		"other socket": {withGrids, "192.0.2.1:5000", "203.0.113.1:3480"},
		"stream":       {withGrids, "[::ffff:192.0.2.1%tcp]:5000", "[::ffff:203.0.113.1%tcp]:3478"},
	} {
		r := newRig(t, c.change)
		m, p := r.bind(c.from, c.to, ask(t, 120))
		if mapped, origin, other := told(t, m); mapped != "192.0.2.1:5000" || origin != "" || other != "" || p.From != addr(c.to) {
			t.Errorf("%s: mapped %s, origin %q, other %q, from %v", name, mapped, origin, other, p.From)
		}
		var unknown stun.UnknownAttributes
		if m, p := r.bind(c.from, c.to, ask(t, 120, change(changeIP))); m == nil || m.Type != stun.BindingError || unknown.GetFrom(m) != nil ||
			len(unknown) != 1 || unknown[0] != stun.AttrChangeRequest || p.From != addr(c.to) {
			t.Errorf("%s: CHANGE-REQUEST answered by %v", name, m)
		}
	}
}

// At every length of the request the answer is not longer, and says as much as there is room for.
func TestBindingIsNoAmplifier(t *testing.T) {
	r := newRig(t, withGrids)
	fingerprinted := func(size int) []byte {
		m := &stun.Message{Raw: ask(t, size-stunFingerprint)}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		if err := stun.Fingerprint.AddTo(m); err != nil {
			t.Fatal(err)
		}
		return m.Raw
	}
	for size := 32; size <= 140; size += 4 {
		v4, _ := r.bind("192.0.2.1:5000", "203.0.113.1:3478", ask(t, size))
		v6, _ := r.bind("[2001:db8:7::1]:5000", "[fd00::1]:3478", ask(t, size))
		if (v4 != nil) != (size >= 32) || (v6 != nil) != (size >= 44) {
			t.Errorf("%d bytes: answered over IPv4 %v, over IPv6 %v", size, v4 != nil, v6 != nil)
		}
		if v4 != nil {
			if _, origin, other := told(t, v4); (other != "") != (size >= 44) || (origin != "") != (size >= 56) {
				t.Errorf("%d bytes: origin %q, other %q", size, origin, other)
			}
		}
		if size >= 40 {
			m, _ := r.bind("192.0.2.1:5000", "203.0.113.1:3478", fingerprinted(size))
			if m == nil || stun.Fingerprint.Check(m) != nil {
				t.Errorf("%d bytes with a fingerprint: %v", size, m)
			}
		}
		r.bind("192.0.2.1:5000", "203.0.113.1:3478", ask(t, size, stun.RawAttribute{Type: stun.AttrResponsePort, Value: []byte{0, 7, 0, 0}}))
	}
	for _, b := range [][]byte{ask(t, 20), ask(t, 28, change(changeIP))} {
		if m, _ := r.bind("192.0.2.1:5000", "203.0.113.1:3478", b); m != nil {
			t.Errorf("%d bytes are answered by %v", len(b), m)
		}
	}
	if r.dropped(errShort.Error()) == 0 {
		t.Errorf("dropped %v", r.s.Stats().Dropped)
	}
}

// What is no binding request gets no answer at all: an error, too, would go to whoever the source names. So two servers, or
// two sockets of one, cannot be made to talk to each other.
func TestNoBindingRequest(t *testing.T) {
	r := newRig(t, withGrids)
	good := ask(t, 120)
	with := func(at int, v byte) []byte { b := bytes.Clone(good); b[at] = v; return b }
	for name, b := range map[string][]byte{
		"cut":               good[:100],
		"longer":            append(bytes.Clone(good), 0, 0, 0, 0),
		"odd length":        with(3, 99),
		"no cookie":         with(4, 0),
		"success":           with(0, 1),
		"error":             append([]byte{1, 0x11}, good[2:]...),
		"indication":        append([]byte{0, 0x11}, good[2:]...),
		"allocate":          append([]byte{0, 3}, good[2:]...),
		"attribute too big": with(23, 200),
		"false fingerprint": ask(t, 120, stun.RawAttribute{Type: stun.AttrFingerprint, Value: []byte{1, 2, 3, 4}}),
		"header alone":      good[:20],
		"one byte":          good[:1],
	} {
		if m, _ := r.bind("203.0.113.2:3479", "203.0.113.1:3478", b); m != nil {
			t.Errorf("%s: %v", name, m)
		}
	}
	m, p := r.bind("203.0.113.2:3479", "203.0.113.1:3478", good) // forged: from our own socket
	if m == nil {
		t.Fatal("no answer")
	}
	if m, _ := r.bind("203.0.113.1:3478", "203.0.113.2:3479", p.B); m != nil {
		t.Error("the server talks to itself")
	}
}

// A CHANGE-REQUEST that cannot be read changes nothing.
func TestOddChangeRequest(t *testing.T) {
	r := newRig(t, withGrids)
	for _, v := range [][]byte{nil, {6}, {0, 0, 0, 6, 0, 0, 0, 6}} {
		m, p := r.bind("192.0.2.1:5000", "203.0.113.1:3478", ask(t, 120, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: v}))
		if m == nil || p.From != addr("203.0.113.1:3478") {
			t.Errorf("CHANGE-REQUEST %x: %v by %+v", v, m, p)
		}
	}
}

// RESPONSE-PORT and PADDING (RFC 5780 §7.5, §7.6) would aim and enlarge answers.
func TestUnknownAttributes(t *testing.T) {
	r := newRig(t, withGrids)
	m, p := r.bind("192.0.2.1:5000", "203.0.113.1:3478", ask(t, 120, change(changeIP),
		stun.RawAttribute{Type: stun.AttrResponsePort, Value: []byte{0, 7, 0, 0}}, stun.RawAttribute{Type: stun.AttrPadding, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrUsername, Value: []byte("who")}))
	var code stun.ErrorCodeAttribute
	var unknown stun.UnknownAttributes
	if m == nil || m.Type != stun.BindingError || code.GetFrom(m) != nil || code.Code != stun.CodeUnknownAttribute || unknown.GetFrom(m) != nil ||
		len(unknown) != 2 || unknown[0] != stun.AttrResponsePort || unknown[1] != stun.AttrPadding || p.From != addr("203.0.113.1:3478") {
		t.Errorf("answer %v, unknown %v", m, unknown)
	}
}

func TestBindingsAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { withGrids(c); c.STUNPerSecond = 5 })
	answered := 0
	for range 20 {
		if m, _ := r.bind("192.0.2.1:5000", "203.0.113.1:3478", ask(t, 120)); m != nil {
			answered++
		}
	}
	r.advance(time.Second)
	if m, _ := r.bind("192.0.2.1:5000", "203.0.113.1:3478", ask(t, 120)); m == nil || answered != 5 || r.dropped(errBusy.Error()) != 15 {
		t.Errorf("%d answered, then %v; dropped %v", answered, m, r.s.Stats().Dropped)
	}
}

func FuzzSTUN(f *testing.F) {
	f.Add(ask(f, 20))
	f.Add(ask(f, 120, change(changeIP|changePort)))
	f.Add(ask(f, 120, stun.RawAttribute{Type: stun.AttrResponsePort, Value: []byte{0, 7, 0, 0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRig(t, withGrids)
		r.s.HandlePacket(r.now, addr("192.0.2.1:5000"), addr("203.0.113.1:3478"), bytes.Clone(b))
		r.drain()
		for _, p := range r.out {
			if len(p.B) > len(b) {
				t.Errorf("%d bytes answer %d", len(p.B), len(b))
			}
		}
	})
}
