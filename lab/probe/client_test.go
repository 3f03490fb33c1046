package probe

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// simulation runs a client against a server behind one NAT, in virtual time, on a link that delays, jitters and loses.
type simulation struct {
	behavior nat.Behavior
	delay    time.Duration // one way
	jitter   time.Duration
	loss     float64    // one way
	silent   netip.Addr // server address that does not answer
	simple   bool       // a server without OTHER-ADDRESS

	rng    *rand.Rand
	now    time.Time
	events events
	fwd    map[[2]netip.AddrPort]netip.AddrPort
	rev    map[netip.AddrPort]netip.AddrPort
	opened map[[2]netip.AddrPort]bool
	client *client
}

var (
	hostAddr   = netip.MustParseAddr("10.0.0.2")
	publicAddr = netip.MustParseAddr("203.0.113.2")
	s00        = netip.MustParseAddrPort("198.51.100.1:3478")
	s11        = netip.MustParseAddrPort("198.51.100.2:3479")
)

// event is a delivery.
type event struct {
	at   time.Time
	seq  int
	call func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *simulation) after(d time.Duration, call func()) {
	heap.Push(&s.events, event{s.now.Add(d), int(s.rng.Uint32()), call})
}

// across carries something over the link.
func (s *simulation) across(call func()) {
	if s.rng.Float64() >= s.loss {
		s.after(s.delay+time.Duration(s.rng.Int64N(int64(s.jitter)+1)), call)
	}
}

func narrow(d nat.Dependency, a netip.AddrPort) netip.AddrPort {
	switch d {
	case nat.AddressAndPortDependent:
		return a
	case nat.AddressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	default:
		return netip.AddrPort{}
	}
}

// run classifies and returns how long that took.
func (s *simulation) run(seed uint64, o Options) (Result, time.Duration, error) {
	s.rng = rand.New(rand.NewPCG(seed, 0))
	s.fwd, s.rev, s.opened = map[[2]netip.AddrPort]netip.AddrPort{}, map[netip.AddrPort]netip.AddrPort{}, map[[2]netip.AddrPort]bool{}
	start := time.Unix(1e9, 0)
	s.now = start
	var local [sockets]netip.AddrPort
	for i := range local {
		local[i] = netip.AddrPortFrom(hostAddr, uint16(5000+i))
	}
	s.client = newClient(start, local, s00, o, func() (id txID) {
		for i := range id {
			id[i] = byte(s.rng.Uint32())
		}
		return id
	})
	for steps := 0; ; steps++ {
		s.client.HandleTimeout(s.now)
		for _, p := range s.client.Ready() {
			s.send(local[p.socket], p.to, p.b)
		}
		if s.client.Done() {
			break
		}
		if steps > 1e5 {
			return Result{}, 0, errors.New("does not end")
		}
		next := s.client.Deadline()
		if len(s.events) > 0 && !s.events[0].at.After(next) {
			e := heap.Pop(&s.events).(event)
			s.now = e.at
			e.call()
			continue
		}
		s.now = next
	}
	r, err := s.client.result()
	return r, s.now.Sub(start), err
}

// send passes a packet of the host through the NAT.
func (s *simulation) send(src, dst netip.AddrPort, b []byte) {
	b = append([]byte(nil), b...)
	key := [2]netip.AddrPort{src, narrow(s.behavior.Mapping, dst)}
	ext, ok := s.fwd[key]
	if !ok {
		ext = netip.AddrPortFrom(publicAddr, uint16(20000+len(s.fwd)))
		if s.behavior.PortAssignment == nat.PortPreservation {
			ext = netip.AddrPortFrom(publicAddr, src.Port())
		}
		s.fwd[key], s.rev[ext] = ext, src
	}
	s.opened[[2]netip.AddrPort{ext, narrow(s.behavior.Filtering, dst)}] = true
	if dst.Addr() == publicAddr {
		if s.behavior.Hairpinning == nat.HairpinExternalSource {
			s.receive(ext, dst, b)
		}
		return
	}
	s.across(func() { s.serve(ext, dst, b) })
}

// serve is the server.
func (s *simulation) serve(client, at netip.AddrPort, b []byte) {
	r, err := parseRequest(b)
	if err != nil || at.Addr() == s.silent || s.behavior.UDPBlocked {
		return
	}
	origin := at
	if r.change&changeIP != 0 {
		origin = netip.AddrPortFrom(flip(at.Addr(), s00.Addr(), s11.Addr()), origin.Port())
	}
	if r.change&changePort != 0 {
		origin = netip.AddrPortFrom(origin.Addr(), flip(at.Port(), s00.Port(), s11.Port()))
	}
	if b, err = r.response(client, origin, s11); err != nil {
		panic(err)
	}
	if s.simple {
		b = ask(r.id, 0)
		b[0], b[1] = 1, 1
		b = append(b, 0, 1, 0, 8, 0, 1, byte(client.Port()>>8), byte(client.Port()))
		b = append(b, client.Addr().AsSlice()...)
		b[3] = 12
	}
	s.across(func() { s.receive(origin, client, b) })
}

