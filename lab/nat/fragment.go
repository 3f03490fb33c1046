package nat

import (
	"slices"

	"github.com/punchlab/punchlab/lab/packet"
)

// Only the first fragment of a datagram has ports. It is translated as a packet of its own, and the others follow it by
// their addresses and identification (RFC 4787 §11):
//
//	            ┌────── later fragments: held ──────┐
//	unknown ────┤                                   ├─► first fragment: decided ──► later ones: as it was
//	            └───────────────────────────────────┘         │
//	                                                   refused: so are they
//
// Overlapping fragments are an attack (RFC 1858, RFC 5722): the rest of their datagram is refused.

// pieces are the datagrams that have come in part.
type pieces struct {
	list  []*datagram // the oldest first
	bytes int         // of the fragments that are held
}

// Bounds of what is remembered; the oldest datagram goes first.
const (
	maxDatagrams  = 256
	maxHeld       = 512 << 10
	maxFragments  = 64
	fragmentsLast = int64(30e9) // Linux's; RFC 791 §3.2 recommends 15 s, RFC 8200 60 s
)

// datagram is what is known of one.
type datagram struct {
	key     datagramKey
	expires int64
	decided bool
	reason  Reason // of the first fragment; or Overlap
	way     passage
	have    []span // what has come, sorted
	end     int    // where the last fragment ends; 0: not come yet
	held    []heldFragment
}

type datagramKey struct {
	from     Side
	src, dst uint32
	id       uint16
	proto    uint8
}

type span struct{ from, to int }

type heldFragment struct{ b []byte }

// translateFragment decides about one of several fragments.
func (t *Table) translateFragment(from Side, p packet.IPv4) Verdict {
	if t.b.Fragments == FragmentsDropped {
		return drop(Fragmented)
	}
	s := span{p.FragmentOffset(), p.FragmentOffset() + len(p.Payload())}
	if s.to > 65535 || s.from == s.to || p.MoreFragments() && s.to%8 != 0 {
		return drop(Malformed)
	}
	if t.b.Kind == NoNAT && t.b.Filtering == 0 {
		return Verdict{To: from.other(), Packet: p}
	}
	key := datagramKey{from, be32(p[12:]), be32(p[16:]), p.ID(), p.Protocol()}
	d := t.pieces.find(key, t.now)
	if s.from == 0 {
		return t.firstFragment(from, p, d, key, s)
	}
	if d == nil && t.b.Fragments == FragmentsInOrder {
		return drop(Fragmented)
	}
	if d == nil {
		d = t.pieces.add(key, t.after(fragmentsLast))
	}
	if r := d.enter(s, p.MoreFragments()); r != Passed {
		return drop(r)
	}
	if !d.decided {
		return t.pieces.hold(d, p)
	}
	defer t.pieces.forgetWhole(d)
	if d.reason != Passed {
		return drop(d.reason)
	}
	d.way.follow(p)
	return Verdict{To: d.way.to, Packet: p}
}

// firstFragment decides for the whole datagram, and lets go of what waited.
func (t *Table) firstFragment(from Side, p packet.IPv4, d *datagram, key datagramKey, s span) Verdict {
	var v view
	if r := v.look(p); r != Passed {
		return drop(r)
	}
	if d == nil {
		d = t.pieces.add(key, t.after(fragmentsLast))
	}
	if r := d.enter(s, p.MoreFragments()); r != Passed {
		return drop(r)
	}
	verdict := t.decide(from, &v)
	way := passage{verdict.To, be32(p[12:]), be32(p[16:])}
	d.decided, d.reason, d.way = true, verdict.Reason, way
	for _, h := range d.held {
		t.pieces.bytes -= len(h.b)
		if d.reason != Passed {
			continue
		}
		if e := t.out.add(way.to, Passed); e != nil {
			way.follow(h.b)
			e.Packet = append(e.Packet, h.b...)
		}
	}
	d.held = nil
	t.pieces.forgetWhole(d)
	return verdict
}

// passage is how the packets of a flow are rewritten; later fragments follow their first one by it.
type passage struct {
	to       Side
	src, dst uint32
}

// follow gives a later fragment the addresses of the first one.
func (w passage) follow(p packet.IPv4) {
	replaceAddr(p, srcAddr, w.src)
	replaceAddr(p, dstAddr, w.dst)
}

func (p *pieces) find(key datagramKey, now int64) *datagram {
	for len(p.list) > 0 && p.list[0].expires <= now {
		p.drop(0)
	}
	for _, d := range p.list {
		if d.key == key {
			return d
		}
	}
	return nil
}

func (p *pieces) add(key datagramKey, expires int64) *datagram {
	if len(p.list) == maxDatagrams {
		p.drop(0)
	}
	d := &datagram{key: key, expires: expires}
	p.list = append(p.list, d)
	return d
}

func (p *pieces) drop(i int) {
	for _, h := range p.list[i].held {
		p.bytes -= len(h.b)
	}
	p.list = slices.Delete(p.list, i, i+1)
}

// hold keeps a copy of a fragment until the first one comes.
func (p *pieces) hold(d *datagram, b packet.IPv4) Verdict {
	for p.bytes+len(b) > maxHeld && p.list[0] != d {
		p.drop(0)
	}
	if p.bytes+len(b) > maxHeld {
		return drop(Full)
	}
	d.held = append(d.held, heldFragment{slices.Clone([]byte(b))})
	p.bytes += len(b)
	return drop(Held)
}

// forgetWhole forgets a datagram of which everything has come.
func (p *pieces) forgetWhole(d *datagram) {
	if !d.decided || d.reason == Overlap || d.end == 0 || len(d.have) != 1 || d.have[0] != (span{0, d.end}) {
		return
	}
	if i := slices.Index(p.list, d); i >= 0 {
		p.drop(i)
	}
}

// enter notes that a part has come. A part that came before is refused, and one that overlaps spoils the datagram.
func (d *datagram) enter(s span, more bool) Reason {
	if d.reason == Overlap || len(d.have) >= maxFragments {
		return Overlap
	}
	for _, h := range d.have {
		if s.from < h.to && h.from < s.to {
			if s.from < h.from || s.to > h.to {
				d.spoil()
			}
			return Overlap
		}
	}
	if d.end != 0 && s.to > d.end || !more && len(d.have) > 0 && d.have[len(d.have)-1].to > s.to {
		d.spoil() // something behind the end, or an end before something
		return Overlap
	}
	if !more {
		d.end = s.to
	}
	at, _ := slices.BinarySearchFunc(d.have, s, func(a, b span) int { return a.from - b.from })
	d.have = slices.Insert(d.have, at, s)
	for at := len(d.have) - 1; at > 0; at-- {
		if d.have[at-1].to == d.have[at].from {
			d.have[at-1].to = d.have[at].to
			d.have = slices.Delete(d.have, at, at+1)
		}
	}
	return Passed
}

func (d *datagram) spoil() {
	d.reason, d.decided = Overlap, true
}
