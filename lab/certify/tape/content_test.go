package tape_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// clip is H.264, four seconds of it, made by x264.
func clip(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../../impl/media/clip.h264")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ctr is the output of AES in counter mode.
func ctr(seed uint64, plain []byte) []byte {
	key := binary.LittleEndian.AppendUint64(make([]byte, 8), seed)
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	b := make([]byte, len(plain))
	cipher.NewCTR(c, make([]byte, aes.BlockSize)).XORKeyStream(b, plain)
	return b
}

func xor(b []byte, key ...byte) []byte {
	b = slices.Clone(b)
	for i := range b {
		b[i] ^= key[i%len(key)]
	}
	return b
}

func TestRandom(t *testing.T) {
	const n = tape.RandomBytes
	h264 := clip(t)
	text := []byte(strings.Repeat("the camera's name is front door, and nobody is at home. ", n/50))
	noise := ctr(1, make([]byte, 2*n))
	counters := make([]byte, n)
	for i := range counters {
		counters[i] = byte(i)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		why  string // empty: it is random
	}{
		{"AES-CTR of zeros", noise[:n], ""},
		{"AES-CTR of H.264", ctr(3, h264[:n]), ""},
		{"too little of it", noise[:n-1], "262143 bytes say nothing: it takes 262144"},
		{"nothing", nil, "0 bytes say nothing"},
		{"H.264", h264[:n], "frequencies"},
		{"H.264 under a byte", xor(h264[:n], 0x5a), "frequencies"},
		{"H.264 under sixteen bytes", xor(h264[:n], noise[:16]...), "frequencies"},
		{"repeated text", text[:n], "frequencies"},
		{"text under 48 bytes", xor(text[:n], noise[:48]...), "frequencies"},
		{"each thirtieth byte that of seven before", echo(noise[:n]), "coincidences"},
		{"counters", counters, "differences"},
		{"what comes again", append(slices.Clone(noise[:n-100]), noise[1000:1100]...), "repeats"},
		{"a marker in each kilobyte", mark(noise[:n]), "triples"},
		{"a few zeros in each packet", stamp(noise, 0), "frequencies"},
	} {
		r := tape.Measure(tt.b)
		if r.Random != (tt.why == "") || r.N != len(tt.b) || !strings.HasPrefix(r.Why, tt.why) {
			t.Errorf("%s: %+v, want it told by %q", tt.name, r, tt.why)
		}
	}
}

// mark puts three bytes into each kilobyte.
func mark(b []byte) []byte {
	b = slices.Clone(b)
	for i := 0; i+1024 <= len(b); i += 10240 {
		copy(b[i+i%1000:], "\x17\x03\x03")
	}
	return b
}

// echo makes some bytes those of seven before.
func echo(b []byte) []byte {
	b = slices.Clone(b)
	for i := 7; i < len(b); i += 30 {
		b[i] = b[i-7]
	}
	return b
}

// stamp sets four bytes of each kilobyte.
func stamp(b []byte, v byte) []byte {
	b = slices.Clone(b)
	for i := 0; i+1024 <= len(b); i += 1024 {
		copy(b[i:], []byte{v, v, v, v})
	}
	return b
}

// Random bytes give p values as they should be: none near the level, and some of them small.
func TestRandomFalseAlarms(t *testing.T) {
	src := rand.NewChaCha8([32]byte{7})
	b := make([]byte, 16<<10)
	least := 1.0
	for range 30 {
		_, _ = src.Read(b)
		least = min(least, tape.Measure(b).P)
	}
	if least < 1e-4 {
		t.Errorf("of 30 tries with random bytes one has p = %v", least)
	}
	if least > 0.5 {
		t.Errorf("no p of 30 is below %v: the tests see nothing", least)
	}
}

// sent is what the camera sent, a payload every 10 ms.
func sent(payloads ...[]byte) (ps []tape.Packet) {
	for i, b := range payloads {
		ps = append(ps, tape.Packet{
			At: at(time.Duration(i) * 10 * time.Millisecond), Host: "camera", Out: true, Protocol: packet.ProtocolUDP, Src: cam, Dst: far,
			Size: 28 + len(b), Payload: b,
		})
	}
	return ps
}

// datagrams cuts a stream into what SRTP would send, each behind a header in clear and before a tag.
func datagrams(b []byte) (all [][]byte) {
	for i, part := range slices.Collect(slices.Chunk(b, 1100)) {
		head := fmt.Appendf(nil, "\x90\xe0%c%c same time, same source, same extension       ", i>>8, i)
		all = append(all, slices.Concat(head, part, []byte("sixteen bytes...")))
	}
	return all
}

// stream makes segments of a stream, of which every seventh comes twice and every fifth after its successor.
func stream(b []byte) (ps []tape.Packet) {
	seq := uint32(1<<32 - 5000)
	for i, part := range slices.Collect(slices.Chunk(b, 1400)) {
		p := tape.Packet{
			At: at(time.Duration(i) * time.Millisecond), Host: "camera", Out: true, Protocol: packet.ProtocolTCP, Src: cam, Dst: far,
			Seq: seq, Payload: part,
		}
		seq += uint32(len(part))
		if i%7 == 0 {
			ps = append(ps, p)
		}
		if i%5 == 0 {
			p.At = p.At.Add(1500 * time.Microsecond)
		}
		ps = append(ps, p)
	}
	return ps
}

// records are TLS's, after a handshake in clear.
func records(b []byte) (out []byte) {
	for range 20 {
		out = append(out, "\x16\x03\x03\x00\x20 a handshake is in clear, at first"[:37]...)
	}
	for part := range slices.Chunk(b, 700) {
		out = append(append(binary.BigEndian.AppendUint16(append(out, 23, 3, 3), uint16(8+len(part))), 0, 0, 0, 0, 0, 0, 0, 1), part...)
	}
	return out
}

func frames(b []byte) (out []byte) {
	for _, d := range datagrams(b) {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(d))), d...)
	}
	return out
}

