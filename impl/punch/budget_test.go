package punch

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// As lab/internal/steady, which the implementation may not import: the same examples in every run.
func init() {
	if os.Getenv("PUNCHLAB_SOAK") == "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}

// auditor is an owner that sends whatever Spend allows, and checks the books.
type auditor struct {
	t       *rapid.T
	a       *Agent
	now     time.Time
	policy  Policy
	sent    map[netip.AddrPort]core.Count // while unconfirmed; by IP address (port 0) where claimed
	claimed map[netip.Addr]bool
	probes  core.Count
	times   []time.Time // of probes
	open    []netip.AddrPort
	asked   []int
	socks   int
}

func (x *auditor) send(p Path, n int, probe bool) bool {
	trusted := slices.ContainsFunc(x.a.cands, func(c *Candidate) bool { return c.Trusted && c.Addr == p.Addr })
	if !x.a.Spend(p, n) {
		return false
	}
	if probe {
		x.probes.Add(n)
		x.times = append(x.times, x.now)
	}
	if trusted {
		return true
	}
	key := p.Addr
	if key.Addr() != peerAddr.Addr() {
		key = netip.AddrPortFrom(key.Addr(), 0)
		x.claimed[key.Addr()] = true
	}
	c := x.sent[key]
	c.Add(n)
	x.sent[key] = c
	if c.Packets > 5 || c.Bytes > 1024 {
		x.t.Fatalf("%v: %+v to the unconfirmed %v", x.now.Sub(epoch), c, key)
	}
	if len(x.claimed) > maxClaimed {
		x.t.Fatalf("packets to %d addresses that only the peer vouches for", len(x.claimed))
	}
	return true
}

func (x *auditor) due() {
	x.a.Due(x.now, func(p Probe) {
		switch {
		case p.Sample:
			x.probes.Add(p.Size)
			x.times = append(x.times, x.now)
			return
		case p.Candidate == nil && p.To.Addr() != peerAddr.Addr():
			x.t.Fatalf("a guess at %v", p.To)
		case p.From.IsValid() && !slices.Contains(x.open, p.From):
			x.t.Fatalf("a probe from %v, which is not open", p.From)
		}
		x.send(p.Path(), p.Size, true)
	})
	if d := x.a.Deadline(); !d.IsZero() && !d.After(x.now) {
		x.t.Fatalf("%v: Due leaves something to do at once, at %v", x.now.Sub(epoch), d.Sub(epoch))
	}
	x.wants()
}

func (x *auditor) wants() {
	n, closed := x.a.Wants()
	for _, s := range closed {
		at := slices.Index(x.open, s)
		if at < 0 {
			x.t.Fatalf("%v is closed, and was not open", s)
		}
		x.open = slices.Delete(x.open, at, at+1)
	}
	if n > 0 {
		x.asked = append(x.asked, n)
	}
}

func (x *auditor) opened(short int) {
	if len(x.asked) == 0 {
		return
	}
	n := max(x.asked[0]-short, 0)
	x.asked = x.asked[1:]
	var socks []netip.AddrPort
	var err error
	if short > 0 {
		err = errors.New("no more sockets")
	}
	for range n {
		x.socks++
		s := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(x.socks >> 8), byte(x.socks)}), 9)
		socks = append(socks, s)
	}
	x.open = append(x.open, socks...)
	x.a.Opened(x.now, socks, err)
	x.wants()
}

var peerAddr = netip.MustParseAddrPort("203.0.113.20:6000")

func drawClass(t *rapid.T, name string) wire.Class {
	c := wire.Class{
		Mapping:   wire.Dependency(rapid.IntRange(0, 3).Draw(t, name+" mapping")),
		Filtering: wire.Dependency(rapid.IntRange(0, 3).Draw(t, name+" filtering")),
		Ports:     wire.PortModel(rapid.IntRange(0, 4).Draw(t, name+" ports")), NoNAT: rapid.IntRange(0, 9).Draw(t, name+" no NAT") == 0,
	}
	switch c.Ports {
	case wire.PortsSequential:
		c.Step = int16(rapid.SampledFrom([]int{1, 2, -1, 7, -32768, 32767}).Draw(t, name+" step"))
	case wire.PortsBlock:
		c.BlockStart, c.BlockSize = 65024, uint16(rapid.SampledFrom([]int{1, 2, 64, 512}).Draw(t, name+" size"))
		if rapid.Bool().Draw(t, name+" low") {
			c.BlockStart, c.BlockSize = 0, 4096
		}
	}
	return c
}

