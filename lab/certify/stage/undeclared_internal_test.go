package stage

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

func TestHoldsCamerasToTheirDeclaration(t *testing.T) {
	camera, server, viewer := netip.MustParseAddrPort("192.168.1.2:5000"), netip.MustParseAddrPort("198.51.100.1:9000"), netip.MustParseAddrPort("203.0.113.33:6000")
	talk := func(n int, peer netip.AddrPort, out bool, payload []byte) (ps []tape.Packet) {
		p := tape.Packet{Host: "camera", Out: out, Protocol: packet.ProtocolUDP, Src: peer, Dst: camera, Payload: payload}
		if out {
			p.Src, p.Dst = camera, peer
		}
		return slices.Repeat([]tape.Packet{p}, n)
	}
	small, large := make([]byte, 50), make([]byte, 1000)
	stun := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
	clock := netip.AddrPortFrom(server.Addr(), ntpPort)
	for name, c := range map[string]struct {
		ps   []tape.Packet
		has  certify.Feature
		want string
	}{
		"media to a viewer":      {talk(100, viewer, true, large), "", ""},
		"media to a server":      {talk(100, server, true, large), "", "relay: false, and sent 100 packets"},
		"by a relay":             {talk(100, server, true, large), certify.FeatureRelay, ""},
		"registers":              {slices.Concat(talk(9, server, true, small), talk(1, server, false, small)), "", "registration: false"},
		"registers, and says so": {slices.Concat(talk(9, server, true, small), talk(1, server, false, small)), certify.FeatureRegistration, ""},
		"nobody answers":         {talk(9, server, true, small), "", ""},
		"is asked":               {slices.Concat(talk(1, server, false, small), talk(9, server, true, small)), "", ""},
		"asks for the time":      {slices.Concat(talk(9, clock, true, small), talk(9, clock, false, small)), "", ""},
		"STUN":                   {talk(3, server, true, stun), "", "stun: false, and sent 3"},
		"STUN, and says so":      {talk(3, server, true, stun), certify.FeatureSTUN, ""},
	} {
		d := &certify.Declaration{Features: map[certify.Feature]bool{c.has: true}}
		got := undeclared(d, c.ps, func(h string) bool { return h == "camera" }, []netip.Addr{server.Addr()})
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What a camera says by TCP shows what it has; what a server says to it does not, nor does what a feature allows.
func TestSaysWhatItDoesNotDeclare(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		out  bool
		has  certify.Feature
		want string
	}{
		"a login by RTSP":         {"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", true, "", "password: false"},
		"a login, and says so":    {"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n", true, certify.FeaturePassword, ""},
		"a server's login":        {"HTTP/1.1 401 Unauthorized\r\n\r\n", false, "", ""},
		"a password's page":       {"HTTP/1.1 200 OK\r\n\r\n<html><input name=p type=\"password\">", true, "", "password: false"},
		"an image":                {"GET /fw/acme-4.3.bin HTTP/1.1\r\n\r\n", true, "", `update: false, and asked for an image: "GET /fw/acme-4.3.bin`},
		"an image, and says so":   {"GET /fw/acme-4.3.bin HTTP/1.1\r\n\r\n", true, certify.FeatureUpdate, ""},
		"something else, by HTTP": {"GET /time HTTP/1.1\r\nHost: update.acme\r\n\r\n", true, "", ""},
		"a picture's bytes":       {"\x00\x00\x01 HTTP/1.1 401 Unauthorized", true, "", ""},
	} {
		d := &certify.Declaration{Features: map[certify.Feature]bool{c.has: true}}
		ps := []tape.Packet{{Host: "camera", Out: c.out, Protocol: packet.ProtocolTCP, Payload: []byte(c.says)}}
		got := saysUndeclared(d, ps, func(h string) bool { return h == "camera" })
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A stream at the highest bitrate that may be declared is no flood; where packets are missing, less is one.
func TestWhatIsAFlood(t *testing.T) {
	second := func(bytes, packets int64) tape.Sent { return tape.Sent{PeakBytes: bytes, PeakPackets: packets} }
	for name, c := range map[string]struct {
		sent    tape.Sent
		bitrate int64
		torn    bool
		want    bool
	}{
		"20 Mbit/s, to four viewers":          {second(10_000_000, 10_000), 20_000_000, false, false},
		"the same, and packets are missing":   {second(10_000_000, 10_000), 20_000_000, true, false},
		"as fast as it can":                   {second(100_000_000, 70_000), 20_000_000, false, true},
		"small ones, as fast as it can":       {second(5_000_000, 70_000), 2_000_000, false, true},
		"many, and packets are missing":       {second(5_000_000, 4_000), 2_000_000, true, true},
		"few, and packets are missing":        {second(300_000, 300), 2_000_000, true, false},
		"many small, and packets are missing": {second(600_000, 6_000), 2_000_000, true, true},
	} {
		if got := flooded(c.sent, c.bitrate, c.torn); (got != "") != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