// What protocols leave in clear makes no stream look other than its contents do.
func TestBodies(t *testing.T) {
	h264 := clip(t)[:300_000]
	cipher := ctr(5, h264)
	twice := func(all [][]byte) (out [][]byte) {
		for i, b := range all {
			out = append(out, b)
			if i%9 == 8 {
				out = append(out, append([]byte("\x40\x00by relay"), all[i-5]...))
			}
		}
		return out
	}
	late := sent(datagrams(cipher)...)
	for i, p := range sent(datagrams(cipher[:2200])...) {
		p.At = p.At.Add(time.Minute)
		p.Payload = append([]byte(nil), p.Payload...)
		p.Payload[3] ^= byte(i) // another sequence number
		late = append(late, p)
	}
	for _, tt := range []struct {
		name   string
		ps     []tape.Packet
		random bool
		least  int
	}{
		{"SRTP of a kind", sent(datagrams(cipher)...), true, len(cipher) * 9 / 10},
		{"the same in clear", sent(datagrams(h264)...), false, len(h264) * 9 / 10},
		{"some of it sent twice, by a relay the other time", sent(twice(datagrams(cipher))...), true, len(cipher) * 9 / 10},
		{"some of it sent again a minute later", late, false, 250_000},
		{"TLS", stream(records(cipher)), true, len(cipher) * 3 / 4},
		{"TLS from the middle of a record on", stream(records(cipher)[3_000:]), true, len(cipher) * 3 / 4},
		{"TLS that ends in clear", stream(append(records(cipher), h264...)), false, len(cipher) / 2},
		{"no TLS at all", stream(h264), false, len(h264) * 9 / 10},
		{"frames in TCP", stream(frames(cipher)), true, len(cipher) * 9 / 10},
		{"frames in TCP, in clear", stream(frames(h264)), false, len(h264) * 9 / 10},
		{"frames from the middle of one on", stream(frames(cipher)[500:]), true, len(cipher) * 9 / 10},
		{"small packets", sent(slices.Collect(slices.Chunk(h264, 84))...), false, 0},
	} {
		b := tape.Bodies(tt.ps)
		if r := tape.Measure(b); r.Random != tt.random || r.N < tt.least || tt.least == 0 && r.N > 0 || r.N > 2*len(h264) {
			t.Errorf("%s: of %d packets %+v", tt.name, len(tt.ps), r)
		}
	}
}

