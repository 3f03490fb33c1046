package ice

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

func message4(t *testing.T, setters ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

type data []byte

func (d data) AddTo(m *stun.Message) error { m.Add(stun.AttrData, d); return nil }

func channelData(b []byte) []byte {
	h := binary.BigEndian.AppendUint16([]byte{0x40, 0x00}, uint16(len(b)))
	return append(h, b...)
}

func TestContents(t *testing.T) {
	peer := message4(t, stun.BindingRequest, stun.NewUsername("a:b"))
	server := message4(t, stun.BindingRequest)
	video := append([]byte{0x80, 0x60}, make([]byte, 40)...)
	for _, tt := range []struct {
		name string
		b    []byte
		want content
	}{
		{"nothing", nil, isOther},
		{"check", peer, isCheck},
		{"asked of a server", server, isGather},
		{"answer", message4(t, stun.BindingSuccess), isOther},
		{"allocation", message4(t, stun.NewType(stun.MethodAllocate, stun.ClassRequest)), isGather},
		{"relayed check", message4(t, stun.NewType(stun.MethodSend, stun.ClassIndication), data(peer)), isCheck},
		{"relayed video", message4(t, stun.NewType(stun.MethodData, stun.ClassIndication), data(video)), isRTP},
		{"indication of nothing", message4(t, stun.NewType(stun.MethodData, stun.ClassIndication)), isOther},
		{"channel with a check", channelData(peer), isCheck},
		{"channel with video", channelData(video), isRTP},
		{"channel within a channel", channelData(channelData(video)), isOther},
		{"video", video, isRTP},
		{"RTCP", append([]byte{0x80, 200}, make([]byte, 20)...), isOther},
		{"DTLS", append([]byte{22, 254, 253}, make([]byte, 20)...), isOther},
	} {
		if got := contentOf(tt.b, true); got != tt.want {
			t.Errorf("%s: content %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestChecksAreCountedUntilAPairIsSelected(t *testing.T) {
	var m Meter
	check := message4(t, stun.BindingRequest, stun.NewUsername("a:b"))
	m.sent(check)
	m.sent(message4(t, stun.BindingRequest))
	m.settle()
	m.sent(check)
	got := m.Traffic()
	if got.Checks != (Count{1, int64(len(check))}) || got.Gather.Packets != 1 || got.Sent.Packets != 3 {
		t.Errorf("%+v", got)
	}
	from := netip.MustParseAddrPort("192.0.2.1:4")
	m.received([]byte{0x80, 0x60, 0}, from)
	m.received(check, netip.MustParseAddrPort("192.0.2.2:4"))
	if got := m.Traffic(); got.Media != from || got.Received.Packets != 2 {
		t.Errorf("%+v", got)
	}
}

func TestMessagesAreFoundInAStream(t *testing.T) {
	request, odd := message4(t, stun.BindingRequest, stun.NewUsername("a:b")), channelData([]byte{0x80, 0x60, 1, 2, 3})
	stream := append(append(append([]byte{}, request...), odd...), 0, 0, 0) // RFC 8656 §12.5: padded to four bytes
	stream = append(stream, request...)
	for step := 1; step <= len(stream); step++ {
		var u unframe
		var got []content
		for at := 0; at < len(stream); at += step {
			u.feed(stream[at:min(at+step, len(stream))], func(m []byte) { got = append(got, contentOf(m, true)) })
		}
		if len(got) != 3 || got[0] != isCheck || got[1] != isRTP || got[2] != isCheck || len(u.buf) != 0 {
			t.Fatalf("%d bytes at a time: %v, %d left", step, got, len(u.buf))
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add([]byte{0x40, 0, 0, 1, 0x80})
	f.Add([]byte{0, 1, 0, 4, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		contentOf(b, true)
		var u unframe
		u.feed(b, func(m []byte) { contentOf(m, true) })
	})
}

func TestPairSaysWhetherItIsRelayed(t *testing.T) {
	server := netip.MustParseAddr("198.51.100.1")
	at := func(typ, addr string) Candidate { return Candidate{Type: typ, Addr: netip.MustParseAddrPort(addr)} }
	home := at("srflx", "203.0.113.1:5000")
	for _, tt := range []struct {
		p    Pair
		want bool
	}{
		{Pair{home, home}, false},
		{Pair{at("relay", "198.51.100.1:5000"), home}, true},
		{Pair{home, at("relay", "198.51.100.1:5000")}, true},
		{Pair{home, at("prflx", "198.51.100.1:5000")}, true}, // learnt from its packets
		{Pair{home, at("prflx", "203.0.113.1:6000")}, false},
	} {
		if got := tt.p.Relayed([]netip.Addr{server}); got != tt.want {
			t.Errorf("%+v is relayed: %v", tt.p, got)
		}
	}
}

func TestCandidateIsRead(t *testing.T) {
	got, err := parseCandidate("candidate:1 1 udp 1694498815 203.0.113.1 5000 typ srflx raddr 0.0.0.0 rport 40000")
	if want := (Candidate{Type: "srflx", Addr: netip.MustParseAddrPort("203.0.113.1:5000")}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, line := range []string{"", "candidate:", "candidate:1 1 udp 1 phone.local 5000 typ host"} {
		if _, err := parseCandidate(line); err == nil {
			t.Errorf("%q is read", line)
		}
	}
}
