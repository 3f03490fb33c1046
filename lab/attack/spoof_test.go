package attack

import (
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/packet"
)

// A SYN is one: both checksums are right, and so are the ends.
func TestSYN(t *testing.T) {
	from, to := netip.MustParseAddrPort("192.168.1.3:61616"), netip.MustParseAddrPort("192.168.1.2:23")
	b := Shot{From: from, To: to, SYN: true}.packet([]byte("before"))[len("before"):]
	ip, err := packet.ParseIPv4(b)
	if err != nil || !ip.ChecksumOK() || ip.Protocol() != packet.ProtocolTCP || ip.Src() != from.Addr() || ip.Dst() != to.Addr() || ip.TotalLen() != len(b) {
		t.Fatalf("%v: % x", err, b)
	}
	tcp, err := packet.ParseTCP(ip.Payload())
	if err != nil || tcp.Flags() != packet.SYN || tcp.SrcPort() != from.Port() || tcp.DstPort() != to.Port() || tcp.HeaderLen() != len(ip.Payload()) ||
		packet.PseudoChecksum(ip.Src(), ip.Dst(), packet.ProtocolTCP, ip.Payload()) != 0 {
		t.Errorf("%v: % x", err, ip.Payload())
	}
}
