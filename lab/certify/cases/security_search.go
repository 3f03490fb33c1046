package cases

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// unanswered is SEC-10: a host of the Internet searches for the camera, by ports that its router forwards to it, or that it has had
// mapped, and then where it has a public address. What was sent counts where it came to the camera; any datagram back is an answer.
func unanswered(ctx context.Context, s *stage.Stage) certify.Result {
	for _, where := range []struct{ what, nat string }{{"behind its router", ""}, {"at a public address", "open"}} {
		var params []string
		if where.nat != "" {
			params = []string{"camera.nat", where.nat}
		}
		x, camera, err := bring(ctx, s, "attackers", params...)
		if err != nil {
			return s.Judge(err)
		}
		q := &searcher{s: s, x: x, camera: camera}
		if err := q.aim(where.nat == ""); err != nil {
			return s.Judge(err)
		}
		answers, err := q.search(ctx, s.N(8, 1))
		if err != nil {
			return s.Judge(cmp.Or(camera.Fault(), err))
		}
		s.Note("%s: %d searches arrived, %d were answered", where.what, q.arrived, len(answers))
		if len(answers) > 0 {
			a := answers[0]
			return s.Fail("%s %d of %d searches from the Internet were answered: %s with %d bytes to its %d at udp/%d",
				where.what, len(answers), q.arrived, a.name, a.bytes, a.sent, a.port)
		}
		if q.arrived == 0 {
			return s.Inconclusive("%s no search from the Internet arrived at the camera", where.what)
		}
	}
	return s.Pass()
}

// searcher is a host of the Internet that looks for the camera.
type searcher struct {
	s       *stage.Stage
	x       *stage.Set
	camera  *stage.Camera
	at      []aimed
	arrived int
}

// aimed is a UDP port of the camera's, and where it is from outside.
type aimed struct {
	port uint16
	to   netip.AddrPort
	own  bool // the camera sends from it, or declares it: every search is for it
}

func (a aimed) String() string {
	if a.own {
		return fmt.Sprintf("%d at %v (its own)", a.port, a.to)
	}
	return fmt.Sprintf("%d at %v", a.port, a.to)
}

// aim finds out where the camera's ports are from outside: its own, and those of searches, which are forwarded where there is a router.
func (q *searcher) aim(behind bool) error {
	own := map[uint16]bool{}
	for _, p := range q.s.Decl().Bounds.Ports {
		own[p.Number] = own[p.Number] || p.Protocol == "udp"
	}
	for _, p := range q.x.Tape().Packets(0, q.camera.Out(), tape.UDP) {
		if !p.Dst.Addr().IsMulticast() && p.Dst.Addr().Is4() {
			own[p.Src.Port()] = true
		}
	}
	for _, p := range searches() {
		if _, known := own[p.port]; !known {
			own[p.port] = false
		}
	}
	ports := []uint16{}
	for port := range own {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	i := slices.IndexFunc(q.camera.Addrs(), netip.Addr.Is4)
	if i < 0 {
		return fmt.Errorf("search for the camera: it has no IPv4 address among %v", q.camera.Addrs())
	}
	for _, port := range ports {
		to := netip.AddrPortFrom(q.camera.Addrs()[i], port)
		if behind {
			var err error
			if to, err = q.forward(port); err != nil {
				return err
			}
		}
		q.at = append(q.at, aimed{port, to, own[port]})
	}
	q.s.Note("the camera's ports from outside: %v", q.at)
	return nil
}

// forward has a port forwarded, as the camera's owner would. One that the camera has had mapped itself is where the router has it.
func (q *searcher) forward(port uint16) (netip.AddrPort, error) {
	forward := func() (netip.AddrPort, error) { return q.x.Lab().Forward(q.camera.Host(), port) }
	if box := q.x.Box(); box != nil {
		forward = func() (netip.AddrPort, error) { return box.Forward(port) }
	}
	to, err := forward()
	if !errors.Is(err, nat.ErrPortTaken) {
		return to, err
	}
	outside := q.x.Lab().Topology().SiteOf("camera").WAN
	return netip.AddrPortFrom(outside[0], port), nil
}

// answer is what came back of a search.
type answer struct {
	name        string
	port        uint16
	sent, bytes int // of UDP payload
}

// outsidePort is from which the first search comes. Each has its own, by which answers are told apart.
const outsidePort = 10000

// search sends all searches to their ports, rounds times, and returns those that were answered.
func (q *searcher) search(ctx context.Context, rounds int) (answers []answer, err error) {
	m := q.x.Host("off-path")
	var shots []attack.Shot
	var names []string
	own, err := q.spoken()
	if err != nil {
		return nil, err
	}
	for range rounds {
		for _, p := range append(searches(), own...) {
			for _, at := range q.at {
				if at.port != p.port && !at.own {
					continue
				}
				from := netip.AddrPortFrom(m.Addr(), outsidePort+uint16(len(shots)))
				shots, names = append(shots, attack.Shot{From: from, To: at.to, B: p.b}), append(names, p.name)
			}
		}
	}
	from := q.x.Tape().Mark()
	if err := volley(ctx, m, 150, shots); err != nil {
		return nil, err
	}
	if err := q.s.Pause(ctx, q.s.For(5*time.Second, 700*time.Millisecond)); err != nil { // for late answers: SSDP's come within MX, 1 s
		return nil, err
	}
	arrived := map[uint16]uint16{} // by source port: at which port of the camera's
	for _, p := range q.x.Tape().Packets(from, tape.CameTo(q.camera.Host()), tape.By(m.Addr()), tape.UDP) {
		arrived[p.Src.Port()] = p.Dst.Port()
	}
	bytes := map[uint16]int{}
	for _, p := range q.x.Tape().Packets(from, q.camera.Out(), tape.To(m.Addr())) {
		if p.Protocol != packet.ProtocolICMP { // a refusal by its system, shorter than what it refuses
			bytes[p.Dst.Port()] += len(p.Payload)
		}
	}
	for i, shot := range shots {
		port, here := arrived[shot.From.Port()]
		n, answered := bytes[shot.From.Port()]
		if !here && !answered {
			continue
		}
		q.arrived++
		q.s.Saw("arrived", 1)
		q.s.Saw("tries", 1)
		q.s.Try(answered)
		if answered {
			answers = append(answers, answer{names[i], port, len(shot.B), n})
		}
	}
	return answers, nil
}

// spoken are what the bundled protocol knows beside: each kind of datagram that anybody can make who has seen the camera's key.
func (q *searcher) spoken() (out []probe, err error) {
	ticket, err := q.camera.Ticket()
	if err != nil {
		return nil, err
	}
	l, err := ids.ParseLabel(string(ticket))
	if err != nil {
		return nil, nil // it speaks another protocol
	}
	for _, k := range attack.Kinds(attack.ToCamera, l.Key, seeded(q.s.Seed(1))) {
		b, err := k.Make()
		if err != nil {
			return nil, err
		}
		out = append(out, probe{"bundled: " + k.Name, 0, b})
	}
	return out, nil
}

// seeded is randomness that is the same in each run of the same seed.
func seeded(seed uint64) *rand.ChaCha8 {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	return rand.NewChaCha8(b)
}
