package punch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// nth is one of many addresses of third parties.
func nth(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 53)
}

// drain lets an agent do all that it wants until it gives up, and counts what goes out, by address.
func drain(a *Agent, now time.Time) (packets map[netip.AddrPort]int, last time.Time) {
	packets = map[netip.AddrPort]int{}
	for d := a.Deadline(); !d.IsZero(); d = a.Deadline() {
		now = d
		a.Due(now, func(p Probe) {
			if !p.Sample && a.Spend(p.Path(), p.Size) {
				packets[p.To]++
			}
		})
		if n, _ := a.Wants(); n > 0 {
			var socks []netip.AddrPort
			for i := range n {
				socks = append(socks, netip.AddrPortFrom(internalNet, uint16(10000+i)))
			}
			a.Opened(now, socks, nil)
		}
	}
	return packets, now
}

// A peer that names a thousand addresses has ten of them tried, five packets each at most, and the budget of 1,024 bytes.
func TestCandidateFlood(t *testing.T) {
	a := NewAgent(Config{Policy: adaptive, Own: netip.MustParseAddrPort("192.0.2.1:1"), Peer: peerAddr}, epoch)
	a.Add(epoch, To(peerAddr), Reflexive)
	for i := range 1000 {
		a.Add(epoch, To(nth(i)), Host)
	}
	packets, _ := drain(a, epoch)
	if len(packets) != MaxCandidates {
		t.Errorf("packets to %d addresses", len(packets))
	}
	for to, n := range packets {
		if to != peerAddr && n > MaxUnconfirmedPackets {
			t.Errorf("%d packets to %v", n, to)
		}
	}
}

// One that sends from a thousand forged addresses has at most ten of them answered, and the real ones still get a place.
func TestForgedSources(t *testing.T) {
	a := NewAgent(Config{Policy: adaptive, Peer: peerAddr}, epoch)
	a.Add(epoch, To(peerAddr), Reflexive)
	answered := map[netip.Addr]int{}
	for i := range 3000 {
		p := To(nth(i % 1000))
		if c := a.Heard(epoch, p); c == nil {
			t.Fatalf("source %d is refused: the real one would be, too", i)
		}
		for a.Spend(p, 192) {
			answered[p.Addr.Addr()]++
		}
	}
	if len(answered) != maxClaimed {
		t.Errorf("answers to %d addresses", len(answered))
	}
	for ip, n := range answered {
		if n > MaxUnconfirmedPackets {
			t.Errorf("%d answers to %v", n, ip)
		}
	}
	if c := a.Find(To(peerAddr)); c == nil || !a.Spend(To(peerAddr), 1200) {
		t.Error("the peer's endpoint is forgotten")
	}
	if n := len(a.ledger.spent); n > maxClaimed {
		t.Errorf("%d entries are kept", n)
	}
}

// All ports of an address that the peer only claims share one budget; those at its own address have one each.
func TestPortsOfAClaimedAddress(t *testing.T) {
	for ip, want := range map[string]int{"198.51.100.7": 5, "203.0.113.20": 20} {
		a := NewAgent(Config{Policy: adaptive, Peer: peerAddr}, epoch)
		sent := 0
		for port := range 4 {
			p := To(netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(100+port)))
			a.Heard(epoch, p)
			for a.Spend(p, 192) {
				sent++
			}
		}
		if sent != want {
			t.Errorf("%s: %d packets, want %d", ip, sent, want)
		}
	}
}

