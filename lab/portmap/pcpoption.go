package portmap

import (
	"encoding/binary"
	"net/netip"
)

// Options, §7.3 and §13. Codes up to 127 must be understood or the request fails.
const (
	pcpThirdParty    = 1
	pcpPreferFailure = 2
	pcpFilter        = 3
	pcpOptional      = 128

	pcpOptionHeader = 4
	pcpFilterSize   = 20
)

// pcpOptions is what a request's options ask for.
type pcpOptions struct {
	preferFailure bool
	remote        netip.Addr // only from there; zero: from anywhere
	excessive     bool       // a filter that a NAT can't hold: one peer's address, any port, is all it can
	processed     []byte     // those that were understood, as they came: the response repeats them
	filters       int
}

// parsePCPOptions reads what follows an opcode's own data. Only MAP has options.
func parsePCPOptions(b []byte, isMap bool) (o pcpOptions, result byte) {
	for len(b) > 0 {
		if len(b) < pcpOptionHeader {
			return o, pcpMalformedOption
		}
		code, size := b[0], int(binary.BigEndian.Uint16(b[2:]))
		whole := pcpOptionHeader + (size+3)&^3
		if len(b) < whole {
			return o, pcpMalformedOption
		}
		data := b[pcpOptionHeader : pcpOptionHeader+size]
		switch {
		case isMap && code == pcpPreferFailure:
			if size != 0 || o.preferFailure {
				return o, pcpMalformedOption
			}
			o.preferFailure = true
		case isMap && code == pcpFilter:
			if size != pcpFilterSize || !o.filter(data) {
				return o, pcpMalformedOption
			}
		case code < pcpOptional: // THIRD_PARTY among them: this is no server for carriers, §13.1
			return o, pcpUnsuppOption
		default:
			b = b[whole:]
			continue
		}
		o.processed = append(o.processed, b[:whole]...)
		b = b[whole:]
	}
	return o, pcpSuccess
}

// filter reads a FILTER option (§13.3): │reserved│prefix length│port│address (16)│.
func (o *pcpOptions) filter(b []byte) bool {
	prefix, port, addr := b[1], binary.BigEndian.Uint16(b[2:]), addrFrom16(b[4:])
	const mapped = 96 // the bits before a mapped IPv4 address
	switch {
	case prefix > 128 || addr.Is4() && prefix != 0 && prefix < mapped:
		return false
	case prefix == 0: // takes the filters before it away
		o.remote, o.filters, o.excessive = netip.Addr{}, 0, false
		return true
	}
	o.filters++
	o.excessive = o.excessive || o.filters > 1 || prefix != 128 || port != 0 || !addr.Is4()
	o.remote = addr
	return true
}

// optionReason is how a request ends that could not be parsed.
func optionReason(result byte) Reason {
	if result == pcpUnsuppOption {
		return Unsupported
	}
	return Malformed
}
