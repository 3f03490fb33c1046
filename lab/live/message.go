package live

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
)

// The control protocol: one message a datagram of the seqpacket socket, in the byte order of the machine.
//
//	request   op u8 │ id u32 │ net u32 │ uplink u32 │ what the op needs        (a descriptor rides along with attach)
//	answer    id u32 │ ok u8 │ what the op answers, or the error's text
type op uint8

const (
	opHello op = iota + 1
	opNewNet
	opCloseNet
	opReset
	opStats
	opAttach
	opDetach
	opProfile
	opLateness
)

// maxMessage bounds a message: the answer to opStats of a net with a thousand uplinks.
const maxMessage = 192 << 10

var errMessage = errors.New("control message is malformed")

// order is what both ends of the socket share: they are one program on one machine.
var order = binary.NativeEndian

// encoder appends values to a message.
type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)               { e.b = append(e.b, v) }
func (e *encoder) u32(v uint32)             { e.b = order.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)             { e.b = order.AppendUint64(e.b, v) }
func (e *encoder) f64(v float64)            { e.u64(math.Float64bits(v)) }
func (e *encoder) duration(d time.Duration) { e.u64(uint64(d)) }

func (e *encoder) boolean(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

func (e *encoder) text(s string) {
	e.u32(uint32(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) prefix(p netip.Prefix) {
	a := p.Addr().As16()
	e.boolean(p.Addr().Is4())
	e.b = append(e.b, a[:]...)
	e.u8(uint8(p.Bits()))
}

func (e *encoder) impairment(i link.Impairment) {
	e.duration(i.Delay)
	e.duration(i.Jitter)
	e.boolean(i.KeepOrder)
	e.f64(i.Loss)
	e.boolean(i.Burst != nil)
	if g := i.Burst; g != nil {
		e.f64(g.GoodToBad)
		e.f64(g.BadToGood)
		e.f64(g.LossGood)
		e.f64(g.LossBad)
	}
	e.f64(i.Reorder)
	e.duration(i.ReorderBy)
	e.f64(i.Duplicate)
	e.f64(i.Corrupt)
	e.u64(uint64(i.Rate))
	e.u64(uint64(i.QueueBytes))
	e.u64(uint64(i.MTU))
}

func (e *encoder) lateness(l fabric.Lateness) {
	e.duration(l.P50)
	e.duration(l.P99)
	e.duration(l.Max)
	e.u64(l.N)
}

func (e *encoder) stats(s fabric.Stats) {
	e.lateness(s.Lateness)
	e.u32(uint32(len(s.Uplinks)))
	for i := range s.Uplinks {
		u := &s.Uplinks[i]
		e.text(u.Name)
		for _, v := range [...]uint64{u.Up.Packets, u.Up.Bytes, u.Down.Packets, u.Down.Bytes} {
			e.u64(v)
		}
		for _, v := range u.Drops {
			e.u64(v)
		}
	}
}

// decoder takes values from a message. After the first one that is missing all are zero and err is set.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.err = nil, errMessage
		return make([]byte, min(max(n, 0), 16))
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8               { return d.take(1)[0] }
func (d *decoder) u32() uint32             { return order.Uint32(d.take(4)) }
func (d *decoder) u64() uint64             { return order.Uint64(d.take(8)) }
func (d *decoder) f64() float64            { return math.Float64frombits(d.u64()) }
func (d *decoder) boolean() bool           { return d.u8() != 0 }
func (d *decoder) duration() time.Duration { return time.Duration(d.u64()) }
func (d *decoder) text() string            { return string(d.take(int(d.u32()))) }

func (d *decoder) prefix() netip.Prefix {
	is4, a := d.boolean(), netip.AddrFrom16([16]byte(d.take(16)))
	if is4 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, int(d.u8()))
}

func (d *decoder) impairment() (i link.Impairment) {
	i.Delay = d.duration()
	i.Jitter = d.duration()
	i.KeepOrder = d.boolean()
	i.Loss = d.f64()
	if d.boolean() {
		i.Burst = &link.GilbertElliott{GoodToBad: d.f64(), BadToGood: d.f64(), LossGood: d.f64(), LossBad: d.f64()}
	}
	i.Reorder = d.f64()
	i.ReorderBy = d.duration()
	i.Duplicate = d.f64()
	i.Corrupt = d.f64()
	i.Rate = int64(d.u64())
	i.QueueBytes = int(d.u64())
	i.MTU = int(d.u64())
	return i
}

func (d *decoder) lateness() (l fabric.Lateness) {
	l.P50 = d.duration()
	l.P99 = d.duration()
	l.Max = d.duration()
	l.N = d.u64()
	return l
}

func (d *decoder) stats() (s fabric.Stats) {
	s.Lateness = d.lateness()
	n := int(d.u32())
	for range n {
		u := fabric.UplinkStats{Name: d.text()}
		for _, v := range [...]*uint64{&u.Up.Packets, &u.Up.Bytes, &u.Down.Packets, &u.Down.Bytes} {
			*v = d.u64()
		}
		for c := range u.Drops {
			u.Drops[c] = d.u64()
		}
		if d.err != nil {
			break
		}
		s.Uplinks = append(s.Uplinks, u)
	}
	return s
}

// attachment is what opAttach carries besides the descriptor.
type attachment struct {
	kind     deviceKind
	dst, src [6]byte // of the Ethernet header, for a packet socket
	name     string
	routed   []netip.Prefix
	up, down link.Impairment
}

func (e *encoder) attachment(a attachment) {
	e.u8(uint8(a.kind))
	e.b = append(append(e.b, a.dst[:]...), a.src[:]...)
	e.text(a.name)
	e.u32(uint32(len(a.routed)))
	for _, p := range a.routed {
		e.prefix(p)
	}
	e.impairment(a.up)
	e.impairment(a.down)
}

func (d *decoder) attachment() (a attachment) {
	a.kind = deviceKind(d.u8())
	copy(a.dst[:], d.take(6))
	copy(a.src[:], d.take(6))
	a.name = d.text()
	n := int(d.u32())
	for range n {
		a.routed = append(a.routed, d.prefix())
		if d.err != nil {
			break
		}
	}
	a.up, a.down = d.impairment(), d.impairment()
	return a
}
