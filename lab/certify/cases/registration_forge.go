package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// piece is what a camera said to a server at once: a datagram, or all that it said in a stream.
type piece struct {
	To  netip.AddrPort
	TCP bool
	B   []byte
}

// overheard is what whoever is on the path has of the camera's words to its servers since a position of the tape, but for STUN, which
// registers nobody.
func overheard(x *stage.Set, camera *stage.Camera, from int) (said []piece) {
	ps := x.Tape().Packets(from, camera.Out(), tape.To(x.Servers(camera.Host())...), tape.Full, func(p *tape.Packet) bool { return !p.Fragment })
	for _, p := range tape.Select(ps, tape.UDP) {
		if p.Dst.Addr().Is4() && !aSTUN(p.Payload) {
			said = append(said, piece{To: p.Dst, B: p.Payload})
		}
	}
	return append(said, streamsOf(tape.Select(ps, tape.TCP))...)
}

// streamsOf puts segments of one direction together, connection by connection, until a piece is missing.
func streamsOf(ps []tape.Packet) (said []piece) {
	type ends struct{ src, dst netip.AddrPort }
	var order []ends
	parts := map[ends][]tape.Packet{}
	for _, p := range ps {
		e := ends{p.Src, p.Dst}
		if parts[e] == nil {
			order = append(order, e)
		}
		parts[e] = append(parts[e], p)
	}
	for _, e := range order {
		first := parts[e][0].Seq
		for _, p := range parts[e] {
			if int32(p.Seq-first) < 0 {
				first = p.Seq
			}
		}
		segments := parts[e]
		slices.SortStableFunc(segments, func(a, b tape.Packet) int { return int(int32(a.Seq-first)) - int(int32(b.Seq-first)) })
		var b []byte
		for _, p := range segments {
			at := int(p.Seq - first)
			if at > len(b) {
				break
			}
			if end := at + len(p.Payload); end > len(b) {
				b = append(b[:at:at], p.Payload...)
			}
		}
		said = append(said, piece{To: e.dst, TCP: true, B: b})
	}
	return said
}

// The ways to register as somebody else.
const (
	sentAgain   = "a registration of the camera's, sent again"
	sentAltered = "a registration of the camera's, altered"
	claimedKey  = "a registration under the camera's key without it"
)

// forgery is one try.
type forgery struct {
	How string
	piece
}

// forger makes tries from what was overheard and, of the bundled protocol, from what is public.
type forger struct {
	said  []piece
	draw  *rand.Rand
	kinds []string
	label ids.Label
}

// newForger makes one. only are the ways; none: all that there are for this protocol.
func newForger(s *stage.Stage, said []piece, ticket []byte, only ...string) *forger {
	f := &forger{said: said, draw: rand.New(rand.NewPCG(s.Seed(1000), 7)), kinds: only}
	label, bundled := labelOf(ticket)
	f.label = label
	if len(only) == 0 {
		f.kinds = []string{sentAgain, sentAltered}
		if bundled {
			f.kinds = append(f.kinds, claimedKey)
		}
	}
	return f
}

// make is the i-th try, from 0.
func (f *forger) make(i int) (forgery, error) {
	how := f.kinds[i%len(f.kinds)]
	p := f.said[i/len(f.kinds)%len(f.said)]
	b := bytes.Clone(p.B)
	switch how {
	case sentAltered:
		switch at := f.draw.IntN(len(b)); f.draw.IntN(4) {
		case 0:
			b = b[:at+1]
		case 1:
			b = append(b, b[at:]...)
		default:
			b[at] ^= 1 << f.draw.IntN(8)
		}
		b = b[:min(len(b), 1400)]
	case claimedKey:
		var seed [32]byte
		for j := range seed {
			seed[j] = byte(f.draw.Uint32())
		}
		var err error
		if b, err = attack.Claim(f.label.Key, f.label.RendezvousKey, rand.NewChaCha8(seed)); err != nil {
			return forgery{}, err
		}
		if i := slices.IndexFunc(f.said, func(p piece) bool { return !p.TCP }); i >= 0 {
			p = f.said[i]
		}
		p.TCP = false
	}
	p.B = b
	return forgery{how, p}, nil
}

// registrant is a host that wants to be taken for the camera. What it gets is on the tape.
type registrant struct {
	host    *lab.Machine
	conn    *net.UDPConn
	streams []net.Conn
}

// registrantHost is one of topology attackers, public, and free to write any source address.
const registrantHost = "off-path"

func newRegistrant(x *stage.Set) (*registrant, error) {
	m := x.Host(registrantHost)
	conn, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return nil, fmt.Errorf("the impostor's socket: %w", err)
	}
	return &registrant{host: m, conn: conn}, nil
}

func (a *registrant) close() {
	_ = a.conn.Close()
	a.hangUp()
}

func (a *registrant) hangUp() {
	for _, c := range a.streams {
		_ = c.Close()
	}
	a.streams = nil
}

// try sends one, from its own address. A stream stays open, so that whoever takes it for the camera may go on.
func (a *registrant) try(ctx context.Context, f forgery) error {
	if !f.TCP {
		_, err := a.conn.WriteToUDPAddrPort(f.B, f.To)
		return err
	}
	if len(a.streams) >= 8 {
		_ = a.streams[0].Close()
		a.streams = a.streams[1:]
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := a.host.DialTCP(short, netip.AddrPort{}, f.To)
	if err != nil { // the server does not take it: that is its right
		return ctx.Err()
	}
	a.streams = append(a.streams, c)
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(f.B)
	return nil
}

// between is a pause between two tries, that the server has time for each.
const between = 3 * time.Millisecond

// batch makes tries from at on: from the impostor's own address, and where from is valid the datagrams from there. It returns how many of
// each way were made.
func (a *registrant) batch(ctx context.Context, s *stage.Stage, f *forger, at, n int, from netip.AddrPort) (map[string]int, error) {
	made := map[string]int{}
	var shots []attack.Shot
	for i := at; i < at+n; i++ {
		t, err := f.make(i)
		if err != nil {
			return made, err
		}
		if from.IsValid() {
			if t.TCP {
				continue // nobody off the path gets further than a SYN
			}
			shots = append(shots, attack.Shot{From: from, To: t.To, B: t.B})
		} else if err := errors.Join(a.try(ctx, t), s.Pause(ctx, between)); err != nil {
			return made, fmt.Errorf("the impostor tries: %w", err)
		}
		made[t.How]++
	}
	if len(shots) == 0 {
		return made, nil
	}
	spoofer := attack.Spoofer{Rate: int(time.Second / between), Next: attack.Once(shots)}
	_, err := spoofer.Run(ctx, a.host, attack.Budget{Packets: len(shots), Duration: time.Minute})
	return made, err
}

// led is how many packets a viewer sent to the impostor, or the camera did, since a position of the tape: they were led to it.
func (a *registrant) led(x *stage.Set, from int, hosts ...string) int {
	return x.Tape().Count(from, tape.From(hosts...), tape.To(a.host.Addrs...), tape.Any(tape.UDP, tape.TCP))
}

// told is how many packets the impostor got in which a host's address stands in the open, from outside or inside.
func (a *registrant) told(x *stage.Set, from int, host string) (n int) {
	routes := x.Routes()
	addrs := append(slices.Clone(x.Host(host).Addrs), routes.External(host)...)
	for _, addr := range addrs {
		n += x.Tape().Count(from, tape.CameTo(a.host.Name), tape.Carries(addr.AsSlice()))
		n += x.Tape().Count(from, tape.CameTo(a.host.Name), tape.Carries([]byte(addr.String())))
	}
	return n
}