// Whatever the peer says and does, no more leaves than is allowed, and nothing is due for ever.
func TestBudgetsHold(t *testing.T) {
	names := append(Names(), "birthday:512x4096", "birthday:1x1", "prediction:64")
	rapid.Check(t, func(t *rapid.T) {
		policy := mustLookup(rapid.SampledFrom(names).Draw(t, "strategy"))
		x := &auditor{t: t, now: epoch, policy: policy, sent: map[netip.AddrPort]core.Count{}, claimed: map[netip.Addr]bool{}}
		config := func() Config {
			return Config{
				Policy: policy, Role: Role(rapid.IntRange(1, 2).Draw(t, "role")), Mine: drawClass(t, "mine"), Theirs: drawClass(t, "theirs"),
				Own: netip.MustParseAddrPort("192.0.2.1:5000"), Peer: peerAddr,
			}
		}
		x.a = NewAgent(config(), x.now)
		x.wants()
		addr := rapid.Custom(func(t *rapid.T) netip.AddrPort {
			ip := rapid.SampledFrom([]netip.Addr{
				peerAddr.Addr(), peerAddr.Addr(), netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.0.0.9"),
				netip.MustParseAddr("2001:db8::7"),
				netip.AddrFrom4([4]byte{198, 51, 100, byte(rapid.IntRange(0, 30).Draw(t, "host"))}),
			}).Draw(t, "ip")
			return netip.AddrPortFrom(ip, uint16(rapid.IntRange(5998, 6010).Draw(t, "port")))
		})
		path := func() Path {
			p := To(addr.Draw(t, "address"))
			if len(x.open) > 0 && rapid.Bool().Draw(t, "other socket") {
				p.Local = x.open[rapid.IntRange(0, len(x.open)-1).Draw(t, "socket")]
			}
			return p
		}
		x.a.Add(x.now, To(peerAddr), Reflexive)
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			case 0, 1:
				x.a.Add(x.now, path(), rapid.SampledFrom([]Kind{Host, Mapped, Predicted, Relayed}).Draw(t, "kind"))
			case 2:
				x.a.Heard(x.now, path())
				x.wants()
			case 3:
				x.a.Sampled(x.now, addr.Draw(t, "sample"))
				x.wants()
			case 4:
				x.opened(rapid.SampledFrom([]int{0, 0, 0, 1, 1000}).Draw(t, "short"))
			case 5:
				p, n := path(), rapid.IntRange(1, 1100).Draw(t, "bytes")
				x.send(p, n, false)
			case 6:
				if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
					if int(x.probes.Packets) > policy.Budget.Packets {
						t.Fatalf("%d probes", x.probes.Packets)
					}
					x.a.Restart(x.now, config())
					x.probes, x.times = core.Count{}, nil
					x.a.Add(x.now, To(peerAddr), Reflexive)
					x.wants()
				}
			default:
				end := x.now.Add(time.Duration(rapid.IntRange(1, 800).Draw(t, "ms")) * time.Millisecond)
				for d := x.a.Deadline(); !d.IsZero() && !d.After(end); d = x.a.Deadline() {
					if x.now = d; rapid.IntRange(0, 9).Draw(t, "late") == 0 {
						x.now = d.Add(30 * time.Millisecond)
					}
					x.due()
				}
				if x.now.Before(end) {
					x.now = end
				}
				x.due()
			}
		}
		if p := x.a.Probes(); p != x.probes {
			t.Fatalf("%+v reported, %+v sent", p, x.probes)
		}
		if b := policy.Budget; int(x.probes.Packets) > b.Packets || int(x.probes.Bytes) > b.Bytes+samples*sampleSize*4 {
			t.Fatalf("%+v, budget %+v", x.probes, b)
		}
		for i, from := range x.times {
			for j := i; j < len(x.times); j += 50 {
				if n, most := j-i+1, maxBurst+1+int(x.times[j].Sub(from).Seconds()*float64(policy.Budget.Rate)); n > most {
					t.Fatalf("%d probes in %v, at most %d", n, x.times[j].Sub(from), most)
				}
			}
		}
		x.a.Stop(Path{})
		x.wants()
		for len(x.asked) > 0 {
			x.opened(0)
		}
		if len(x.open) > 0 || !x.a.Deadline().IsZero() {
			t.Fatalf("stopped, and %d sockets are open; due at %v", len(x.open), x.a.Deadline())
		}
	})
}
