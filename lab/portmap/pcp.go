package portmap

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// PCP (RFC 6887 §7, §11.1), all in network order, addresses as IPv6 with IPv4 mapped into it:
//
//	request   │2│op│reserved│ lifetime │ client's address (16) │
//	response  │2│128+op│reserved│result│ lifetime │ epoch │ reserved (12) │
//	MAP       │ nonce (12) │protocol│reserved (3)│inner│outer│ external address (16) │
//	option    │code│reserved│length│ data, padded to 4 │
const (
	pcpVersion  = 2
	pcpAnnounce = 0
	pcpMap      = 1
	pcpResponse = 0x80

	pcpHeaderSize = 24
	pcpMapSize    = 36
	pcpMax        = 1100
)

// Result codes, §7.4.
const (
	pcpSuccess = iota
	pcpUnsuppVersion
	pcpNotAuthorized
	pcpMalformedRequest
	pcpUnsuppOpcode
	pcpUnsuppOption
	pcpMalformedOption
	pcpNetworkFailure
	pcpNoResources
	pcpUnsuppProtocol
	pcpUserExQuota
	pcpCannotProvideExternal
	pcpAddressMismatch
	pcpExcessiveRemotePeers
)

// How long a client is told that an error will last, §7.4.
const (
	pcpShortError = 30 * time.Second
	pcpLongError  = 30 * time.Minute
)

var pcpShortErrors = map[byte]bool{
	pcpNetworkFailure: true, pcpNoResources: true, pcpUserExQuota: true, pcpCannotProvideExternal: true,
}

func (c *Core) pcp(now time.Duration, client netip.Addr, b []byte) ([]byte, Reason) {
	switch {
	case b[0] != pcpVersion:
		return c.pcpError(now, b, pcpUnsuppVersion, 0), Unsupported
	case len(b) < pcpHeaderSize || len(b) > pcpMax || len(b)%4 != 0:
		return c.pcpError(now, b, pcpMalformedRequest, 0), Malformed
	case b[1] != pcpAnnounce && b[1] != pcpMap:
		return c.pcpError(now, b, pcpUnsuppOpcode, 0), Unsupported
	case addrFrom16(b[8:]) != client: // a NAT in between has changed the source, §8.2
		return c.pcpError(now, b, pcpAddressMismatch, 0), Denied
	case b[1] == pcpAnnounce:
		if _, result := parsePCPOptions(b[pcpHeaderSize:], false); result != pcpSuccess {
			return c.pcpError(now, b, result, 0), optionReason(result)
		}
		return c.pcpHeader(now, pcpAnnounce, pcpSuccess, 0), Told
	}
	return c.pcpMapping(now, client, b)
}

func (c *Core) pcpHeader(now time.Duration, op, result byte, lifetime time.Duration) []byte {
	b := []byte{pcpVersion, pcpResponse | op, 0, result}
	b = binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
	b = binary.BigEndian.AppendUint32(b, c.epoch(now))
	return append(b, make([]byte, 12)...)
}

// pcpError is the request sent back with another header (§8.2). Where the request could not be parsed, the reserved words
// hold the last twelve bytes of its client's address (§7.2). Lifetime zero: as usual for the result.
func (c *Core) pcpError(now time.Duration, req []byte, result byte, lifetime time.Duration) []byte {
	if lifetime == 0 {
		lifetime = pcpLongError
		if pcpShortErrors[result] {
			lifetime = pcpShortError
		}
	}
	b := make([]byte, max(pcpHeaderSize, (min(len(req), pcpMax)+3)&^3))
	copy(b, req)
	head := c.pcpHeader(now, req[1], result, lifetime)
	if result == pcpUnsuppVersion || result == pcpMalformedRequest || result == pcpMalformedOption {
		head = head[:12]
	}
	copy(b, head)
	return b
}

// pcpMapRequest is a MAP request and, once answered, its response.
type pcpMapRequest struct {
	nonce        [12]byte
	protocol     byte
	inner, outer uint16
	address      netip.Addr // external: suggested, then assigned
	lifetime     time.Duration
	options      pcpOptions
}

func parsePCPMap(b []byte) (r pcpMapRequest, result byte) {
	if len(b) < pcpHeaderSize+pcpMapSize {
		return r, pcpMalformedRequest
	}
	r.lifetime = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second
	m := b[pcpHeaderSize:]
	copy(r.nonce[:], m)
	r.protocol = m[12]
	r.inner, r.outer = binary.BigEndian.Uint16(m[16:]), binary.BigEndian.Uint16(m[18:])
	r.address = addrFrom16(m[20:])
	if r.protocol == 0 && r.inner != 0 { // §11.3
		return r, pcpMalformedRequest
	}
	r.options, result = parsePCPOptions(m[pcpMapSize:], true)
	return r, result
}

