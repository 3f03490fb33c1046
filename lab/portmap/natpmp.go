package portmap

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// NAT-PMP (RFC 6886 §3), all in network order:
//
//	request   │0│op│                                      op 0: external address (§3.2)
//	          │0│op│reserved│inner│outer│ lifetime │      op 1, 2: map UDP, TCP (§3.3); outer: wanted, 0 for any
//	response  │0│128+op│result│ epoch │ address │
//	          │0│128+op│result│ epoch │inner│outer│ lifetime │
const (
	pmpVersion  = 0
	pmpAddress  = 0
	pmpMapUDP   = 1
	pmpMapTCP   = 2
	pmpResponse = 0x80

	pmpMapSize = 12
)

// Result codes, §3.5.
const (
	pmpSuccess = iota
	pmpUnsupportedVersion
	pmpNotAuthorized
	pmpNetworkFailure
	pmpOutOfResources
	pmpUnsupportedOpcode
)

// Datagram answers one to port 5351, of NAT-PMP or PCP as its version says. A nil answer sends nothing.
func (c *Core) Datagram(now time.Duration, from netip.AddrPort, b []byte) []byte {
	answer, reason := c.datagram(now, from, b)
	c.counts[reason]++
	return answer
}

func (c *Core) datagram(now time.Duration, from netip.AddrPort, b []byte) ([]byte, Reason) {
	switch {
	case !c.fromLAN(from.Addr()):
		return nil, Foreign
	case len(b) < 2:
		return nil, Malformed
	case b[1]&pmpResponse != 0: // a response (RFC 6886 §3.1, RFC 6887 §8.2)
		return nil, Malformed
	}
	// The version chooses between the two; one that is not spoken is answered by the other's error (RFC 6886 §3.5, RFC 6887 §9).
	pmp := c.cfg.PCP == Off || c.cfg.NATPMP != Off && b[0] == pmpVersion
	switch {
	case pmp && c.cfg.NATPMP == Silent, !pmp && c.cfg.PCP == Silent:
		return nil, Ignored
	case pmp:
		return c.natpmp(now, from.Addr(), b)
	default:
		return c.pcp(now, from.Addr(), b)
	}
}

func (c *Core) natpmp(now time.Duration, client netip.Addr, b []byte) ([]byte, Reason) {
	op := b[1]
	switch {
	case b[0] != pmpVersion:
		return c.pmpHeader(now, op, pmpUnsupportedVersion), Unsupported
	case op == pmpAddress:
		return c.pmpExternal(now)
	case op != pmpMapUDP && op != pmpMapTCP:
		return c.pmpHeader(now, op, pmpUnsupportedOpcode), Unsupported
	case len(b) < pmpMapSize:
		return nil, Malformed
	}
	r := pmpRequest{
		op: op, protocol: udp, inner: binary.BigEndian.Uint16(b[4:]), outer: binary.BigEndian.Uint16(b[6:]),
		lifetime: binary.BigEndian.Uint32(b[8:]),
	}
	if op == pmpMapTCP {
		r.protocol = tcp
	}
	result, reason := c.pmpMap(now, client, &r)
	answer := c.pmpHeader(now, op, result)
	answer = binary.BigEndian.AppendUint16(answer, r.inner)
	answer = binary.BigEndian.AppendUint16(answer, r.outer)
	return binary.BigEndian.AppendUint32(answer, r.lifetime), reason
}

// pmpRequest is a mapping request, and after pmpMap what its answer says.
type pmpRequest struct {
	op, protocol byte
	inner, outer uint16
	lifetime     uint32 // s
}

func (c *Core) pmpHeader(now time.Duration, op byte, result uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{pmpVersion, pmpResponse | op}, result)
	return binary.BigEndian.AppendUint32(b, c.epoch(now))
}

// pmpExternal tells the external address; without one it is 0.0.0.0 and a network failure.
func (c *Core) pmpExternal(now time.Duration) ([]byte, Reason) {
	if !c.connected() {
		return append(c.pmpHeader(now, pmpAddress, pmpNetworkFailure), 0, 0, 0, 0), Failed
	}
	a := c.told().As4()
	return append(c.pmpHeader(now, pmpAddress, pmpSuccess), a[:]...), Told
}

func (c *Core) pmpMap(now time.Duration, client netip.Addr, r *pmpRequest) (uint16, Reason) {
	wanted := r.outer
	r.outer = 0
	switch {
	case c.cfg.NATPMP == Refused, r.inner == 0 && r.lifetime != 0:
		return pmpNotAuthorized, Denied
	case !c.connected():
		return pmpNetworkFailure, Failed
	}
	es, err := c.entries()
	if err != nil {
		return pmpNetworkFailure, Failed
	}
	if r.lifetime == 0 {
		return c.pmpUnmap(es, client, r)
	}
	life := min(time.Duration(r.lifetime)*time.Second, c.cfg.MaxLifetime)
	got, err := c.grant(es, wish{
		PortMap: nat.PortMap{Protocol: r.protocol, Internal: netip.AddrPortFrom(client, r.inner), External: wanted, Lifetime: life},
		other:   c.cfg.NATPMP == OtherPort,
		lease:   lease{service: natpmp, ends: ends(now, life)},
	})
	switch {
	case errors.Is(err, nat.ErrNoAddress):
		return pmpNetworkFailure, Failed
	case err != nil:
		return pmpOutOfResources, Failed
	}
	r.outer, r.lifetime = got.Port(), uint32(life/time.Second)
	return pmpSuccess, Mapped
}

// pmpUnmap takes one mapping back, or with internal port 0 all that the client has by NAT-PMP or PCP in the protocol.
// One that is not there is a success; one made by UPnP or by hand is refused (§3.4).
func (c *Core) pmpUnmap(es []entry, client netip.Addr, r *pmpRequest) (uint16, Reason) {
	for i := range es {
		e := &es[i]
		if e.Protocol != r.protocol || e.Internal.Addr() != client || r.inner != 0 && e.Internal.Port() != r.inner {
			continue
		}
		dynamic := e.lease != nil && e.lease.service != upnp
		switch {
		case !dynamic && r.inner != 0:
			return pmpNotAuthorized, Denied
		case !dynamic:
			continue
		}
		if c.release(e) != nil {
			return pmpNetworkFailure, Failed
		}
	}
	return pmpSuccess, Unmapped
}
