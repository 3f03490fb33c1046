package attack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// oversized is how long a request or a header is that no server has room for, in bytes.
const oversized = 16 << 10

// Garbage is one thing that no client says which is right.
type Garbage struct {
	Kind string
	B    []byte // empty: it says nothing, and holds the connection open
}

// garbageKinds are the sorts of Garbage, in the order in which they are drawn from.
var garbageKinds = []struct {
	name string
	make func(g *garbler) []byte
}{
	{"silence", func(*garbler) []byte { return nil }},
	{"noise", func(g *garbler) []byte { return g.noise(1 + g.draw.IntN(4096)) }},
	{"cut short", func(g *garbler) []byte { b := g.right(); return b[:max(1, g.draw.IntN(len(b)))] }},
	{"changed", func(g *garbler) []byte { return g.changed(bytes.Clone(g.right())) }},
	{"grown", func(g *garbler) []byte { return append(bytes.Clone(g.right()), g.noise(1+g.draw.IntN(2048))...) }},
	{"a request without an end", func(g *garbler) []byte { return []byte("DESCRIBE rtsp://" + strings.Repeat("A", oversized)) }},
	{"an oversized header", func(g *garbler) []byte {
		return g.request("Authorization: Basic " + strings.Repeat("QUFB", oversized/4))
	}},
	{"too many headers", func(g *garbler) []byte { return g.request(strings.Repeat("X-A: b\r\n", oversized/8) + "X: y") }},
	{"a false length", func(g *garbler) []byte {
		lengths := []string{"-1", "2147483647", "4294967297", "18446744073709551615", "0x7fffffff", "1e9"}
		return append(g.request("Content-Length: "+lengths[g.draw.IntN(len(lengths))]), "short"...)
	}},
	{"directives of a format", func(g *garbler) []byte { return g.request("User-Agent: %n%n%s%s%x%p\x00\xff") }},
	{"a false frame", func(g *garbler) []byte { // interleaved data, RFC 2326 §10.12: its length is not what follows
		n := g.draw.IntN(1 << 16)
		return append([]byte{'$', byte(g.draw.Uint32()), byte(n >> 8), byte(n)}, g.noise(g.draw.IntN(64))...)
	}},
}

// garbler makes Garbage, always the same for one draw.
type garbler struct {
	draw *rand.Rand
	said [][]byte // what right clients say
}

// rightful are what clients of cameras begin with, where nobody has been seen to say something.
var rightful = [][]byte{
	[]byte("OPTIONS rtsp://camera/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
	[]byte("DESCRIBE rtsp://camera/ RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n"),
	[]byte("GET / HTTP/1.1\r\nHost: camera\r\n\r\n"),
}

func newGarbler(seed uint64, said [][]byte) *garbler {
	g := &garbler{draw: rand.New(seeded(seed))}
	for _, b := range said {
		if len(b) > 0 {
			g.said = append(g.said, b)
		}
	}
	if len(g.said) == 0 {
		g.said = rightful
	}
	return g
}

// next makes the i-th garbage: of each kind in turn.
func (g *garbler) next(i int) Garbage {
	k := garbageKinds[i%len(garbageKinds)]
	return Garbage{Kind: k.name, B: k.make(g)}
}

func (g *garbler) right() []byte { return g.said[g.draw.IntN(len(g.said))] }

func (g *garbler) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.draw.Uint32())
	}
	return b
}

// changed changes one to eight of a message's bytes.
func (g *garbler) changed(b []byte) []byte {
	for range 1 + g.draw.IntN(8) {
		b[g.draw.IntN(len(b))] ^= byte(1 + g.draw.IntN(255))
	}
	return b
}

// request is one of the text protocols' (RFC 2326, RFC 9112), with a header; its first line is a right client's if that speaks one.
func (g *garbler) request(header string) []byte {
	first := "DESCRIBE rtsp://camera/ RTSP/1.0"
	if line, _, ok := bytes.Cut(g.right(), []byte("\r\n")); ok && len(strings.Fields(string(line))) == 3 {
		first = string(line)
	}
	return fmt.Appendf(nil, "%s\r\nCSeq: 1\r\n%s\r\n\r\n", first, header)
}
