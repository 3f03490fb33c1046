package ice

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// Candidate is an address that ICE may use (RFC 8445 §4).
type Candidate struct {
	Type string // host, srflx, prflx or relay
	Addr netip.AddrPort
	TCP  bool
}

// Pair is a party's own candidate and the other's. The zero Pair is none.
type Pair struct{ Local, Remote Candidate }

const typeRelay = "relay"

// Relayed says whether a pair goes through one of the servers. A relayed candidate that was learnt from its packets has the
// type prflx: its address tells.
func (p Pair) Relayed(servers []netip.Addr) bool {
	return p.Local.Type == typeRelay || p.Remote.Type == typeRelay || slices.Contains(servers, p.Remote.Addr.Addr())
}

func (p Pair) String() string { return p.Local.Type + "–" + p.Remote.Type }

func candidateOf(c webrtc.ICECandidate) Candidate {
	ip, _ := netip.ParseAddr(c.Address)
	return Candidate{c.Typ.String(), netip.AddrPortFrom(ip.Unmap(), c.Port), c.Protocol == webrtc.ICEProtocolTCP}
}

// parseCandidate reads a candidate as it is signalled.
func parseCandidate(line string) (c Candidate, err error) {
	p, err := ice.UnmarshalCandidate(strings.TrimPrefix(line, "candidate:"))
	if err != nil {
		return c, fmt.Errorf("read candidate: %w", err)
	}
	ip, err := netip.ParseAddr(p.Address())
	if err != nil {
		return c, fmt.Errorf("read candidate: %w", err)
	}
	return Candidate{p.Type().String(), netip.AddrPortFrom(ip.Unmap(), uint16(p.Port())), p.NetworkType().IsTCP()}, nil
}
