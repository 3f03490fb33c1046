package cases

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		a, b        string
		least, most float64
		fixed       int
	}{
		{"VFFT62W5KWMP1559AD6WSD6XG2R1", "6MB0JRKQJ1KP8T14MYQCCAQMRC8Y", 130, 140, 0},
		{"0000000000000000000000QGV68J", "0000000000000000000000F0Z2N7", 30, 30, 22},
		{"1034560001", "1034560002", 0, 4, 9},
		{"9f86d081884c7d659a2feaa0c55ad015", "1b4f0e9851971998e732078544c96b36", 120, 128, 0},
		{"ACME-1a", "ACME-1b", 0, 7, 6},
	} {
		bits, fixed := room(tt.a, tt.b)
		if bits < tt.least || bits > tt.most || fixed != tt.fixed {
			t.Errorf("%s and %s: 2^%.0f, %d are fixed", tt.a, tt.b, bits, fixed)
		}
	}
	for text, want := range map[string]int{"0123": 10, "09af": 16, "09AF": 16, "AbCd12": 62, "XYZ1": 32, "aF": 62} {
		if got := alphabetOf(text); got != want {
			t.Errorf("%s is of %d symbols, not %d", text, got, want)
		}
	}
}

// Identifiers that are made by the usual rules are found out.
func TestDerivedIdentifiers(t *testing.T) {
	const mac, serial = "02:11:22:33:44:55", "SN0042137"
	sum := sha256.Sum256([]byte(mac))
	for name, id := range map[string]string{
		"the MAC itself":              "ACME-021122334455-XYZWV",
		"SHA-256 of the MAC":          hex.EncodeToString(sum[:12]),
		"SHA-256 of it, in base32":    crockford.EncodeToString(sum[:16])[:24],
		"the serial number":           "XX" + serial + "ABCDEFGHJKMNPQR",
		"the serial number, reversed": "7312400NS" + "ABCDEFGHJKMNPQR",
	} {
		var u, other unitFacts
		u.MAC, u.Serial, u.UID = mac, serial, id
		u.symbols = plainText(id)
		other.MAC, other.Serial, other.UID = "02:99:88:77:66:55", "SN0099999", "QQQQQQQQQQQQQQQQ"
		if !madeOf(u, other) {
			t.Errorf("%s: %s is not found out", name, id)
		}
	}
	var u unitFacts
	u.MAC, u.Serial, u.UID = mac, serial, "VFFT-62W5-KWMP-1559-AD6W-SD6X-G2R1"
	u.symbols = plainText(u.UID)
	var other unitFacts
	other.MAC, other.Serial, other.UID = "02:99:88:77:66:55", "SN0099999", "6MB0-JRKQ-J1KP-8T14-MYQC-CAQM-RC8Y"
	if madeOf(u, other) {
		t.Error("a random one follows from public facts")
	}
	if gap, ok := apart("1034560001", "1034560007"); !ok || gap.Int64() != 6 {
		t.Errorf("sequential numbers are %v apart", gap)
	}
	if gap, ok := apart("VFFT62W5KWMP1559AD6W", "6MB0JRKQJ1KP8T14MYQC"); !ok || gap.BitLen() < 60 {
		t.Errorf("random ones are %v apart", gap)
	}
}

// madeOf is whether a rule makes a unit's identifier of its facts, or of another's.
func madeOf(u, other unitFacts) bool {
	_, _, found := ruleOf(u, append(u.forms(), other.neighbours()...))
	return found
}

func TestKeylike(t *testing.T) {
	odd, n := 0, 4000
	b := make([]byte, pieceOf)
	for range n {
		_, _ = rand.Read(b)
		if !keylike(b) {
			odd++
		}
	}
	if odd > n/5 {
		t.Errorf("%d of %d random pieces are taken for no keys", odd, n)
	}
	for _, text := range []string{"HTTP/1.1 200 OK\r", "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04", "\x00\x00\x02\x80\x22\x00Xpunchlab "} {
		if keylike([]byte(text)[:pieceOf]) {
			t.Errorf("%q is taken for a key", text)
		}
	}
}

// hello is a TLS ClientHello that offers a pre-shared key.
func hello(psk string) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 1, 1, 0) // no session, one cipher suite, no compression
	id := binary.BigEndian.AppendUint16(nil, uint16(len(psk)))
	id = append(append(id, psk...), 0, 0, 0, 0)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(id))), id...)
	extension := append([]byte{0, 41}, binary.BigEndian.AppendUint16(nil, uint16(len(list)))...)
	extension = append(extension, list...)
	body = append(body, binary.BigEndian.AppendUint16(nil, uint16(len(extension)))...)
	return handshake(1, append(body, extension...))
}

