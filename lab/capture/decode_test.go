package capture

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/packet"
)

func TestDatagramsAreClassified(t *testing.T) {
	stun := func(typ uint16) []byte {
		b := make([]byte, 20)
		binary.BigEndian.PutUint16(b, typ)
		binary.BigEndian.PutUint32(b[4:], stunCookie)
		return b
	}
	with := func(typ uint16, attributes ...byte) []byte {
		b := append(stun(typ), attributes...)
		b[3] = byte(len(attributes))
		return b
	}
	low := punchOf(7)
	low[3] = 1
	long := append([]byte{0x40, 1, 0, 5}, 8, 1, 0, 0, 7, 0, 0, 0) // five bytes and three of padding
	rtcp := make([]byte, 20)
	rtcp[0], rtcp[1] = 0x81, 201
	for _, c := range []struct {
		name    string
		payload []byte
		kind    Kind
		detail  string
		relayed bool
	}{
		{"nothing", nil, Other, "", false},
		{"one byte", []byte{8}, Other, "", false},
		{"STUN request", stun(0x0001), STUN, "request", false},
		{"STUN response", stun(0x0101), STUN, "response", false},
		{"STUN error", stun(0x0111), STUN, "error", false},
		{"STUN indication", stun(0x0011), STUN, "indication", false},
		{"CHANGE-REQUEST, port", with(0x0001, 0, 0x03, 0, 4, 0, 0, 0, 2), STUN, "change port", false},
		{"CHANGE-REQUEST behind another", with(0x0001, 0x80, 0x22, 0, 1, 'x', 0, 0, 0, 0, 0x03, 0, 4, 0, 0, 0, 6), STUN, "change address", false},
		{"an attribute cut off", with(0x0001, 0, 0x03, 0, 4, 0, 0), STUN, "request", false},
		{"TURN request", stun(0x0003), STUN, "TURN allocate", false},
		{"TURN error", stun(0x0113), STUN, "TURN allocate error", false},
		{"TURN response", stun(0x0109), STUN, "TURN channel response", false},
		{"TURN send", with(0x0016, append([]byte{0, 0x13, 0, 192}, punchOf(3)...)...), Punch, "3", true},
		{"TURN data without data", with(0x0017, 0, 0x12, 0, 0), STUN, "TURN data indication", false},
		{"no cookie", make([]byte, 20), Other, "", false},
		{"initiation", sized(4, 256), Initiation, "", false},
		{"short initiation", sized(4, 255), Other, "", false},
		{"response", sized(5, 60), Response, "", false},
		{"cookie", sized(6, 64), Cookie, "", false},
		{"sealed", sized(7, 32), Sealed, "", false},
		{"another version", append([]byte{7, 2}, make([]byte, 40)...), Other, "", false},
		{"punch", punchOf(7), Punch, "7", false},
		{"punch with a low TTL", low, Punch, "7, low TTL", false},
		{"long punch", sized(8, 257), Other, "", false},
		{"DTLS", sized(22, 13), DTLS, "", false},
		{"SRTP", mediaOf(1), Media, "", false},
		{"RTCP", rtcp, RTCP, "", false},
		{"relay frame", relayed(mediaOf(1)), Media, "", true},
		{"relay frame of another length", append(relayed(mediaOf(1)), 0), Other, "", false},
		{"relay frame with TURN's padding", long, Other, "", true},
		{"relay frame with too much padding", append(long, 0, 0, 0, 0), Other, "", false},
		{"frame in a frame", relayed(relayed(mediaOf(1))), Other, "", true},
	} {
		var i Info
		i.datagram(c.payload)
		if i.Kind != c.kind || i.Detail != c.detail || i.Relayed != c.relayed {
			t.Errorf("%s: %v %q relayed %v", c.name, i.Kind, i.Detail, i.Relayed)
		}
	}
}

