package netfilter

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// ErrUnsupported is what Supports wraps.
var ErrUnsupported = errors.New("netfilter can't do it exactly")

// maxBlocks bounds the rules that place a drawn port in a block: what an ordinary user's netlink buffer holds.
const maxBlocks = 64

// Supports names what the behavior asks for and netfilter cannot do exactly; nil if it can do it all. Run such a
// behavior on the table engine.
func Supports(b nat.Behavior) error {
	if err := b.Validate(); err != nil {
		return err
	}
	var missing []string
	unless := func(ok bool, what string, args ...any) {
		if !ok {
			missing = append(missing, fmt.Sprintf(what, args...))
		}
	}
	d := b.WithDefaults()
	masq := b.Kind == nat.Masquerade
	unless(!b.PortParity, "port parity")
	unless(!b.PortContiguity, "port contiguity")
	unless(b.Quota == 0, "a quota of mappings per host")
	unless(!b.InboundFirstRemap || masq, "the inbound-first remap without masquerade")
	unless(b.InboundFirstBlock == 0, "a block of who sends before it may")
	unless(len(b.LenientPorts) == 0, "leniency towards some ports of remotes")
	unless(b.FlowLimit == 0, "a flow limit beyond which the router crashes")
	unless(!b.ALG, "an ALG that rewrites payloads")
	unless(b.PortHoldDown == 0, "a hold-down of used ports")
	unless(b.Unsolicited != nat.RSTAfter6s, "a reset after 6 s of silence")
	unless(b.Fragments != nat.FragmentsInOrder, "fragments in order only (the kernel reassembles them in any order)")
	unless(b.IPv6 != nat.NAT64, "NAT64")
	if b.PortAssignment == nat.PortBlock {
		n := (int(d.PortMax) - int(d.PortMin) + 1) / d.PortBlockSize
		unless(n <= maxBlocks, "%d port blocks (at most %d)", n, maxBlocks)
	}
	const tick = 4 * time.Millisecond // the kernel's timer at 250 Hz
	unless(d.UDPTimeout >= 2*tick, "a UDP timeout under %v", 2*tick)
	unless(d.ICMPTimeout >= 2*tick, "an ICMP timeout under %v", 2*tick)
	unless(d.TCPSynTimeout >= time.Second && wholeSeconds(d.TCPSynTimeout), "a TCP SYN timeout that is not in whole seconds")
	unless(d.TCPTransitory >= time.Second && wholeSeconds(d.TCPTransitory), "a TCP transitory timeout that is not in whole seconds")
	unless(d.TCPEstablished >= time.Second && wholeSeconds(d.TCPEstablished), "a TCP established timeout that is not in whole seconds")
	if masq {
		unless(wholeSeconds(b.UDPTimeout), "a UDP timeout of masquerade that is not in whole seconds")
		unless(wholeSeconds(b.ICMPTimeout), "an ICMP timeout of masquerade that is not in whole seconds")
		unless(b.Exhausted == nat.Drop, "masquerade that tells when no port is left")
		unless(!b.NoOutboundRefresh, "masquerade without outbound refresh")
		unless(b.InboundRefresh, "masquerade without inbound refresh")
		unless(b.Pooling == nat.Paired, "masquerade with arbitrary pooling")
		unless(b.Hairpinning == nat.HairpinNone, "masquerade with hairpinning")
		unless(b.PortMin == 0 && b.PortMax == 0, "masquerade with a port range")
		unless(b.FilterPerMapping, "masquerade with a filter that outlives its mapping (set filter per mapping)")
		unless(!b.PortOverloading, "masquerade with port overloading")
		unless(!b.ReplyByNewMapping, "masquerade that replies by a new mapping")
		unless(b.Unsolicited == nat.Drop, "masquerade that answers unsolicited traffic with %v", b.Unsolicited)
	}
	if missing != nil {
		return fmt.Errorf("%w: %s", ErrUnsupported, strings.Join(missing, "; "))
	}
	return nil
}

func wholeSeconds(d time.Duration) bool { return d%time.Second == 0 }
