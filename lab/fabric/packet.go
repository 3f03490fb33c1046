package fabric

import (
	"time"

	"github.com/punchlab/punchlab/lab/link"
)

// Headroom is how many bytes a driver may put before a packet, for the header of the layer below.
const Headroom = 16

// stage is where a packet's next event finds it.
type stage uint8

const (
	atCore stage = iota // has passed the sender's uplink
	atSite              // has passed the receiver's downlink
)

// Packet is an IP packet in a buffer of the pool. It belongs to whoever got it, until it is sent or put back.
type Packet struct {
	// Held is how long the packet may have waited unread before Send. It does not move its due time, as that would
	// let it arrive early when it did not wait, but counts as lateness.
	Held time.Duration

	n      int
	stage  stage
	epoch  uint32 // of the net when the packet was sent; an older one is no longer in flight
	uplink *Uplink
	buf    [Headroom + link.MaxMTU]byte
}

// Bytes is the packet from its IP header on.
func (p *Packet) Bytes() []byte { return p.buf[Headroom : Headroom+p.n] }

// Frame is the packet with room bytes before it, which are the caller's. room is at most Headroom.
func (p *Packet) Frame(room int) []byte { return p.buf[Headroom-room : Headroom+p.n] }

// Buffer is where a driver reads a frame of a layer below into, whose header takes room bytes; SetFrame follows.
func (p *Packet) Buffer(room int) []byte { return p.buf[Headroom-room:] }

// SetFrame tells how many bytes were read into Buffer(room), at least room.
func (p *Packet) SetFrame(room, n int) { p.n = n - room }

// Set copies b, at most link.MaxMTU bytes, into the packet.
func (p *Packet) Set(b []byte) { p.n = copy(p.buf[Headroom:], b) }

// pool keeps packets that are not in use.
type pool struct {
	free []*Packet
	left int // how many more may be made
}

func (p *pool) get() *Packet {
	if n := len(p.free); n > 0 {
		k := p.free[n-1]
		p.free = p.free[:n-1]
		return k
	}
	if p.left == 0 {
		return nil
	}
	p.left--
	return new(Packet)
}

func (p *pool) put(k *Packet) {
	k.uplink, k.Held = nil, 0
	p.free = append(p.free, k)
}
