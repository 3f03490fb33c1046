package live

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
)

// The control protocol: one message a datagram of the seqpacket socket, in the byte order of the machine.
//
//	request   op u8 │ id u32 │ net u32 │ member u32 │ what the op needs        (a descriptor rides along with some)
//	answer    id u32 │ code u8 │ what the op answers, or if the code is not 0 the error's text
//
// A long answer, as that to opStats of a net with thousands of members, comes in parts, all but the last of code codeMore.
// A member is an uplink, router or station; the parent numbers them. What is configured is JSON; what is asked for at
// every trial is packed.
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
	opTrace // a memory file with a packed trace rides along; the member is its number
	opRouted
	opDown
	opBlackhole
	opAttachRouter
	opAttachStation
	opRouterApply
	opRouterReset
	opRouterExternal
	opRouterMap
	opRouterUnmap
	opRouterPortMaps
	opRouterCounts
	opRouterLen
	opCapture // a file rides along
	opStopCapture
	opMonitor // a packet socket rides along
)

// What a message may hold, which the kernel's default for a socket's buffer (net.core.wmem_default) exceeds.
const (
	maxMessage = 192 << 10
	maxPart    = 64 << 10 // of an answer, behind its code
)

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

// json appends v, to the end of the message.
func (e *encoder) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of this package that cannot be JSON
	}
	e.b = append(e.b, b...)
}

// impairment appends i, with the number of its trace; zero: it has none.
func (e *encoder) impairment(i link.Impairment, trace uint32) {
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
	e.u32(trace)
	e.u8(uint8(i.AQM))
	e.duration(i.Target)
	e.duration(i.Interval)
	e.boolean(i.MTUBlackhole)
	e.boolean(i.Down)
}

func (e *encoder) lateness(l fabric.Lateness) {
	e.duration(l.P50)
	e.duration(l.P99)
	e.duration(l.Max)
	e.u64(l.N)
}

// stats appends counts with the members' numbers.
func (e *encoder) stats(s Stats) {
	e.lateness(s.Lateness)
	e.u32(uint32(len(s.Uplinks)))
	for i := range s.Uplinks {
		u := &s.Uplinks[i]
		e.u32(u.id)
		e.text(u.Name)
		e.counts(u.Up, u.Down, &u.Drops)
	}
	e.u32(uint32(len(s.Routers)))
	for i := range s.Routers {
		r := &s.Routers[i]
		e.text(r.Name)
		e.counts(r.Out, r.In, &r.Drops)
	}
	e.u32(uint32(len(s.Stations)))
	for i := range s.Stations {
		k := &s.Stations[i]
		e.u32(k.id)
		e.text(k.Name)
		e.text(k.Router)
		e.counts(k.Up, k.Down, &k.Drops)
	}
}

func (e *encoder) counts(up, down fabric.Count, drops *link.Drops) {
	for _, v := range [...]uint64{up.Packets, up.Bytes, down.Packets, down.Bytes} {
		e.u64(v)
	}
	for _, v := range drops {
		e.u64(v)
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

// json reads the rest of the message.
func (d *decoder) json(v any) {
	if d.err != nil {
		return
	}
	if err := json.Unmarshal(d.b, v); err != nil {
		d.err = fmt.Errorf("%w: %w", errMessage, err)
	}
	d.b = nil
}

func (d *decoder) impairment() (i link.Impairment, trace uint32) {
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
	trace = d.u32()
	i.AQM = link.AQM(d.u8())
	i.Target = d.duration()
	i.Interval = d.duration()
	i.MTUBlackhole = d.boolean()
	i.Down = d.boolean()
	return i, trace
}

func (d *decoder) lateness() (l fabric.Lateness) {
	l.P50 = d.duration()
	l.P99 = d.duration()
	l.Max = d.duration()
	l.N = d.u64()
	return l
}

func (d *decoder) stats() (s Stats) {
	s.Lateness = d.lateness()
	for range d.u32() {
		u := UplinkStats{id: d.u32()}
		u.Name = d.text()
		d.counts(&u.Up, &u.Down, &u.Drops)
		if d.err != nil {
			return s
		}
		s.Uplinks = append(s.Uplinks, u)
	}
	for range d.u32() {
		var r RouterStats
		r.Name = d.text()
		d.counts(&r.Out, &r.In, &r.Drops)
		if d.err != nil {
			return s
		}
		s.Routers = append(s.Routers, r)
	}
	for range d.u32() {
		k := StationStats{id: d.u32()}
		k.Name = d.text()
		k.Router = d.text()
		d.counts(&k.Up, &k.Down, &k.Drops)
		if d.err != nil {
			return s
		}
		s.Stations = append(s.Stations, k)
	}
	return s
}

func (d *decoder) counts(up, down *fabric.Count, drops *link.Drops) {
	for _, v := range [...]*uint64{&up.Packets, &up.Bytes, &down.Packets, &down.Bytes} {
		*v = d.u64()
	}
	for c := range drops {
		drops[c] = d.u64()
	}
}