func handshake(kind byte, body []byte) []byte {
	return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func certificateMessage(der []byte) []byte {
	one := append([]byte{0, byte(len(der) >> 8), byte(len(der))}, der...)
	return handshake(11, append([]byte{0, byte(len(one) >> 8), byte(len(one))}, one...))
}

func record(body []byte) []byte {
	return append([]byte{22, 3, 3, byte(len(body) >> 8), byte(len(body))}, body...)
}

// What names a unit is read off TLS and DTLS, across segments, and no further than the first encrypted record.
func TestIdentitiesInTLS(t *testing.T) {
	der := bytes.Repeat([]byte("certificate"), 300)
	sum := sha256.Sum256(der)
	cert := hex.EncodeToString(sum[:])
	stream := slices.Concat(record(hello("unit-7")), record(certificateMessage(der)), []byte{20, 3, 3, 0, 1, 1}, record(certificateMessage([]byte("not to be seen"))))
	src, dst := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("198.51.100.1:443")
	segment := func(seq uint32, b []byte) tape.Packet {
		return tape.Packet{Out: true, Protocol: packet.ProtocolTCP, Src: src, Dst: dst, Seq: seq, Payload: b}
	}
	ps := []tape.Packet{segment(5000, stream[:100]), segment(6400, stream[1400:]), segment(5100, stream[100:1400]), segment(5100, stream[100:200])}
	found := identities(ps)
	if len(found) != 2 || found["unit-7"] == "" || found[cert] != "certificate" {
		t.Errorf("TLS: %v", found)
	}
	m := certificateMessage(der[:200])
	whole := slices.Concat(m[:4], []byte{0, 1, 0, 0, 0}, m[1:4], m[4:])
	datagram := slices.Concat([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(whole) >> 8), byte(len(whole))}, whole)
	small := sha256.Sum256(der[:200])
	found = identities([]tape.Packet{{Out: true, Protocol: packet.ProtocolUDP, Src: src, Dst: dst, Payload: datagram}})
	if len(found) != 1 || found[hex.EncodeToString(small[:])] != "certificate" {
		t.Errorf("DTLS: %v", found)
	}
	for n := range len(stream) { // cut anywhere, it is read as far as it goes
		identities([]tape.Packet{segment(1, stream[:n])})
	}
	for n := range len(datagram) {
		identities([]tape.Packet{{Protocol: packet.ProtocolUDP, Src: src, Dst: dst, Payload: datagram[:n]}})
	}
}

// What in a ticket may be a secret is told from where the camera is.
func TestSecretWords(t *testing.T) {
	public := stage.Identity{UID: "CAM-12345678", MAC: "02:11:22:33:44:55"}
	for ticket, want := range map[string][]string{
		"192.0.2.1:8554\n":                       nil,
		"203.0.113.1:554\n203.0.113.1:80":        nil,
		`{"id":"CAM-12345678","pin":"482913"}`:   {"482913"},
		"rtsp://admin:s3cretword@192.0.2.1:554/": {"admin", "s3cretword"},
	} {
		var got []string
		for _, w := range secretWordsIn(nil, []byte(ticket), public) {
			got = append(got, w.text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", ticket, got, want)
		}
	}
}

func TestRTSPReply(t *testing.T) {
	r := rtspReply([]byte("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n\r\nbody"))
	if r.code != 401 || r.header.Get("Www-Authenticate") == "" || r.body != "body" {
		t.Errorf("%+v", r)
	}
	for _, b := range []string{"", "HTTP/1.1 200 OK\r\n\r\n", "RTSP/1.0", "RTSP/1.0 x\r\n"} {
		if r := rtspReply([]byte(b)); r.code != 0 {
			t.Errorf("%q: %+v", b, r)
		}
	}
}

// The time of guesses is that in which one was open: at once it counts once, and what is between two is the lab's own.
func TestOpen(t *testing.T) {
	t0 := time.Unix(1000, 0)
	flow := func(first, last float64) tape.Flow {
		second := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
		return tape.Flow{First: second(first), Last: second(last)}
	}
	for name, c := range map[string]struct {
		flows []tape.Flow
		want  time.Duration
	}{
		"none":                              {nil, 0},
		"one":                               {[]tape.Flow{flow(3, 5)}, 2 * time.Second},
		"one after the other, with a wait":  {[]tape.Flow{flow(0, 1), flow(5, 6), flow(60, 61)}, 3 * time.Second},
		"at once":                           {[]tape.Flow{flow(0, 4), flow(0, 4), flow(1, 2)}, 4 * time.Second},
		"one begins before another is over": {[]tape.Flow{flow(0, 4), flow(3, 9), flow(8, 8.5)}, 9 * time.Second},
		"an answer that comes late":         {[]tape.Flow{flow(0, 30), flow(40, 40.5)}, 30*time.Second + 500*time.Millisecond},
	} {
		if got := open(c.flows); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