func (r *pcpMapRequest) append(b []byte) []byte {
	b = append(b, r.nonce[:]...)
	b = append(b, r.protocol, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.inner)
	b = binary.BigEndian.AppendUint16(b, r.outer)
	a := r.address.As16()
	return append(append(b, a[:]...), r.options.processed...)
}

func (c *Core) pcpMapping(now time.Duration, client netip.Addr, b []byte) ([]byte, Reason) {
	r, result := parsePCPMap(b)
	if result != pcpSuccess {
		return c.pcpError(now, b, result, 0), optionReason(result)
	}
	result, reason, errorLife := c.pcpServe(now, client, &r)
	if result != pcpSuccess {
		return c.pcpError(now, b, result, errorLife), reason
	}
	return r.append(c.pcpHeader(now, pcpMap, pcpSuccess, r.lifetime)), reason
}

// pcpServe does what the request asks for and turns it into its response. The lifetime is an error's, if not the usual one.
func (c *Core) pcpServe(now time.Duration, client netip.Addr, r *pcpMapRequest) (byte, Reason, time.Duration) {
	switch {
	case c.cfg.PCP == Refused:
		return pcpNotAuthorized, Denied, 0
	case !c.connected():
		return pcpNetworkFailure, Failed, 0
	case r.lifetime != 0 && (r.inner == 0 || r.protocol != udp && r.protocol != tcp): // whole hosts and protocols, §11.1
		return pcpUnsuppProtocol, Unsupported, 0
	case r.options.excessive:
		return pcpExcessiveRemotePeers, Unsupported, 0
	}
	es, err := c.entries()
	if err != nil {
		return pcpNetworkFailure, Failed, 0
	}
	internal := netip.AddrPortFrom(client, r.inner)
	old := byInternal(es, r.protocol, internal)
	if old != nil && old.lease != nil && old.lease.service == pcp && old.lease.nonce != r.nonce {
		// Only who made a mapping may change it, §11.3; the error lasts as long as the mapping.
		return pcpNotAuthorized, Denied, max(old.lease.ends-now, time.Second)
	}
	if r.lifetime == 0 {
		return c.pcpUnmap(es, client, r)
	}
	return c.pcpGrant(now, es, internal, r)
}

func (c *Core) pcpGrant(now time.Duration, es []entry, internal netip.AddrPort, r *pcpMapRequest) (byte, Reason, time.Duration) {
	r.lifetime = min(max(r.lifetime, c.cfg.MinLifetime), c.cfg.MaxLifetime)
	exact := r.options.preferFailure && r.outer != 0
	other := c.cfg.PCP == OtherPort && byInternal(es, r.protocol, internal) == nil
	if exact && (other || r.address.Is4() && !r.address.IsUnspecified() && r.address != c.told()) {
		return pcpCannotProvideExternal, Taken, 0
	}
	got, err := c.grant(es, wish{
		PortMap: nat.PortMap{
			Protocol: r.protocol, Internal: internal, External: r.outer, Lifetime: r.lifetime, Remote: r.options.remote,
		},
		exact: exact,
		other: other,
		lease: lease{service: pcp, ends: ends(now, r.lifetime), nonce: r.nonce},
	})
	switch {
	case errors.Is(err, nat.ErrPortTaken):
		return pcpCannotProvideExternal, Taken, 0
	case errors.Is(err, nat.ErrNoAddress):
		return pcpNetworkFailure, Failed, 0
	case err != nil:
		return pcpNoResources, Failed, 0
	}
	r.outer, r.address = got.Port(), got.Addr()
	return pcpSuccess, Mapped, 0
}

// pcpUnmap takes back the mapping, or with internal port 0 all of the client's that have the nonce (§15.1). What is not
// there is taken back successfully; what was made by UPnP or by hand is not PCP's to take.
func (c *Core) pcpUnmap(es []entry, client netip.Addr, r *pcpMapRequest) (byte, Reason, time.Duration) {
	for i := range es {
		e := &es[i]
		if e.Internal.Addr() != client || r.protocol != 0 && e.Protocol != r.protocol || r.inner != 0 && e.Internal.Port() != r.inner {
			continue
		}
		dynamic := e.lease != nil && e.lease.service != upnp
		switch {
		case !dynamic && r.inner != 0:
			return pcpNotAuthorized, Denied, 0
		case !dynamic, e.lease.service == pcp && e.lease.nonce != r.nonce:
			continue
		}
		if c.release(e) != nil {
			return pcpNetworkFailure, Failed, 0
		}
	}
	return pcpSuccess, Unmapped, 0
}

// addrFrom16 reads an address, IPv4 where one is mapped into it.
func addrFrom16(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])).Unmap() }
