package tape

import (
	"encoding/binary"
	"slices"
	"time"
)

// What is in clear at the ends of a datagram whatever the protocol: a relay's header, RTP's with its extensions, a tag's index.
const (
	clearHead = 64
	clearTail = 20
)

// copied is within what time a body that comes again is the same packet, sent again.
const copied = 2 * time.Second

// Bodies are the bytes of the packets' payloads that are ciphertext if a payload is encrypted, in the order of time: without the first 64
// and the last 20 of a datagram, of a TLS record and of a framed datagram (RFC 4571) in TCP, where protocols have clear headers; without TLS
// records that carry no data; and without what was sent again within two seconds. A datagram without more than that has no body.
//
// Give it what one host sent from one mark to another in mid-stream, such as From(camera), Media: a handshake is not all encrypted, and
// what an attacker changed on the way is no copy.
func Bodies(ps []Packet) []byte {
	c := collector{seen: map[string]time.Time{}}
	streams := map[flowKey]*stream{}
	var order []*stream
	for _, p := range byTime(ps) {
		switch {
		case UDP(&p) && !p.Fragment:
			c.add(p.At, p.Payload)
		case TCP(&p) && !p.Fragment && len(p.Payload) > 0:
			k := keyOf(&p)
			if streams[k] == nil {
				streams[k] = &stream{}
				order = append(order, streams[k])
			}
			streams[k].add(&p)
		}
	}
	for _, s := range order {
		s.bodies(&c)
	}
	return c.out
}

// collector gathers bodies.
type collector struct {
	out  []byte
	seen map[string]time.Time // a body's end, and when it was last sent
}

// add takes the body of a datagram.
func (c *collector) add(at time.Time, b []byte) {
	if len(b) <= clearHead+clearTail {
		return
	}
	b = b[clearHead : len(b)-clearTail]
	// By their ends, as the same packet may have had a relay's header the other time, or not.
	const mark = 32
	end := string(b[max(0, len(b)-mark):])
	last, again := c.seen[end]
	c.seen[end] = at
	if again && at.Sub(last) <= copied {
		return
	}
	c.out = append(c.out, b...)
}

// stream is one direction of a TCP connection, as far as its segments have been seen.
type stream struct {
	at       time.Time
	segments []segment
}

type segment struct {
	seq uint32
	b   []byte
}

func (s *stream) add(p *Packet) {
	if len(s.segments) == 0 {
		s.at = p.At
	}
	s.segments = append(s.segments, segment{p.Seq, p.Payload})
}

// runs puts the segments together, each byte once; a new run begins where some are missing.
func (s *stream) runs() (runs [][]byte) {
	base := s.segments[0].seq
	slices.SortStableFunc(s.segments, func(a, b segment) int { return int(int32(a.seq-base)) - int(int32(b.seq-base)) })
	next := s.segments[0].seq
	for i, g := range s.segments {
		switch over := int(int32(next - g.seq)); {
		case i == 0 || over < 0:
			runs = append(runs, nil)
		case over >= len(g.b):
			continue
		default:
			g = segment{next, g.b[over:]}
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], g.b...)
		next = g.seq + uint32(len(g.b))
	}
	return runs
}

// bodies finds the framing of each run, whose beginning may be in the middle of a frame.
func (s *stream) bodies(c *collector) {
	for _, run := range s.runs() {
		for _, f := range []framing{tls, rfc4571} {
			at := f.start(run)
			if at < 0 {
				continue
			}
			c.add(s.at, run[:at])
			run = f.split(run[at:], func(data []byte) { c.add(s.at, data) })
			break
		}
		c.add(s.at, run) // all of it, or what is behind the last frame
	}
}

// framing is how a stream is divided.
type framing struct {
	header int                     // bytes before the contents
	length func(header []byte) int // of the contents, the longest being max; zero: this is no header
	wanted func(header []byte) bool
	max    int
	chain  int // headers, each at the end of the other's contents, that are no chance
}

// tls is that of TLS (RFC 8446 §5.1).
var tls = framing{
	header: 5, max: 1<<14 + 256, chain: 3,
	length: func(h []byte) int {
		if h[0] < 20 || h[0] > 24 || h[1] != 3 || h[2] > 4 {
			return 0
		}
		return int(binary.BigEndian.Uint16(h[3:]))
	},
	wanted: func(h []byte) bool { return h[0] == 23 }, // application data
}

// rfc4571 is that of datagrams behind their lengths (RFC 4571 §2), none longer than Ethernet's.
var rfc4571 = framing{
	header: 2, max: 1500, chain: 6,
	length: func(h []byte) int { return int(binary.BigEndian.Uint16(h)) },
	wanted: func([]byte) bool { return true },
}

// frame is how long the frame is that b begins with; false: it begins with none.
func (f *framing) frame(b []byte) (n int, ok bool) {
	if len(b) < f.header {
		return 0, false
	}
	n = f.length(b)
	return f.header + n, n > 0 && n <= f.max
}

// start is where the frames begin; -1: it has none.
func (f *framing) start(run []byte) int {
	for at := 0; at < len(run) && at <= f.header+f.max; at++ {
		b, found := run[at:], 0
		for n, ok := f.frame(b); ok && found < f.chain; n, ok = f.frame(b) {
			b = b[min(n, len(b)):]
			found++
		}
		if found == f.chain || at == 0 && found > 0 && len(b) < f.header {
			return at
		}
	}
	return -1
}

// split tells the contents of the frames up to the first that is none, and returns it and what is behind it.
func (f *framing) split(run []byte, tell func(data []byte)) (rest []byte) {
	for {
		n, ok := f.frame(run)
		if !ok {
			return run
		}
		n = min(n, len(run))
		if f.wanted(run) {
			tell(run[f.header:n])
		}
		run = run[n:]
	}
}
