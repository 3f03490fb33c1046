package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/packet"
)

// An ALG that means well and knows no protocol (against RFC 4787 REQ-10): wherever a UDP payload shows the address of
// the inner host on its way out, or the external one on its way in, it is replaced by the other, and so is the port if
// it stands beside it. Such routers are why STUN has XOR-MAPPED-ADDRESS (RFC 8489 §14.2): MAPPED-ADDRESS comes in with
// the inner address. Both the four bytes and the text form are found:
//
//	… │ port │ address │ …       MAPPED-ADDRESS (RFC 8489 §14.1)      192.168.1.2:5000 → 203.0.113.7:31000
//	… │ address │ port │ …       an endpoint otherwise                192.168.1.2      → 203.0.113.7

// alg is called with a UDP packet whose header has been translated, if Behavior.ALG is set: inside and outside are the
// internal and the external endpoint of its mapping. It returns the packet as it goes on, or nil if that is p itself.
func (t *Table) alg(from Side, p packet.IPv4, inside, outside netip.AddrPort) []byte {
	old, new := inside, outside
	if from == Outside {
		old, new = outside, inside
	}
	u, err := packet.ParseUDP(p.Payload())
	if err != nil || word(inside.Addr()) >= numbered { // the payload of an IPv6 host shows other addresses
		return nil
	}
	changed := replaceBinary(u.Payload(), old, new)
	if text := replaceText(u.Payload(), old, new); text != nil {
		return withPayload(p, text)
	}
	if changed {
		sumUDP(p, p.Payload()[:len(u)])
	}
	return nil
}

// replaceBinary replaces an address wherever its bytes are, and its port before or behind it.
func replaceBinary(b []byte, old, new netip.AddrPort) (changed bool) {
	from, to := old.Addr().As4(), new.Addr().As4()
	for i := 0; i+4 <= len(b); i++ {
		if [4]byte(b[i:]) != from {
			continue
		}
		copy(b[i:], to[:])
		changed = true
		for _, at := range [2]int{i - 2, i + 4} {
			if at >= 0 && at+2 <= len(b) && binary.BigEndian.Uint16(b[at:]) == old.Port() {
				binary.BigEndian.PutUint16(b[at:], new.Port())
				break
			}
		}
		i += 3
	}
	return changed
}

// replaceText returns b with the text form of an address replaced, or nil if it is not there.
func replaceText(b []byte, old, new netip.AddrPort) (out []byte) {
	from := old.Addr().AppendTo(nil)
	port := decimalPort(old.Port())
	done := 0
	for i := 0; i+len(from) <= len(b); i++ {
		end := i + len(from)
		if !slices.Equal(b[i:end], from) || i > 0 && inNumber(b[i-1]) || end < len(b) && isDigit(b[end]) ||
			end+1 < len(b) && b[end] == '.' && isDigit(b[end+1]) {
			continue
		}
		out = new.Addr().AppendTo(append(out, b[done:i]...))
		done = end
		if after := end + len(port); after <= len(b) && slices.Equal(b[end:after], port) && (after == len(b) || !isDigit(b[after])) {
			out = append(out, decimalPort(new.Port())...)
			done = after
		}
		i = done - 1
	}
	if done == 0 {
		return nil
	}
	return append(out, b[done:]...)
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func inNumber(c byte) bool { return isDigit(c) || c == '.' }

// decimalPort is ":port".
func decimalPort(port uint16) []byte {
	b := []byte{':'}
	for unit := uint16(10000); unit > 0; unit /= 10 {
		if port >= unit || unit == 1 {
			b = append(b, '0'+byte(port/unit%10))
		}
	}
	return b
}

// withPayload is a packet with another UDP payload, or nil if it does not fit.
func withPayload(p packet.IPv4, payload []byte) []byte {
	n := p.HeaderLen() + packet.UDPHeaderLen
	if n+len(payload) > 0xffff {
		return nil
	}
	b := append(slices.Clone([]byte(p[:n])), payload...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	amend(b[10:], change16(uint16(len(p)), uint16(len(b))))
	u := b[p.HeaderLen():]
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	sumUDP(b, u)
	return b
}

// sumUDP writes the checksum of a datagram, unless the sender computed none.
func sumUDP(p packet.IPv4, u []byte) {
	if u[6] == 0 && u[7] == 0 {
		return
	}
	u[6], u[7] = 0, 0
	c := packet.PseudoChecksum(p.Src(), p.Dst(), protoUDP, u)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:], c)
}
