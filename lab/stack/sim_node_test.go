package stack

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/lab/sim"
)

// puppet is a core that does what a test says.
type puppet struct {
	out      core.Output
	deadline time.Time
	heard    []string
	timeouts int
	opened   []netip.AddrPort
	openErr  error
}

func (p *puppet) HandlePacket(_ time.Time, _, _ netip.AddrPort, b []byte) {
	p.heard = append(p.heard, string(b))
}
func (p *puppet) HandleTimeout(time.Time) {
	p.timeouts++
	p.deadline = time.Time{}
}
func (p *puppet) Deadline() time.Time { return p.deadline }
func (p *puppet) Ready() core.Output {
	o := p.out
	p.out = core.Output{}
	return o
}
func (p *puppet) HandleOpened(_ time.Time, socks []netip.AddrPort, err error) {
	p.opened, p.openErr = append(p.opened, socks...), err
}

// stage is two puppets: one at home, one at the rendezvous.
type stage struct {
	t        *testing.T
	net      *sim.Net
	home     *simNode
	in, out  *puppet
	outside  netip.AddrPort
	outsider *simNode
}

func newStage(t *testing.T) *stage {
	t.Helper()
	net, err := sim.New(simTopology(t, "two-homes"), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, net: net, in: &puppet{}, out: &puppet{}}
	s.outside = netip.AddrPortFrom(net.Host("rendezvous").Addrs()[0], 9)
	if s.home, err = newSimNode(net, net.Host("camera"), netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	if s.outsider, err = newSimNode(net, net.Host("rendezvous"), s.outside); err != nil {
		t.Fatal(err)
	}
	s.home.drive(s.in, nil)
	s.outsider.drive(s.out, nil)
	return s
}

func (s *stage) run() {
	s.t.Helper()
	if _, err := s.net.Run(s.t.Context(), time.Second, nil); err != nil {
		s.t.Fatal(err)
	}
}

// say has the core at home want something done.
func (s *stage) say(out core.Output) {
	s.home.do(func(time.Time) { s.in.out = out })
	s.run()
}

// A packet's TTL is its own, by the main socket and by another; one to a stream goes nowhere.
func TestSimNodeSends(t *testing.T) {
	s := newStage(t)
	s.say(core.Output{Open: 2})
	if len(s.in.opened) != 2 || s.in.openErr != nil {
		t.Fatalf("opened %v, %v", s.in.opened, s.in.openErr)
	}
	s.say(core.Output{Packets: []core.Packet{
		{To: s.outside, B: []byte("main")},
		{To: s.outside, TTL: 2, B: []byte("short")},
		{From: s.in.opened[0], To: s.outside, B: []byte("other")},
		{From: s.in.opened[0], To: s.outside, TTL: 2, B: []byte("other, short")},
		{From: s.outside, To: s.outside, B: []byte("from elsewhere")},
		{To: core.Over(core.TLS, s.outside), B: []byte("stream")},
	}})
	if len(s.out.heard) != 2 || s.out.heard[0] != "main" || s.out.heard[1] != "other" || s.home.streams != 1 {
		t.Errorf("heard %q, and %d packets to streams", s.out.heard, s.home.streams)
	}
}

// A socket that the core gives back hears nothing and says nothing; the main one stays.
func TestSimNodeCloses(t *testing.T) {
	s := newStage(t)
	s.say(core.Output{Open: 1})
	own, main := s.in.opened[0], s.home.mains[0].Local()
	s.say(core.Output{Close: []netip.AddrPort{own, main}})
	s.say(core.Output{Packets: []core.Packet{{From: own, To: s.outside, B: []byte("gone")}, {To: s.outside, B: []byte("main")}}})
	if len(s.out.heard) != 1 || s.out.heard[0] != "main" {
		t.Errorf("heard %q", s.out.heard)
	}
	if _, err := s.home.host.Listen(own, nil); err != nil {
		t.Errorf("the port is still taken: %v", err)
	}
	if _, err := s.home.host.Listen(main, nil); !errors.Is(err, sim.ErrPortTaken) {
		t.Errorf("the main socket's port: %v", err)
	}
}

// A core gets as many sockets as there may be.
func TestSimNodeBoundsSockets(t *testing.T) {
	s := newStage(t)
	s.say(core.Output{Open: 2 * maxSimSockets})
	if len(s.in.opened) != maxSimSockets-1 {
		t.Errorf("%d sockets beside the main one", len(s.in.opened))
	}
}

// A node that is suspended hears nothing, and its time does not come; once it is woken it does what is due. One that is closed does
// nothing at all.
func TestSimNodeSleeps(t *testing.T) {
	s := newStage(t)
	s.home.Sleep()
	s.in.deadline = s.net.Now()
	s.home.timer.Set(s.in.deadline)
	s.home.receive(s.net.Now(), s.outside, s.outside, []byte("unheard"))
	s.run()
	if s.in.timeouts != 0 || len(s.in.heard) != 0 {
		t.Errorf("asleep it heard %q and had %d timeouts", s.in.heard, s.in.timeouts)
	}
	s.home.Wake()
	s.run()
	if s.in.timeouts != 1 {
		t.Errorf("awake it had %d timeouts, want the one that was due", s.in.timeouts)
	}
	s.home.close()
	s.home.receive(s.net.Now(), s.outside, s.outside, []byte("unheard"))
	s.home.do(func(time.Time) { t.Error("a closed node did something") })
	if len(s.in.heard) != 0 {
		t.Errorf("closed it heard %q", s.in.heard)
	}
}
