package ice

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// Count is packets and bytes of UDP payload; of a stream, writes and bytes.
type Count struct{ Packets, Bytes int64 }

func (c *Count) add(n int) { c.Packets++; c.Bytes += int64(n) }

// Meter counts what a Net's sockets carry, by looking at it: STUN (RFC 8489), TURN's messages and ChannelData (RFC 8656) with
// what they hold, and RTP. It is safe for concurrent use.
type Meter struct {
	mu      sync.Mutex
	t       Traffic
	settled bool
}

// Traffic is what a Meter has counted.
type Traffic struct {
	Sent, Received Count
	Checks         Count          // sent until the first pair was selected: ICE's connectivity checks, relayed ones too
	Gather         Count          // sent until then: requests to STUN and TURN servers
	Media          netip.AddrPort // where the last RTP packet came from: the peer, or a TURN server
}

// Traffic returns what has been counted so far.
func (m *Meter) Traffic() Traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.t
}

// settle says that a pair has been selected.
func (m *Meter) settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled = true
}

func (m *Meter) sent(b []byte) {
	what := contentOf(b, true)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t.Sent.add(len(b))
	switch {
	case m.settled:
	case what == isCheck:
		m.t.Checks.add(len(b))
	case what == isGather:
		m.t.Gather.add(len(b))
	}
}

// sentOther counts n bytes of a stream that holds none of these.
func (m *Meter) sentOther(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t.Sent.add(n)
}

func (m *Meter) received(b []byte, from netip.AddrPort) {
	if len(b) == 0 {
		return
	}
	what := contentOf(b, true)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t.Received.add(len(b))
	if what == isRTP {
		m.t.Media = from
	}
}

// content is what a packet is.
type content uint8

const (
	isOther  content = iota
	isCheck          // a binding request to a peer: it has a USERNAME (RFC 8445 §7.2.2)
	isGather         // a request to a STUN or TURN server
	isRTP
)

const (
	stunHeader  = 20
	stunCookie  = 0x2112A442
	classMask   = 0x0110 // RFC 8489 §5: 0 is a request
	binding     = 0x0001
	sendIndic   = 0x0016 // RFC 8656 §18: Send and Data indications
	dataIndic   = 0x0017
	attrUser    = 0x0006
	attrData    = 0x0013
	firstRTP    = 128 // RFC 7983 §7
	lastRTP     = 191
	firstRTCP   = 192 // RFC 5761 §4, of the second byte
	lastRTCP    = 223
	firstTURN   = 0x40 // ChannelData; RFC 8656 ends it at 0x4F, older clients used up to 0x7F
	lastTURN    = 0x7F
	turnHeader  = 4
	attrPadding = 4
)

// contentOf tells a packet by its first bytes (RFC 7983). TURN's envelopes are opened, once.
func contentOf(b []byte, open bool) content {
	switch {
	case len(b) < 2:
		return isOther
	case b[0] >= firstRTP && b[0] <= lastRTP && (b[1] < firstRTCP || b[1] > lastRTCP):
		return isRTP
	case open && b[0] >= firstTURN && b[0] <= lastTURN && len(b) >= turnHeader:
		return contentOf(b[turnHeader:], false)
	case len(b) < stunHeader || b[0] > 3 || binary.BigEndian.Uint32(b[4:]) != stunCookie:
		return isOther
	}
	switch typ := binary.BigEndian.Uint16(b); {
	case typ == sendIndic || typ == dataIndic:
		if inner := attribute(b, attrData); inner != nil && open {
			return contentOf(inner, false)
		}
		return isOther
	case typ&classMask != 0:
		return isOther
	case typ == binding && attribute(b, attrUser) != nil:
		return isCheck
	}
	return isGather
}

// attribute returns the value of a STUN message's first attribute of that type, nil if it has none.
func attribute(b []byte, typ uint16) []byte {
	for b = b[stunHeader:]; len(b) >= turnHeader; {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-turnHeader {
			return nil
		}
		if binary.BigEndian.Uint16(b) == typ {
			return b[turnHeader : turnHeader+n]
		}
		b = b[min(turnHeader+(n+attrPadding-1)/attrPadding*attrPadding, len(b)):]
	}
	return nil
}

// unframe finds TURN's messages in a stream (RFC 8656 §12.5: each is a multiple of four bytes long there).
type unframe struct{ buf []byte }

func (u *unframe) feed(b []byte, yield func(message []byte)) {
	u.buf = append(u.buf, b...)
	at := 0
	for rest := u.buf; len(rest) >= turnHeader; rest = u.buf[at:] {
		size := turnHeader + (int(binary.BigEndian.Uint16(rest[2:]))+attrPadding-1)/attrPadding*attrPadding
		if rest[0] < firstTURN {
			size = stunHeader + int(binary.BigEndian.Uint16(rest[2:]))
		}
		if len(rest) < size {
			break
		}
		yield(rest[:size])
		at += size
	}
	u.buf = u.buf[:copy(u.buf, u.buf[at:])]
}
