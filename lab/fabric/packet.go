package fabric

import (
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// Headroom is how many bytes a driver may put before a packet, for the header of the layer below.
const Headroom = 32

// The room for a packet: a small one may grow by an IPv6 header's difference (NAT64), a big one holds whatever IP can.
const (
	smallRoom = link.MaxMTU + 64
	bigRoom   = 1<<16 + 64
)

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
	// GSO is what is left to be done about the packet by whom it reaches. Zero: nothing.
	GSO GSO

	n          int
	stage      stage
	big        bool
	epoch      uint32 // of the net when the packet was sent; an older one is no longer in flight
	id, parent uint64
	net        *Net
	uplink     *Uplink  // whose link it is on; nil for a router's timer
	router     *Router  // of a timer
	next       *Packet  // in a chain that is on its way
	to         nat.Side // of a router that emits it
	buf        []byte
}

// Bytes is the packet from its IP header on.
func (p *Packet) Bytes() []byte { return p.buf[Headroom : Headroom+p.n] }

// Frame is the packet with room bytes before it, which are the caller's. room is at most Headroom.
func (p *Packet) Frame(room int) []byte { return p.buf[Headroom-room : Headroom+p.n] }

// Buffer is where a driver reads a frame of a layer below into, whose header takes room bytes; SetFrame follows.
func (p *Packet) Buffer(room int) []byte { return p.buf[Headroom-room:] }

// SetFrame tells how many bytes were read into Buffer(room), at least room.
func (p *Packet) SetFrame(room, n int) { p.n = n - room }

// Set copies b into the packet: at most link.MaxMTU bytes into one from Get, 65,535 into one from GetBig.
func (p *Packet) Set(b []byte) { p.n = copy(p.buf[Headroom:], b) }

// ID is the packet's number in its net from Send on; see TapEvent.
func (p *Packet) ID() uint64 { return p.id }

// copyFrom makes p another copy of k: the same packet to whoever follows it.
func (p *Packet) copyFrom(k *Packet) {
	p.Set(k.Bytes())
	p.inherit(k)
	p.GSO, p.id, p.parent = k.GSO, k.id, k.parent
}

// inherit gives p what a packet keeps that is made of another.
func (p *Packet) inherit(k *Packet) {
	p.net, p.uplink, p.stage, p.epoch, p.Held = k.net, k.uplink, k.stage, k.epoch, k.Held
}

// pool keeps packets that are not in use, small ones and big ones.
type pool struct {
	free, freeBig []*Packet
	left, leftBig int // how many more may be made
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
	k := &struct {
		Packet
		room [Headroom + smallRoom]byte
	}{}
	k.buf = k.room[:]
	return &k.Packet
}

func (p *pool) getBig() *Packet {
	if n := len(p.freeBig); n > 0 {
		k := p.freeBig[n-1]
		p.freeBig = p.freeBig[:n-1]
		return k
	}
	if p.leftBig == 0 {
		return nil
	}
	p.leftBig--
	return &Packet{big: true, buf: make([]byte, Headroom+bigRoom)}
}

// like gets a packet of the same size as k.
func (p *pool) like(k *Packet) *Packet {
	if k.big {
		return p.getBig()
	}
	return p.get()
}

func (p *pool) put(k *Packet) {
	k.uplink, k.next, k.Held, k.parent, k.GSO = nil, nil, 0, 0, GSO{}
	if k.big {
		p.freeBig = append(p.freeBig, k)
	} else {
		p.free = append(p.free, k)
	}
}

// chain is a list of packets on their way, through their next.
type chain struct{ head, tail *Packet }

func (c *chain) add(p *Packet) {
	if c.head == nil {
		c.head = p
	} else {
		c.tail.next = p
	}
	c.tail = p
}

// take removes the first packet; nil if there is none.
func (c *chain) take() *Packet {
	p := c.head
	if p != nil {
		c.head, p.next = p.next, nil
	}
	return p
}
