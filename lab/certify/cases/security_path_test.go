package cases

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// What an honest camera sends again, as late as may be, is no ciphertext that repeats itself; a cipher that repeats itself is found all the same.
func TestUnrepeated(t *testing.T) {
	const size, number = 1000, 4 // bytes of a datagram, and where its sequence number ends
	noise := rand.NewChaCha8([32]byte{1})
	start := time.Unix(1000, 0)
	datagrams := func(from int, at time.Time) (ps []tape.Packet) { // more than it takes to tell, ten milliseconds one after the other
		for n := range 320 {
			b := make([]byte, size)
			_, _ = noise.Read(b)
			binary.BigEndian.PutUint32(b[:number], uint32(from+n))
			ps = append(ps, tape.Packet{At: at.Add(time.Duration(n) * 10 * time.Millisecond), Out: true, Protocol: packet.ProtocolUDP, Payload: b})
		}
		return ps
	}
	again := func(p tape.Packet, after time.Duration, change func(b []byte) []byte) tape.Packet {
		p.At, p.Payload = p.At.Add(after), change(slices.Clone(p.Payload))
		return p
	}
	whole := func(b []byte) []byte { return b }
	relayed := func(b []byte) []byte { return append([]byte{0x40, 1, size >> 8, size & 0xff}, b...) }
	renumbered := func(b []byte) []byte { b[number-1] ^= 0x80; return b }

	first := datagrams(0, start)
	one, last := first[7], first[len(first)-1]
	next := last.At.Add(100 * time.Millisecond)
	second := datagrams(5000, next)
	for name, c := range map[string]struct {
		sent, before []tape.Packet
		random       bool
	}{
		"each once":                       {first, nil, true},
		"one again at once":               {append(slices.Clone(first), again(one, time.Second, whole)), nil, true},
		"one again after a minute":        {append(slices.Clone(first), again(one, time.Minute, whole)), nil, true},
		"one again by the relay":          {append(slices.Clone(first), again(one, 5*time.Second, relayed)), nil, true},
		"by the relay, and again without": {append(slices.Clone(first), again(one, 5*time.Second, relayed), again(one, 9*time.Second, whole)), nil, true},
		"one under another number":        {append(slices.Clone(first), again(one, 5*time.Second, renumbered)), nil, false},
		"left over from the session before": {
			append([]tape.Packet{again(last, 200*time.Millisecond, whole)}, second...), first, true},
		"the session before once more": {
			append(slices.Clone(second), again(one, time.Minute, whole)), first, false},
	} {
		var bodies []byte
		if c.before != nil {
			bodies = tape.Bodies(unrepeated(c.before, nil))
		}
		bodies = append(bodies, tape.Bodies(unrepeated(c.sent, c.before))...)
		r := tape.Measure(bodies)
		if r.Random != c.random || !c.random && !strings.HasPrefix(r.Why, "repeats") {
			t.Errorf("%s: random %v, %s", name, r.Random, r.Why)
		}
	}
}