// Private addresses are tried only where the peer may be in the same network.
func TestPrivateCandidates(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, tt := range []struct {
		own, peer, candidate string
		want                 bool
	}{
		{"192.0.2.1:1", "203.0.113.20:2", "192.168.1.5:3", false},
		{"192.0.2.1:1", "203.0.113.20:2", "100.64.0.5:3", false},
		{"192.0.2.1:1", "203.0.113.20:2", "127.0.0.1:3", false},
		{"192.0.2.1:1", "203.0.113.20:2", "[fd00::1]:3", false},
		{"192.0.2.1:1", "203.0.113.20:2", "[fe80::1]:3", false},
		{"192.0.2.1:1", "203.0.113.20:2", "[::ffff:10.0.0.1]:3", false},
		{"192.0.2.1:1", "203.0.113.20:2", "198.51.100.7:3", true},
		{"192.0.2.1:1", "203.0.113.20:2", "[2001:db8::1]:3", true},
		{"203.0.113.20:1", "203.0.113.20:2", "192.168.1.5:3", true},
		{"10.0.0.1:1", "10.0.0.2:2", "192.168.1.5:3", true},
	} {
		a := NewAgent(Config{Policy: adaptive, Own: at(tt.own), Peer: at(tt.peer)}, epoch)
		if got := a.Add(epoch, To(at(tt.candidate)), Host) != nil; got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// A peer that lies about its sample, or sends many, has nobody probed but itself, within the budget.
func TestSampleFlood(t *testing.T) {
	a := NewAgent(Config{Policy: adaptive, Role: Viewer, Mine: cone, Theirs: sequential, Peer: peerAddr}, epoch)
	a.Add(epoch, To(peerAddr), Reflexive)
	quiet, _ := drain(NewAgent(a.cfg, epoch), epoch)
	if len(quiet) > 0 {
		t.Errorf("guesses without a sample: %v", quiet)
	}
	for i := range 500 {
		a.Sampled(epoch, nth(i))
	}
	if len(a.volleys) > 0 {
		t.Error("a third party's sample begins a guess")
	}
	for i := range 500 {
		a.Sampled(epoch, netip.AddrPortFrom(peerAddr.Addr(), uint16(1000+40*i)))
	}
	packets, _ := drain(a, epoch)
	total := 0
	for to, n := range packets {
		if total += n; to.Addr() != peerAddr.Addr() {
			t.Errorf("%d packets to %v", n, to)
		}
	}
	if most := 2*adaptive.Predict.Rounds*adaptive.Predict.Window*len(pace.repeat) + 20; total > most {
		t.Errorf("%d packets, at most %d", total, most)
	}
}

// A peer that claims a NAT which it does not have costs a budget of probes at its own address, and no more; what it asks for cannot
// exceed the bounds of parameters.
func TestClaimedClassCostsABudget(t *testing.T) {
	for _, name := range []string{"adaptive", "birthday", "birthday:512x4096"} {
		policy := mustLookup(name)
		for _, role := range []Role{Viewer, Camera} {
			for _, classes := range [][2]wire.Class{{cone, symmetric}, {symmetric, cone}} {
				a := NewAgent(Config{Policy: policy, Role: role, Mine: classes[0], Theirs: classes[1], Peer: peerAddr}, epoch)
				a.Add(epoch, To(peerAddr), Reflexive)
				packets, last := drain(a, epoch)
				for to := range packets {
					if to.Addr() != peerAddr.Addr() {
						t.Errorf("%s: packets to %v", name, to)
					}
				}
				if p := a.Probes(); int(p.Packets) > policy.Budget.Packets || int(p.Bytes) > policy.Budget.Bytes || last.After(a.GiveUp()) {
					t.Errorf("%s: %+v until %v", name, p, last.Sub(epoch))
				}
				if n := len(packets); classes[0] == cone && n < policy.Birthday.Probes {
					t.Errorf("%s: only %d ports are probed", name, n)
				}
				if len(a.sockets.open) > 0 {
					t.Errorf("%s: %d sockets are open after the end", name, len(a.sockets.open))
				}
			}
		}
	}
}

// A budget that is spent ends the guesses; the candidates' own punches have a reserve.
func TestSpentBudget(t *testing.T) {
	policy := mustLookup("birthday:1x1000")
	policy.Budget.Packets = 300
	a := NewAgent(Config{Policy: policy, Role: Viewer, Mine: cone, Theirs: symmetric, Peer: peerAddr}, epoch)
	a.Add(epoch, To(peerAddr), Reflexive)
	packets, _ := drain(a, epoch)
	if p := a.Probes().Packets; p > 300-reserved+20 || packets[peerAddr] < 10 {
		t.Errorf("%d probes, %d of them to the peer's endpoint", p, packets[peerAddr])
	}
	policy.Budget = Budget{Packets: 7, Bytes: 400, Rate: 10}
	a = NewAgent(Config{Policy: policy, Peer: peerAddr}, epoch)
	a.Add(epoch, To(peerAddr), Reflexive)
	if packets, _ := drain(a, epoch); packets[peerAddr] != 2 { // of 192 bytes each
		t.Errorf("%v", packets)
	}
	policy.Budget.Bytes = 4000
	a = NewAgent(Config{Policy: policy, Peer: peerAddr}, epoch)
	a.Add(epoch, To(peerAddr), Reflexive)
	if packets, _ := drain(a, epoch); packets[peerAddr] != 7 {
		t.Errorf("%v", packets)
	}
}

// What was sent to an unconfirmed address stays counted when a connection looks for paths anew; so a replayed or repeated request buys
// nothing.
func TestRestartKeepsTheBooks(t *testing.T) {
	cfg := Config{Policy: adaptive, Peer: peerAddr}
	a := NewAgent(cfg, epoch)
	sent := 0
	for range 20 {
		a.Restart(epoch, cfg)
		a.Add(epoch, To(nth(1)), Host)
		packets, _ := drain(a, epoch)
		sent += packets[nth(1)]
	}
	if sent != MaxUnconfirmedPackets {
		t.Errorf("%d packets", sent)
	}
}

// An agent that has stopped or given up sends nothing, whatever comes.
func TestNothingAfterTheEnd(t *testing.T) {
	for _, give := range []bool{false, true} {
		a := NewAgent(Config{Policy: adaptive, Role: Viewer, Mine: symmetric, Theirs: cone, Peer: peerAddr}, epoch)
		a.Add(epoch, To(peerAddr), Reflexive)
		n, _ := a.Wants()
		now := epoch.Add(time.Minute)
		if give {
			a.Due(now, func(p Probe) { t.Errorf("%+v", p) })
		} else {
			a.Stop(To(peerAddr))
		}
		a.Opened(now, make([]netip.AddrPort, n), nil)
		if _, closed := a.Wants(); len(closed) != n || n != adaptive.Birthday.Sockets {
			t.Errorf("%d of %d late sockets are closed", len(closed), n)
		}
		a.Heard(now, To(nth(1)))
		a.Sampled(now, netip.AddrPortFrom(peerAddr.Addr(), 9))
		a.Add(now, To(nth(2)), Host)
		a.Due(now, func(p Probe) { t.Errorf("%+v", p) })
		if d := a.Deadline(); !d.IsZero() {
			t.Errorf("due at %v", d)
		}
	}
}

// The socket of the path that was found is kept until the next one is.
func TestSocketsOutliveTheSearch(t *testing.T) {
	cfg := Config{Policy: adaptive, Role: Viewer, Mine: symmetric, Theirs: cone, Peer: peerAddr}
	a := NewAgent(cfg, epoch)
	n, _ := a.Wants()
	var socks []netip.AddrPort
	for i := range n {
		socks = append(socks, netip.AddrPortFrom(internalNet, uint16(10000+i)))
	}
	a.Opened(epoch, socks, nil)
	a.Heard(epoch, Between(socks[7], peerAddr))
	a.Stop(Between(socks[7], peerAddr))
	if _, closed := a.Wants(); len(closed) != n-1 {
		t.Errorf("%d closed", len(closed))
	}
	a.Restart(epoch, cfg)
	if again, closed := a.Wants(); again != n || len(closed) != 0 {
		t.Errorf("wants %d, closes %d", again, len(closed))
	}
	a.Stop(To(peerAddr))
	if _, closed := a.Wants(); len(closed) != 1 || closed[0] != socks[7] {
		t.Errorf("closed %v", closed)
	}
}

// A search is not begun again where nothing is new: its sockets would be opened again, and its guesses sent. Where something is, the
// old ones stay until the end: the media may go by one of them.
func TestRestartGoesOn(t *testing.T) {
	policy, _ := Lookup("adaptive")
	cfg := Config{
		Policy: policy, Own: nth(2), Peer: peerAddr,
		Mine:   wire.Class{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsRandom},
		Theirs: wire.Class{Mapping: wire.EndpointIndependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsPreserved},
	}
	a := NewAgent(cfg, epoch)
	n, _ := a.Wants()
	var socks []netip.AddrPort
	for i := range n {
		socks = append(socks, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(1000+i)))
	}
	a.Opened(epoch, socks, nil)
	now := epoch.Add(time.Second)
	a.Restart(now, cfg)
	if open, closed := a.Wants(); n != policy.Birthday.Sockets || open != 0 || len(closed) != 0 {
		t.Errorf("of %d sockets %d are opened again, %d closed", n, open, len(closed))
	}
	news := cfg
	news.Peer = nth(1)
	a.Restart(now, news)
	if open, closed := a.Wants(); open != n || len(closed) != 0 {
		t.Errorf("with news, %d are opened, %d closed", open, len(closed))
	}
	a.Opened(now, socks, nil)
	a.Stop(Path{})
	a.Restart(now, news)
	if open, _ := a.Wants(); open != n {
		t.Errorf("after the end, %d are opened", open)
	}
}