func flip[T comparable](x, a, b T) T {
	if x == a {
		return b
	}
	return a
}

// receive passes a packet to the host, if the NAT lets it in.
func (s *simulation) receive(src, dst netip.AddrPort, b []byte) {
	internal, ok := s.rev[dst]
	if ok && s.opened[[2]netip.AddrPort{dst, narrow(s.behavior.Filtering, src)}] {
		s.client.HandlePacket(s.now, int(internal.Port())-5000, src, b)
	}
}

func behaviors() (all []nat.Behavior) {
	for m := nat.EndpointIndependent; m <= nat.AddressAndPortDependent; m++ {
		for f := nat.EndpointIndependent; f <= nat.AddressAndPortDependent; f++ {
			b := nat.Behavior{Mapping: m, Filtering: f, PortAssignment: nat.PortSequential, FilterPerMapping: true}
			if m == nat.EndpointIndependent {
				b.PortAssignment, b.Hairpinning = nat.PortPreservation, nat.HairpinExternalSource
			}
			all = append(all, b)
		}
	}
	return all
}

// On a clean link the positive tests take two round trips, and silence is believed soon after the last answer.
func TestTime(t *testing.T) {
	for _, b := range behaviors() {
		for _, delay := range []time.Duration{0, 25 * time.Millisecond, 300 * time.Millisecond} {
			s := simulation{behavior: b, delay: delay}
			r, took, err := s.run(1, Options{})
			if err == nil {
				err = r.Check([]nat.Behavior{b})
			}
			if err != nil {
				t.Errorf("%v at %v: %v", b, delay, err)
			}
			rtt := 2 * delay
			limit := 2 * rtt
			if b.Filtering != nat.EndpointIndependent {
				limit = max(limit, enough*burst+rtt+max(rtt/2, margin))
			}
			if b.Hairpinning == nat.HairpinNone {
				limit = max(limit, 2*rtt+(enough+1)*burst+max(rtt/2, margin))
			}
			if took > limit {
				t.Errorf("%v at a round trip of %v took %v, more than %v", b, rtt, took, limit)
			}
		}
	}
}

func TestLossAndJitter(t *testing.T) {
	for _, link := range []simulation{
		{delay: 5 * time.Millisecond, jitter: 15 * time.Millisecond, loss: 0.02},
		{delay: 2 * time.Millisecond, jitter: 60 * time.Millisecond},
		{delay: 40 * time.Millisecond, jitter: 10 * time.Millisecond, loss: 0.05},
		{delay: 300 * time.Millisecond, jitter: 60 * time.Millisecond, loss: 0.05},
	} {
		wrong, runs := 0, 0
		var last error
		for _, b := range behaviors() {
			for seed := range uint64(200) {
				s := link
				s.behavior = b
				r, _, err := s.run(seed, Options{})
				if err == nil {
					err = r.Check([]nat.Behavior{b})
				}
				if runs++; err != nil {
					wrong++
					last = fmt.Errorf("%v, seed %d: %w", b, seed, err)
				}
			}
		}
		if wrong > runs/500 {
			t.Errorf("delay %v, jitter %v, loss %v: %d of %d runs are wrong; the last: %v", link.delay, link.jitter, link.loss, wrong, runs, last)
		}
	}
}

func TestNoAnswers(t *testing.T) {
	b := behaviors()[0]
	blocked := b
	blocked.UDPBlocked = true
	s := simulation{behavior: blocked}
	r, took, err := s.run(1, Options{RTO: 10 * time.Millisecond, Tries: 3})
	if err != nil || r != (Result{NoUDP: true}) {
		t.Errorf("UDP blocked: %v, %v", r, err)
	}
	if took > 2*time.Second {
		t.Errorf("UDP blocked: seen after %v", took)
	}
	for want, s := range map[string]simulation{
		"198.51.100.2:3478": {behavior: b, silent: s11.Addr()},
		"no RFC 5780":       {behavior: b, simple: true},
	} {
		_, _, err := s.run(1, Options{RTO: 10 * time.Millisecond, Tries: 3})
		if !errors.Is(err, ErrInconclusive) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that names %s", err, want)
		}
	}
	// All but lost: an error or the truth, but always an end.
	for seed := range uint64(300) {
		s := simulation{behavior: behaviors()[8], delay: 20 * time.Millisecond, loss: 0.7}
		if _, took, err := s.run(seed, Options{}); err != nil && !errors.Is(err, ErrInconclusive) || took > time.Minute {
			t.Errorf("seed %d: %v after %v", seed, err, took)
		}
	}
}

func TestCheckSaysWhatDiffers(t *testing.T) {
	symmetric, _ := nat.Lookup("symmetric")
	r := Result{Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent, Translated: true}
	err := r.Check([]nat.Behavior{symmetric})
	if err == nil || !strings.Contains(err.Error(), "got EIM/APDF") || !strings.Contains(err.Error(), "promises APDM/APDF") {
		t.Errorf("got %v", err)
	}
}
