package uplink

import (
	"net/netip"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// Sample shows the rendezvous the mapping of a local socket (zero: the main one) towards its alternate address, for the
// connection id. It returns how many bytes went out: 0 without a session or an alternate.
func (l *Link) Sample(from netip.AddrPort, id uint64) int {
	if l.sess == nil || !l.alternate.IsValid() {
		return 0
	}
	b, err := wire.Marshal(&wire.Sample{ID: id})
	if err != nil {
		return 0
	}
	sealed := l.sess.Seal(nil, b)
	if sealed != nil {
		l.box.Send(from, l.alternate, core.Punch, sealed)
	}
	return len(sealed)
}
