package rendezvous

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// pack writes endpoints one after the other as records keep them: protocol and size of the address (1), address (4 or 16),
// port (2, big-endian). What R was told came by the wire, so that there is no zone to lose.
func pack(es []wire.Endpoint) string {
	var b []byte
	for _, e := range es {
		over, bare := core.ProtoOf(e.AddrPort)
		a := bare.Addr().AsSlice()
		b = append(b, byte(over)<<5|byte(len(a)))
		b = binary.BigEndian.AppendUint16(append(b, a...), bare.Port())
	}
	return string(b)
}

// unpack reads what pack wrote.
func unpack(p string) (es []wire.Endpoint) {
	for len(p) > 0 {
		over, n := core.Proto(p[0]>>5), int(p[0]&0x1f)
		a, _ := netip.AddrFromSlice([]byte(p[1 : 1+n]))
		port := uint16(p[1+n])<<8 | uint16(p[2+n])
		es = append(es, wire.Endpoint{AddrPort: core.Over(over, netip.AddrPortFrom(a, port))})
		p = p[3+n:]
	}
	return es
}
