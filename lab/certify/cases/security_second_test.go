package cases

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// RFC 2617 §3.5 has an example of Digest authentication, and RFC 7616 §3.9.1 one by each hash.
func TestDigest(t *testing.T) {
	for name, c := range map[string]struct {
		part                                  map[string]string
		ours, target, user, password, respond string
	}{
		"RFC 2617": {
			map[string]string{"realm": "testrealm@host.com", "qop": "auth,auth-int", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
				"opaque": "5ccc069c403ebaf9f0171e9517f40e41"},
			"0a4f113b", "/dir/index.html", "Mufasa", "Circle Of Life", "6629fae49393a05397450978507c4ef1",
		},
		"RFC 7616, SHA-256": {
			map[string]string{"realm": "http-auth@example.org", "qop": "auth, auth-int", "algorithm": "SHA-256",
				"nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"},
			"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html", "Mufasa", "Circle of Life",
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		},
	} {
		got := digestProof(c.part, c.ours, "GET", c.target, c.user, c.password)
		if !strings.Contains(got, `response="`+c.respond+`"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	challenge := `Digest realm="a, b", nonce="n", qop="auth", algorithm=MD5`
	if got, ok := authorization([]string{"Negotiate", challenge}, "GET", "/", "u", "p"); !ok || !strings.Contains(got, `realm="a, b"`) {
		t.Errorf("%v: %s", ok, got)
	}
	if _, ok := authorization([]string{"Negotiate"}, "GET", "/", "u", "p"); ok {
		t.Error("a challenge of another kind was answered")
	}
}

// Each trick is another request than the owner's, and no guess is right; the case asks for 50 tries.
func TestTricks(t *testing.T) {
	w := wayIn{User: "admin", Password: "x"}
	seen := map[string]bool{}
	for _, k := range tricksOf(w) {
		what := strings.Join(k.headers, "\n") + k.user + ":" + k.password
		if k.target != nil {
			what += k.target("/name?a=b")
		}
		if k.method != nil {
			what += k.method("PUT")
		}
		if what == ":" && k.name != "without credentials" && !k.ordered {
			t.Errorf("%s: nothing is tried", k.name)
		}
		if k.user == w.User && k.password == w.Password {
			t.Errorf("%s: the right credentials", k.name)
		}
		if seen[what+k.name] {
			t.Errorf("%s: twice", k.name)
		}
		seen[what+k.name] = true
	}
	if 2*len(seen) < 50 {
		t.Errorf("%d tricks", len(seen))
	}
}

func TestPlace(t *testing.T) {
	if at, target, err := place("http://192.168.1.2/a?b"); err != nil || at != "192.168.1.2:80" || target != "/a?b" {
		t.Errorf("%s %s %v", at, target, err)
	}
	for _, bad := range []string{"", "192.168.1.2", "https://192.168.1.2/", "http:///x", "http://[::1"} {
		if _, _, err := place(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// What is malformed is never what it was made of, and fits a packet.
func TestMalform(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	real := bytes.Repeat([]byte("real"), 300)
	lengths := map[bool]int{}
	for range 2000 {
		b := malform(draw, real)
		if bytes.Equal(b, real) || len(b) > longestUp {
			t.Fatalf("%d bytes, the same %v", len(b), bytes.Equal(b, real))
		}
		lengths[len(b) < 24]++
	}
	if lengths[true] < 100 || lengths[false] < 100 {
		t.Errorf("short and long: %v", lengths)
	}
	if !bytes.Equal(real, bytes.Repeat([]byte("real"), 300)) {
		t.Error("the real one was changed")
	}
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A relayed datagram comes from the relay, one that a NAT translated from whom it says, and what nobody sent from nobody.
func TestPassages(t *testing.T) {
	now := time.Unix(1000, 0)
	udp := func(host string, out bool, src, dst, b string) tape.Packet {
		now = now.Add(time.Millisecond)
		return tape.Packet{At: now, Host: host, Out: out, Protocol: packet.ProtocolUDP, Src: at(src), Dst: at(dst), Payload: []byte(b)}
	}
	ps := []tape.Packet{
		udp("camera", true, "192.168.1.2:5", "198.51.100.1:4479", "by the relay"),
		udp("relay", false, "203.0.113.1:5", "198.51.100.1:4479", "by the relay"),
		udp("relay", true, "198.51.100.1:4479", "203.0.113.33:7", "by the relay"),
		udp("viewer", false, "198.51.100.1:4479", "192.168.2.2:7", "by the relay"),
		udp("viewer", true, "192.168.2.2:7", "203.0.113.1:5", "direct"),
		udp("camera", false, "203.0.113.33:7", "192.168.1.2:5", "direct"),
		udp("camera", false, "203.0.113.99:7", "192.168.1.2:5", "forged"),
		udp("camera", true, "192.168.1.2:5", "239.255.255.250:1900", "to all"),
		udp("viewer", false, "192.168.1.2:5", "239.255.255.250:1900", "to all"),
	}
	got := map[hop]int{}
	for _, p := range passages(ps) {
		got[p.hop] = len(p.said)
	}
	want := map[hop]int{
		{"camera", "relay", at("203.0.113.1:5"), at("198.51.100.1:4479")}:  1,
		{"relay", "viewer", at("198.51.100.1:4479"), at("203.0.113.33:7")}: 1,
		{"viewer", "camera", at("203.0.113.33:7"), at("203.0.113.1:5")}:    1,
	}
	for h := range want {
		if got[h] != 1 {
			t.Errorf("missing: %+v", h)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%+v", got)
	}
}

// Of a connection each segment is told once, in order, and of those alone that the host opened to whom is asked for.
func TestConnections(t *testing.T) {
	server := netip.MustParseAddr("198.51.100.1")
	tcp := func(out bool, dst string, flags uint8, seq uint32, b string) tape.Packet {
		return tape.Packet{Host: "camera", Out: out, Protocol: packet.ProtocolTCP, Src: at("192.168.1.2:9"), Dst: at(dst), Flags: flags, Seq: seq,
			Payload: []byte(b)}
	}
	got := connectionsOf([]tape.Packet{
		tcp(true, "198.51.100.1:80", packet.ACK, 1, "before it was opened"),
		tcp(true, "198.51.100.1:443", packet.SYN, 1, ""),
		tcp(true, "198.51.100.1:443", packet.ACK, 2, "one"),
		tcp(true, "198.51.100.1:443", packet.ACK, 2, "one"),
		tcp(true, "198.51.100.1:443", packet.ACK, 5, "two"),
		tcp(true, "203.0.113.33:443", packet.SYN, 1, ""),
		tcp(true, "203.0.113.33:443", packet.ACK, 2, "to another"),
		tcp(true, "198.51.100.1:4480", packet.SYN, 1, ""),
	}, []netip.Addr{server})
	if len(got) != 1 || got[0].host != "camera" || got[0].to != at("198.51.100.1:443") || string(bytes.Join(got[0].said, []byte(","))) != "one,two" {
		t.Errorf("%+v", got)
	}
}

// A refusal by ICMP names the port; anything shorter, or of another kind, none.
func TestRefused(t *testing.T) {
	about := packet.AppendUDP(nil, at("192.168.1.3:61616"), at("192.168.1.2:9999"), []byte("x"))
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about...)
	if port, ok := refused(icmp); !ok || port != 9999 {
		t.Errorf("%d %v", port, ok)
	}
	for n := range 8 + packet.IPv4HeaderLen + 4 {
		if _, ok := refused(icmp[:n]); ok {
			t.Errorf("%d bytes were read", n)
		}
	}
	icmp[1] = 1
	if _, ok := refused(icmp); ok {
		t.Error("an unreachable host was taken for a port")
	}
}

// A captured message counts as a try of SEC-3 only where somebody could have let in who sent it: not if there was nowhere to send it to, a NAT
// dropped it, its port was closed, or has never said a word.
func TestDelivered(t *testing.T) {
	attacker := netip.MustParseAddr("198.51.100.66")
	messages := [][]byte{[]byte("one"), []byte("two"), []byte("three")}
	came := func(host, from, to, b string) tape.Packet {
		return tape.Packet{Host: host, Protocol: packet.ProtocolUDP, Src: at(from), Dst: at(to), Payload: []byte(b)}
	}
	sent := func(from, to, b string) tape.Packet {
		p := came("off-path", from, to, b)
		p.Out = true
		return p
	}
	answer := func(host, from string) tape.Packet {
		return tape.Packet{Host: host, Out: true, Protocol: packet.ProtocolUDP, Src: at(from), Dst: at("203.0.113.1:5"), Payload: []byte("yes")}
	}
	spoken := doorsOf([]tape.Packet{answer("rendezvous", "198.51.100.1:4478"), answer("camera", "192.168.1.2:5"), answer("relay", "198.51.100.2:9")})
	refusal := tape.Packet{
		Host: "relay", Out: true, Protocol: packet.ProtocolICMP, Src: at("198.51.100.2:0"), Dst: at("198.51.100.66:0"),
		Payload: append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, packet.AppendUDP(nil, at("198.51.100.66:7"), at("198.51.100.2:9"), []byte("one"))...),
	}
	for name, c := range map[string]struct {
		ps   []tape.Packet
		want int
	}{
		"nowhere to send it to": {nil, 0},
		"dropped by a NAT":      {[]tape.Packet{sent("198.51.100.66:7", "203.0.113.1:5", "one")}, 0},
		"to a server, one twice": {[]tape.Packet{
			came("rendezvous", "198.51.100.66:7", "198.51.100.1:4478", "one"), came("rendezvous", "198.51.100.66:7", "198.51.100.1:4478", "one"),
			came("rendezvous", "198.51.100.66:7", "198.51.100.1:4478", "two")}, 2},
		"to the camera behind its NAT":   {[]tape.Packet{came("camera", "198.51.100.66:7", "192.168.1.2:5", "three")}, 1},
		"by somebody else":               {[]tape.Packet{came("rendezvous", "203.0.113.1:7", "198.51.100.1:4478", "one")}, 0},
		"to a port that said nothing":    {[]tape.Packet{came("rendezvous", "198.51.100.66:7", "198.51.100.1:9999", "one")}, 0},
		"to one that is closed by now":   {[]tape.Packet{came("relay", "198.51.100.66:7", "198.51.100.2:9", "one"), refusal}, 0},
		"to another beside a closed one": {[]tape.Packet{came("camera", "198.51.100.66:7", "192.168.1.2:5", "one"), refusal}, 1},
	} {
		if got := delivered(c.ps, spoken, []netip.Addr{attacker}, messages); got != c.want {
			t.Errorf("%s: %d tries, want %d", name, got, c.want)
		}
	}
}

// A relay is asked where it listens: a connection was taken, or a datagram came and was not refused. All else is no try of SEC-5.
func TestOpenDoors(t *testing.T) {
	ps := func(out bool, protocol, flags uint8, from, to string, b []byte) tape.Packet {
		return tape.Packet{Host: "relay", Out: out, Protocol: protocol, Flags: flags, Src: at(from), Dst: at(to), Payload: b}
	}
	const viewer, relay = "203.0.113.33:7", "198.51.100.2"
	refusal := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, packet.AppendUDP(nil, at(viewer), at(relay+":3478"), []byte("x"))...)
	tcp, udp := openDoors([]tape.Packet{
		ps(false, packet.ProtocolTCP, packet.SYN, viewer, relay+":443", nil),
		ps(true, packet.ProtocolTCP, packet.SYN|packet.ACK, relay+":443", viewer, nil),
		ps(false, packet.ProtocolTCP, packet.SYN, viewer, relay+":1080", nil),
		ps(true, packet.ProtocolTCP, packet.RST|packet.ACK, relay+":1080", viewer, nil),
		ps(false, packet.ProtocolTCP, packet.SYN, viewer, relay+":3128", nil),
		ps(true, packet.ProtocolTCP, packet.SYN, relay+":8080", viewer, nil),
		ps(false, packet.ProtocolUDP, 0, viewer, relay+":4479", []byte("x")),
		ps(false, packet.ProtocolUDP, 0, viewer, relay+":3478", []byte("x")),
		ps(true, packet.ProtocolICMP, 0, relay+":0", "203.0.113.33:0", refusal),
		ps(true, packet.ProtocolUDP, 0, relay+":5353", viewer, []byte("x")),
	})
	if len(tcp) != 1 || !tcp[443] || len(udp) != 1 || !udp[4479] {
		t.Errorf("open: TCP %v, UDP %v", tcp, udp)
	}
	asked := plea{tcp: true, port: 443}
	granted := plea{port: 3478, yes: true} // whatever its system says
	put := []plea{asked, {tcp: true, port: 1080}, {tcp: true, port: 4479}, {port: 443}, {port: 3478}, {port: 4479}, granted}
	if got, want := atDoors(put, tcp, udp), []plea{asked, {port: 4479}, granted}; !slices.Equal(got, want) {
		t.Errorf("tries: %v, want %v", got, want)
	}
}

// A scan is in mid-stream if media came from its beginning to its end, with pauses that a stream has.
func TestSilent(t *testing.T) {
	t0 := time.Unix(1000, 0)
	media := func(from, to int) (ps []tape.Packet) { // one a second
		for n := from; n < to; n++ {
			ps = append(ps, tape.Packet{At: t0.Add(time.Duration(n) * time.Second)})
		}
		return ps
	}
	for name, c := range map[string]struct {
		media   []tape.Packet
		seconds int
		why     string
	}{
		"all the time":            {media(0, 60), 60, ""},
		"with a pause":            {append(media(0, 20), media(28, 60)...), 60, ""},
		"a short scan":            {media(0, 1), 2, ""},
		"none":                    {nil, 60, "no media came to the viewer in its 1m0s"},
		"none in a short one":     {nil, 2, "no media came to the viewer in its 2s"},
		"from the middle on":      {media(30, 60), 60, "for 30s, from 0s after its beginning, no media came to the viewer"},
		"up to the middle":        {media(0, 31), 60, "for 30s, from 30s after its beginning, no media came to the viewer"},
		"not for half the minute": {append(media(0, 16), media(45, 60)...), 60, "for 30s, from 15s after its beginning, no media came to the viewer"},
	} {
		if why := silent(c.media, t0, t0.Add(time.Duration(c.seconds)*time.Second)); why != c.why {
			t.Errorf("%s: %q, want %q", name, why, c.why)
		}
	}
}

// Every probe says something, each its own.
func TestProbes(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range probes() {
		if p.name == "" || len(p.b) == 0 || seen[string(p.b)] {
			t.Errorf("%v: %d bytes, seen %v", p, len(p.b), seen[string(p.b)])
		}
		seen[string(p.b)] = true
	}
	if got := autokey("{}"); !bytes.Equal(got, []byte{'{' ^ 171, '}' ^ '{' ^ 171}) {
		t.Errorf("% x", got)
	}
	if got := dnsQuestion("a.bc", 12, 1); !bytes.Equal(got[12:], []byte("\x01a\x02bc\x00\x00\x0c\x00\x01")) {
		t.Errorf("% x", got)
	}
}
