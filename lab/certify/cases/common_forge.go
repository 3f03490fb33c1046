package cases

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
	"github.com/punchlab/punchlab/topologies"
)

// Hosts of the topology attackers, and the third party that victims adds.
const (
	nearHost  = "on-path"  // in the camera's own LAN
	farHost   = "off-path" // in the Internet
	thirdHost = "victim"   // has nothing to do with anybody
)

// victims brings up two homes, hosts that mean them harm, and a third party.
func victims(ctx context.Context, s *stage.Stage) (*stage.Set, error) {
	t, _, err := topologies.Load("attackers")
	if err != nil {
		return nil, err
	}
	t.Public = append(t.Public, lab.PublicHost{Name: thirdHost, Link: "lan"})
	if err := t.Resolve(); err != nil {
		return nil, fmt.Errorf("add a third party to topology attackers: %w", err)
	}
	return s.Topology(ctx, t)
}

// forging sends datagrams in the third party's name, a port of its for each, and counts what it draws.
type forging struct {
	s      *stage.Stage
	x      *stage.Set
	victim netip.Addr
	draw   *rand.Rand
	shots  []inHisName
	socks  []interface{ Close() error }
}

// inHisName is one datagram in the third party's name.
type inHisName struct {
	by      string // the host that sends it
	target  string // the host that it is sent to
	to      netip.AddrPort
	message string
	b       []byte
	port    uint16 // of the third party
}

func newForging(s *stage.Stage, x *stage.Set) *forging {
	return &forging{s: s, x: x, victim: x.Host(thirdHost).Addr(), draw: rand.New(rand.NewPCG(s.Seed(11), 1))}
}

// firstForged is the first of the third party's ports.
const firstForged = 2000

// add has a datagram sent later. The third party listens where the answer would come, so that it says nothing itself.
func (f *forging) add(by, target string, to netip.AddrPort, message string, b []byte) error {
	port := uint16(firstForged + len(f.shots))
	if len(f.shots) > 60000-firstForged {
		return nil
	}
	c, err := f.x.Host(thirdHost).ListenUDP(netip.AddrPortFrom(f.victim, port))
	if err != nil {
		return err
	}
	f.socks = append(f.socks, c)
	f.shots = append(f.shots, inHisName{by, target, to, message, b, port})
	return nil
}

func (f *forging) close() {
	for _, c := range f.socks {
		c.Close()
	}
}

// fire sends what was added, in a random order, so many a second from each host at most.
func (f *forging) fire(ctx context.Context, rate int) error {
	order := slices.Clone(f.shots)
	f.draw.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, by := range []string{nearHost, farHost} {
		var shots []attack.Shot
		for _, g := range order {
			if g.by == by {
				shots = append(shots, attack.Shot{From: netip.AddrPortFrom(f.victim, g.port), To: g.to, B: g.b})
			}
		}
		if len(shots) == 0 {
			continue
		}
		spoofer := &attack.Spoofer{Rate: rate, Next: attack.Once(shots)}
		r, err := spoofer.Run(ctx, f.x.Host(by), attack.Budget{Packets: len(shots) + 1, Duration: attack.MaxDuration})
		if err != nil {
			return err
		}
		f.s.Note("host %s sent %d datagrams in the name of host %s, of %d %v", by, r.Sent.Packets, thirdHost, len(shots), r.Counts)
	}
	return ctx.Err()
}

// volley sends shots from a host, once each.
func volley(ctx context.Context, m *lab.Machine, rate int, shots []attack.Shot) error {
	if len(shots) == 0 {
		return nil
	}
	sp := &attack.Spoofer{Rate: rate, Next: attack.Once(shots)}
	r, err := sp.Run(ctx, m, attack.Budget{Packets: len(shots) + 1, Duration: time.Minute})
	switch {
	case err != nil:
		return err
	case r.Ended != attack.Done:
		return fmt.Errorf("send %d packets from %s: %d were sent: %s", len(shots), m.Name, r.Sent.Packets, r.Ended)
	}
	return ctx.Err()
}

// drawn is what a forged datagram was answered with, at the third party.
type drawn struct {
	inHisName
	In, Out int64 // bytes, IP headers counted: that came to the target, that it sent to the third party
	ICMP    int64 // of Out: what the target's system says of a port where nobody listens, which quotes what came
	Packets int   // of Out
}

// count tells, datagram by datagram, what the targets were sent and what they sent, from a position of the tape on; and how many packets
// went to the third party that belong to none.
func (f *forging) count(from int) (all []drawn, others int) {
	byPort := map[uint16]*drawn{}
	all = make([]drawn, len(f.shots))
	for i, g := range f.shots {
		all[i].inHisName = g
		byPort[g.port] = &all[i]
	}
	for _, p := range f.x.Tape().Packets(from, tape.Not(tape.At(thirdHost)), tape.Any(tape.By(f.victim), tape.To(f.victim))) {
		switch {
		case !p.Out && p.Src.Addr() == f.victim:
			if d := byPort[p.Src.Port()]; d != nil && d.target == p.Host {
				d.In += int64(p.Size)
			}
		case p.Out && p.Dst.Addr() == f.victim:
			port := p.Dst.Port()
			if tape.ICMP(&p) {
				port = quoted(p.Payload)
			}
			d := byPort[port]
			if p.Host == nearHost || p.Host == farHost {
				continue // the attackers' own hosts
			}
			if d == nil {
				others++
				continue
			}
			d.Out += int64(p.Size)
			d.Packets++
			if tape.ICMP(&p) {
				d.ICMP += int64(p.Size)
			}
		}
	}
	return all, others
}

// quoted is the source port of the datagram that an ICMP message tells of.
func quoted(icmp []byte) uint16 {
	if len(icmp) < packet.ICMPHeaderLen+packet.IPv4HeaderLen {
		return 0
	}
	b := icmp[packet.ICMPHeaderLen:]
	if n := int(b[0]&15) * 4; len(b) >= n+2 {
		return binary.BigEndian.Uint16(b[n:])
	}
	return 0
}

// sample are datagrams that came to a host, one or a few of each sort: by the first byte, the size and the port. Media of which one is
// like the other comes once.
func sample(ps []tape.Packet, most int) (found []tape.Packet) {
	type sort struct {
		first byte
		size  int
		port  uint16
	}
	seen := map[sort]bool{}
	for _, p := range ps {
		if !tape.UDP(&p) || p.Fragment || len(p.Payload) == 0 || len(found) == most {
			continue
		}
		k := sort{p.Payload[0], len(p.Payload), p.Dst.Port()}
		if len(p.Payload) >= tape.MediaSize {
			k.size, k.first = tape.MediaSize, 0
		}
		if !seen[k] {
			seen[k] = true
			found = append(found, p)
		}
	}
	return found
}

// ends are the UDP endpoints at which a host got something, those first that got most.
func ends(ps []tape.Packet, most int) (found []netip.AddrPort) {
	counts := map[netip.AddrPort]int{}
	for _, p := range ps {
		if tape.UDP(&p) && p.Dst.Addr().Is4() && !p.Dst.Addr().IsMulticast() && p.Dst.Port() > 0 {
			counts[p.Dst]++
		}
	}
	for e := range counts {
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b netip.AddrPort) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return a.Compare(b)
	})
	return found[:min(len(found), most)]
}

// settle waits as long as a criterion watches.
func settle(ctx context.Context, s *stage.Stage, what string, d time.Duration) error {
	s.Note("watching for %v: %s", d, what)
	return s.Pause(ctx, d)
}
