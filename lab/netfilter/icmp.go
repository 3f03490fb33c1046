package netfilter

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// ICMP errors quote the packet they are about; the quote starts 8 bytes into the message and is taken to have an IP
// header without options.
//
//	0     1     2         4         8                    20    24    28      30
//	│type │code │ checksum│ unused  │ quoted IP … csum … │ src │ dst │ sport │ dport │ …
const (
	icmpCsum    = 2
	quoted      = 8
	quotedSrc   = quoted + ipSrc
	quotedDst   = quoted + ipDst
	quotedSport = quoted + 20
	quotedDport = quoted + 22
)

// errorTypes are destination unreachable, time exceeded and parameter problem (RFC 792).
var errorTypes = []byte{3, 11, 12}

// quotes matches an ICMP error of a type about a packet of a protocol.
func quotes(typ, p byte) rule {
	return join(proto(unix.IPPROTO_ICMP),
		transport(scratch, 0, 1), equal(scratch, []byte{typ}),
		transport(scratch, quoted, 1), equal(scratch, []byte{0x45}),
		transport(scratch, quoted+9, 1), equal(scratch, []byte{p}))
}

func quotedSource(word int) rule {
	return join(transport(word, quotedSrc, 4), transport(word+1, quotedSport, 2))
}

func quotedDest(word int) rule {
	return join(transport(word, quotedDst, 4), transport(word+1, quotedDport, 2))
}

// setQuoted rewrites an endpoint of the quote. Mending the quoted header's own checksum leaves the ICMP checksum as it
// was, so only the port is accounted for there. The quote's UDP checksum stays stale; receivers do not look at it.
func setQuoted(word int, addrOff, portOff uint32) rule {
	return join(setTransport(word, addrOff, 4, quoted+ipCsum), setTransport(word+1, portOff, 2, icmpCsum))
}

// icmpErrors translates ICMP errors about UDP packets, which conntrack would do for tracked ones (RFC 5508 REQ-4, 5).
func (p *plane) icmpErrors() {
	// The router's own errors, about packets that it has translated already: path MTU and expired TTL.
	own := p.hook("own_errors", nftables.ChainTypeRoute, nftables.ChainHookOutput, -300)
	for _, typ := range errorTypes {
		about := join(quotes(typ, p.proto), quotedSource(external), get(p.rev, external, internal))
		inward := join(setAddr(internal, ipDst), setQuoted(internal, quotedSrc, quotedSport))
		p.rule(p.raw, iif(p.cfg.WAN), about, notrack, inward, accept)
		p.rule(own, about, notrack, inward)

		about = join(quotes(typ, p.proto), quotedDest(internal), quotedSource(remote), get(p.fwd, internal, external))
		p.rule(p.raw, iif(p.cfg.LAN), about, notrack, setAddr(external, ipSrc), setQuoted(external, quotedDst, quotedDport), accept)
		p.rule(own, about, notrack, setQuoted(external, quotedDst, quotedDport))
	}
}
