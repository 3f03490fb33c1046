package self

import (
	"net/netip"

	"github.com/punchlab/punchlab/impl/punch"
)

// Claimed is the kind of an address that a peer says of itself, as far as it shows: where the policy uses TURN servers,
// a public address that is not the one the rendezvous sees the peer at is taken for an allocation.
func Claimed(p punch.Policy, addr, peer netip.AddrPort) punch.Kind {
	ip := addr.Addr().Unmap()
	if p.Methods&punch.MethodTURN != 0 && ip.Is4() && !ip.IsPrivate() && !ip.IsLoopback() && ip != peer.Addr().Unmap() {
		return punch.Relayed
	}
	return punch.Host
}