func TestPacketsAreDecoded(t *testing.T) {
	d := newDecoder()
	udp4 := packet.AppendUDP(nil, viewerEnd, rendezvousEnd, punchOf(3))
	udp6 := packet.AppendUDP(nil, ap("[2001:db8::1]:1"), ap("[2001:db8::2]:2"), []byte("hello"))
	syn := tcpSegment(ap("192.168.1.2:40000"), ap("192.0.2.1:443"), 0x02)
	for _, c := range []struct {
		name     string
		b        []byte
		src, dst netip.AddrPort
		kind     Kind
		detail   string
	}{
		{"UDP", udp4, viewerEnd, rendezvousEnd, Punch, "3"},
		{"UDP over IPv6", udp6, ap("[2001:db8::1]:1"), ap("[2001:db8::2]:2"), Other, ""},
		{"TCP", syn, ap("192.168.1.2:40000"), ap("192.0.2.1:443"), TCP, "SYN"},
		{"TCP RST", tcpSegment(ap("192.0.2.1:443"), viewerEnd, 0x14), ap("192.0.2.1:443"), viewerEnd, TCP, "RST"},
		{"too big", packet.AppendError(nil, packet.FragmentationNeeded, viewerWAN, 1280, udp4), ap("203.0.113.1:0"), ap("192.168.1.2:0"), ICMPError, "too big"},
		{"time exceeded", packet.AppendError(nil, packet.TimeExceeded, viewerWAN, 0, udp4), ap("203.0.113.1:0"), ap("192.168.1.2:0"), ICMPError, "time exceeded"},
		{"too big, IPv6", packet.AppendError(nil, packet.FragmentationNeeded, netip.MustParseAddr("2001:db8::9"), 1280, udp6), ap("[2001:db8::9]:0"), ap("[2001:db8::1]:0"), ICMPError, "too big"},
		{"later fragment", fragmentOf(udp4), ap("192.168.1.2:0"), ap("192.0.2.1:0"), Fragment, ""},
		{"cut in the header", udp4[:19], netip.AddrPort{}, netip.AddrPort{}, Other, ""},
		{"nothing", nil, netip.AddrPort{}, netip.AddrPort{}, Other, ""},
	} {
		i := d.decode(c.b, len(c.b))
		if c.src.IsValid() && (i.Src != c.src || i.Dst != c.dst) || i.Kind != c.kind || i.Detail != c.detail || i.Size != len(c.b) {
			t.Errorf("%s: %v→%v %v %q, %d bytes", c.name, i.Src, i.Dst, i.Kind, i.Detail, i.Size)
		}
	}
}

func TestStreamsAreNamed(t *testing.T) {
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	cut := append(frame(sized(7, 60)), frame(mediaOf(1))[:500]...)
	for _, c := range []struct {
		name    string
		port    uint16
		payload []byte
		want    string
	}{
		{"client hello", 443, []byte{22, 3, 1, 2, 0, 1, 0}, "TLS client hello"},
		{"server hello", 8443, []byte{22, 3, 3, 2, 0, 2, 0}, "TLS server hello"},
		{"record", 443, []byte{23, 3, 3, 2, 0, 2, 0}, "TLS data"},
		{"middle of a record", 443, frame(mediaOf(1)), "TLS data"},
		{"frame", 4479, frame(mediaOf(1)), "SRTP"},
		{"frame of the relay", 4479, frame(relayed(punchOf(9))), "relay punch 9"},
		{"frames, the last cut", 4479, cut, "sealed"},
		{"frames and what is none", 4479, append(frame(sized(7, 60)), 0xff, 0xff, 0), "data"},
		{"anything", 4479, []byte("GET / HTTP/1.1"), "data"},
		{"a byte", 4479, []byte{1}, "data"},
	} {
		i := Info{Src: viewerEnd, Dst: netip.AddrPortFrom(rendezvousEnd.Addr(), c.port)}
		if got := i.stream(c.payload); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPacketsAreNamed(t *testing.T) {
	d := newDecoder()
	for want, b := range map[string][]byte{
		"UDP":           packet.AppendUDP(nil, viewerEnd, rendezvousEnd, []byte("hello")),
		"PCP":           packet.AppendUDP(nil, viewerEnd, ap("192.168.1.1:5351"), make([]byte, 60)),
		"SSDP":          packet.AppendUDP(nil, viewerEnd, ap("239.255.255.250:1900"), []byte("M-SEARCH * HTTP/1.1")),
		"relay SRTP":    packet.AppendUDP(nil, viewerEnd, rendezvousEnd, relayed(mediaOf(1))),
		"TCP SYN":       tcpSegment(viewerEnd, rendezvousEnd, 0x02),
		"time exceeded": packet.AppendError(nil, packet.TimeExceeded, viewerWAN, 0, packet.AppendUDP(nil, viewerEnd, rendezvousEnd, nil)),
	} {
		if want == "PCP" {
			b[28] = 2
		}
		i := d.decode(b, len(b))
		if got := i.name(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func tcpSegment(src, dst netip.AddrPort, flags byte) []byte {
	b := packet.AppendUDP(nil, src, dst, make([]byte, 12)) // a header of 20 bytes where UDP's and the payload are
	b[9] = packet.ProtocolTCP
	s := b[packet.IPv4HeaderLen:]
	clear(s[4:])
	s[12], s[13] = 5<<4, flags
	return b
}

func fragmentOf(udp []byte) []byte {
	b := append([]byte(nil), udp...)
	binary.BigEndian.PutUint16(b[6:], 100)
	return b
}

// FuzzDecode: no bytes panic.
func FuzzDecode(f *testing.F) {
	f.Add(packet.AppendUDP(nil, viewerEnd, rendezvousEnd, relayed(mediaOf(1))))
	f.Add(packet.AppendUDP(nil, ap("[2001:db8::1]:1"), ap("[2001:db8::2]:2"), punchOf(1)))
	f.Add(tcpSegment(viewerEnd, rendezvousEnd, 0x12))
	d := newDecoder()
	f.Fuzz(func(t *testing.T, b []byte) {
		if i := d.decode(b, len(b)); i.Kind >= kinds || i.Size != len(b) {
			t.Errorf("%+v", i)
		}
	})
}
