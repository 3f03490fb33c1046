package nat

import (
	"encoding/binary"

	"github.com/punchlab/punchlab/lab/packet"
)

// outbox is what a call sends besides its packet. Its buffers are used again by the next call.
type outbox struct {
	list []Emission
	sent int
}

// outboxSize bounds what one call can send: the fragments of one datagram, or resets that fell due at once.
const outboxSize = 256

func (o *outbox) clear() { o.list, o.sent = o.list[:0], 0 }

func (o *outbox) next() (Emission, bool) {
	if o.sent == len(o.list) {
		return Emission{}, false
	}
	o.sent++
	return o.list[o.sent-1], true
}

// add makes room for one more and returns its empty buffer, or nil if there is no more room.
func (o *outbox) add(to Side, r Reason) *Emission {
	if len(o.list) == outboxSize {
		return nil
	}
	var spare []byte
	if n := len(o.list); n < cap(o.list) {
		spare = o.list[:n+1][n].Packet[:0]
	}
	o.list = append(o.list, Emission{To: to, Packet: spare, Reason: r})
	return &o.list[len(o.list)-1]
}

// ICMP's destination unreachable and two of its codes (RFC 792, RFC 1812 §5.2.7.1).
const (
	unreachable     = 3
	portUnreachable = 3
	prohibited      = 13
)

// refuse answers a packet from inside that gets no mapping (RFC 5508 REQ-8).
func (t *Table) refuse(v *view) {
	if t.b.Exhausted == ICMP {
		t.sendError(Inside, v, prohibited, Blocked)
	}
}

// react answers a packet that is not let in. It goes back to the side that it came from.
func (t *Table) react(from Side, v *view, how Reaction) {
	switch {
	case how == Drop || v.kind != segment:
	case v.proto == protoUDP || how == ICMP:
		t.sendError(from, v, portUnreachable, NoMapping)
	case how == RSTAfter6s && from == Outside && v.flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN:
		t.keepSilent(v)
	default:
		t.sendReset(from, v)
	}
}

// sendError queues an ICMP error about a packet. It comes from the address that the packet went to, or from an
// external one if that is not the router's own.
func (t *Table) sendError(to Side, v *view, code uint8, r Reason) {
	if v.kind == failure || v.kind == other {
		return
	}
	src := v.dst.addr
	if to == Inside && !t.own(src) && len(t.external) > 0 {
		src = t.external[0]
	}
	e := t.out.add(to, r)
	if e == nil {
		return
	}
	const most = 576 - packet.IPv4HeaderLen - packet.ICMPHeaderLen // RFC 1812 §4.3.2.3
	quote := v.ip[:min(len(v.ip), most)]
	b := appendHeader(e.Packet, src, v.src.addr, protoICMP, packet.ICMPHeaderLen+len(quote))
	at := len(b)
	b = append(b, unreachable, code, 0, 0, 0, 0, 0, 0)
	b = append(b, quote...)
	binary.BigEndian.PutUint16(b[at+2:], packet.Checksum(b[at:]))
	e.Packet = b
}

func appendHeader(b []byte, src, dst uint32, proto uint8, n int) []byte {
	const ttl = 64
	at := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(packet.IPv4HeaderLen+n))
	b = append(b, 0, 0, 0x40, 0, ttl, proto, 0, 0)
	b = binary.BigEndian.AppendUint32(b, src)
	b = binary.BigEndian.AppendUint32(b, dst)
	binary.BigEndian.PutUint16(b[at+10:], packet.Checksum(b[at:]))
	return b
}

// sendReset answers a segment as a host does that has no such connection (RFC 9293 §3.10.7.1).
func (t *Table) sendReset(to Side, v *view) {
	if v.flags&packet.RST != 0 {
		return
	}
	ack, seq := binary.BigEndian.Uint32(v.l4[8:]), binary.BigEndian.Uint32(v.l4[4:])
	if v.flags&packet.ACK != 0 {
		t.reset(to, v.dst, v.src, ack, 0, packet.RST)
		return
	}
	size := uint32(max(len(v.l4)-int(v.l4[12]>>4)*4, 0))
	for _, bit := range []uint8{packet.SYN, packet.FIN} {
		if v.flags&bit != 0 {
			size++
		}
	}
	t.reset(to, v.dst, v.src, 0, seq+size, packet.RST|packet.ACK)
}

func (t *Table) reset(to Side, src, dst endpoint, seq, ack uint32, flags uint8) {
	e := t.out.add(to, NoMapping)
	if e == nil {
		return
	}
	b := appendHeader(e.Packet, src.addr, dst.addr, protoTCP, packet.TCPHeaderLen)
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, src.port)
	b = binary.BigEndian.AppendUint16(b, dst.port)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, packet.TCPHeaderLen/4<<4, flags, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[at+16:], packet.PseudoChecksum(address(src.addr), address(dst.addr), protoTCP, b[at:]))
	e.Packet = b
}

// silence is an unsolicited SYN that gets its RST only after a while: until then an outbound SYN may make it one half
// of a simultaneous open (RFC 5382 REQ-4).
type silence struct {
	due         int64
	ext, remote endpoint
	ack         uint32
}

const (
	silentFor = int64(6e9)
	maxSilent = 1024 // more of them are never answered
)

func (t *Table) keepSilent(v *view) {
	for _, s := range t.silent {
		if s.ext == v.dst && s.remote == v.src {
			return // repeated
		}
	}
	if len(t.silent) < maxSilent {
		t.silent = append(t.silent, silence{t.after(silentFor), v.dst, v.src, binary.BigEndian.Uint32(v.l4[4:]) + 1})
	}
}

// answered forgets the SYN that an outbound one answers.
func (t *Table) answered(ext endpoint, v *view) {
	if len(t.silent) == 0 || v.flags&packet.SYN == 0 {
		return
	}
	for i, s := range t.silent {
		if s.ext == ext && s.remote == v.dst {
			t.silent = append(t.silent[:i], t.silent[i+1:]...)
			return
		}
	}
}

// breakSilence sends the resets that are due.
func (t *Table) breakSilence() {
	for len(t.silent) > 0 && t.silent[0].due <= t.now && len(t.out.list) < outboxSize {
		s := t.silent[0]
		t.silent = append(t.silent[:0], t.silent[1:]...)
		t.reset(Outside, s.ext, s.remote, 0, s.ack, packet.RST|packet.ACK)
	}
}