func TestFind(t *testing.T) {
	noise := ctr(9, make([]byte, 5000))
	h264 := clip(t)
	frame := h264[100_000:110_000]
	secrets := append(tape.Slices("frame", frame, 48, 20), tape.Secret{Name: "uid", Bytes: []byte("PLAB-7F3KQ")},
		tape.Secret{Name: "password", Bytes: []byte("Tr0ub4d&")}, tape.Secret{Name: "key", Bytes: noise[4000:4048]})
	if len(secrets) != 23 {
		t.Fatalf("%d slices of a frame", len(secrets)-3)
	}
	back := slices.Clone(frame)
	slices.Reverse(back)
	key16 := noise[3000:3016]
	in := func(b []byte) []byte { return slices.Concat(noise[:33], b, noise[100:177]) }
	for _, tt := range []struct {
		name    string
		payload []byte
		want    string // secret, how and offset; "more": and nineteen slices beside
	}{
		{"nothing", noise[:2000], ""},
		{"media", in(frame), "frame @0, plain, 33 more"},
		{"media under a byte", in(xor(frame, 0xa5)), "frame @0, plain, xor a5, 33 more"},
		{"media under three bytes", in(xor(frame, 1, 2, 3)), "frame @0, plain, xor 010203, 33 more"},
		{"media under sixteen bytes", in(xor(frame, key16...)), "frame @0, plain, xor " + hex.EncodeToString(key16) + ", 33 more"},
		{"media under seventeen bytes", in(xor(frame, noise[3000:3017]...)), ""},
		{"media, encrypted", in(ctr(1, frame)), ""},
		{"media, reversed", in(back), "frame @9500, reversed, 485 more"},
		{"media, reversed under a byte", in(xor(back, 7)), "frame @9500, reversed, xor 07, 485 more"},
		{"uid", in([]byte("uid=PLAB-7F3KQ&")), "uid, plain, 37"},
		{"uid in base64", in([]byte(base64.StdEncoding.EncodeToString([]byte("PLAB-7F3KQ")))), "uid, base64, 33"},
		{"uid in the middle of base64", in([]byte(base64.URLEncoding.EncodeToString([]byte("xPLAB-7F3KQ??")))), "uid, base64, 37"},
		{"uid in the middle of base64, again", in([]byte(base64.URLEncoding.EncodeToString([]byte("xyPLAB-7F3KQ??")))), "uid, base64, 37"},
		{"uid in hex", in([]byte("504c41422d3746334b51")), "uid, hex, 33"},
		{"uid in HEX under a byte", in(xor([]byte("504C41422D3746334B51"), 9)), "uid, hex, xor 09, 33"},
		{"another uid", in([]byte("uid=PLAB-7F3KR&")), ""},
		{"password", []byte("Tr0ub4d&"), "password, plain, 0"},
		{"password cut off", []byte("Tr0ub4d"), ""},
		{"key", noise, "key, plain, 4000"},
		{"key but for a bit", in(append(slices.Clone(noise[4000:4047]), noise[4047]^1)), ""},
	} {
		hits, err := tape.Find(sent(nil, noise[:100], tt.payload), secrets...)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(hits) > 0 {
			h := hits[0]
			got = fmt.Sprintf("%s, %s, %d", h.Secret, h.How, h.Offset)
			if h.Packet != 2 || h.Host != "camera" || !h.At.Equal(at(20*time.Millisecond)) {
				t.Errorf("%s: %+v", tt.name, h)
			}
		}
		if len(hits) == 20 {
			got += " more"
		} else if len(hits) > 1 {
			t.Errorf("%s: %d hits", tt.name, len(hits))
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, b := range []string{"", "short77", "aaaaaaaabbbbccccc"} {
		if _, err := tape.Find(nil, tape.Secret{Name: "s", Bytes: []byte(b)}); err == nil {
			t.Errorf("%q was looked for", b)
		}
	}
}

// Slices leave out what says nothing.
func TestSlices(t *testing.T) {
	data := slices.Concat(make([]byte, 1000), []byte("0123456789abcdefghijklmnopqrstuvwxyz"), make([]byte, 1000))
	got := tape.Slices("f", data, 16, 4)
	if len(got) != 1 || got[0].Name != "f @1018" || !bytes.Contains(data, got[0].Bytes) || len(got[0].Bytes) != 16 {
		t.Errorf("%q", got)
	}
}
