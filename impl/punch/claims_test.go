package punch

import (
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/impl/core"
)

// A peer cannot have this device open connections to where nobody but the peer says that it is, private addresses above all.
func TestClaimedStreams(t *testing.T) {
	for _, name := range []string{"adaptive", "tcp"} {
		for _, kind := range []Kind{Host, Mapped, Relayed} {
			for _, at := range []string{"127.0.0.1:22", "192.168.1.1:80", "198.51.100.7:25", "[fd00::1]:80"} {
				a := NewAgent(Config{Policy: mustLookup(name), Own: netip.MustParseAddrPort("192.0.2.1:1"), Peer: peerAddr}, epoch)
				a.Add(epoch, To(peerAddr), Reflexive)
				a.Add(epoch, To(core.Over(core.TCP, netip.MustParseAddrPort(at))), kind)
				packets, _ := drain(a, epoch)
				for to, n := range packets {
					if p, bare := core.ProtoOf(to); p != core.UDP && bare.Addr() != peerAddr.Addr() {
						t.Errorf("%s, kind %v: %d packets to %v over %v", name, kind, n, bare, p)
					}
				}
			}
		}
	}
}

// The budget of a claimed IP address is one for all protocols.
func TestClaimedProtocolsShareABudget(t *testing.T) {
	a := NewAgent(Config{Policy: mustLookup("adaptive"), Own: netip.MustParseAddrPort("192.0.2.1:1"), Peer: peerAddr}, epoch)
	sent := 0
	for _, p := range []core.Proto{core.UDP, core.TCP} {
		path := To(core.Over(p, nth(1)))
		a.Heard(epoch, path)
		for a.Spend(path, 100) {
			sent++
		}
	}
	if sent > MaxUnconfirmedPackets {
		t.Errorf("%d packets", sent)
	}
}
