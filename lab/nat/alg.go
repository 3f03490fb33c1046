package nat

import (
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// alg is called with a UDP packet whose header has been translated, if Behavior.ALG is set: inside and outside are the
// internal and the external endpoint of its mapping. It returns the packet as it goes on, or nil if that is p itself.
func (t *Table) alg(from Side, p packet.IPv4, inside, outside netip.AddrPort) []byte { return nil }
