package uplink

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first = netip.MustParseAddrPort("203.0.113.1:3478")
	other = netip.MustParseAddrPort("203.0.113.2:3478")
	me    = netip.MustParseAddrPort("192.0.2.1:20000")
)

func random(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

func key(t testing.TB, n byte) identity.Key {
	t.Helper()
	k, err := identity.NewKey(random(n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pair is a link and a rendezvous that answers when told to.
type pair struct {
	t    testing.TB
	box  core.Outbox
	l    *Link
	r    *session.Responder
	sess *session.Session
	now  time.Time
	ups  int
	down int
	seen netip.AddrPort // where the rendezvous sees the link
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{t: t, now: epoch, seen: me}
	var err error
	p.l, err = New(Config{
		Session: session.Config{Static: key(t, 1), Rand: random(2)}, Rendezvous: key(t, 3).Public(), Addrs: []netip.AddrPort{first, other},
		Keepalive: 15 * time.Second, Hello: &wire.Login{Version: 1},
		Up: func(time.Time, wire.Message) { p.ups++ }, Down: func(time.Time) { p.down++ },
	}, &p.box)
	p.must(err)
	p.r, err = session.NewResponder(session.Config{Static: key(t, 3), Rand: random(4), Prologue: []byte(core.PrologueRendezvous)})
	p.must(err)
	return p
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) sent() (ps []core.Packet) {
	for _, x := range p.box.Ready().Packets {
		x.B = bytes.Clone(x.B)
		ps = append(ps, x)
	}
	p.box.Begin()
	return ps
}

type timed struct {
	at time.Duration
	core.Packet
}

func (p *pair) advance(d time.Duration) (ps []timed) {
	end := p.now.Add(d)
	for {
		at := p.l.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		p.now = at
		p.l.HandleTimeout(at)
		for _, x := range p.sent() {
			ps = append(ps, timed{at.Sub(epoch), x})
		}
	}
	p.now = end
	return ps
}

// step goes to the next deadline.
func (p *pair) step() []timed { return p.advance(p.l.Deadline().Sub(p.now)) }

// accept answers an initiation after a round trip.
func (p *pair) accept(initiation []byte, rtt time.Duration) []core.Packet {
	p.t.Helper()
	req, _, err := p.r.Open(p.now, p.seen, false, initiation)
	p.must(err)
	payload, err := wire.Marshal(&wire.LoggedIn{Endpoint: wire.At(p.seen), Expiry: 35})
	p.must(err)
	var response []byte
	p.sess, response, err = req.Accept(payload)
	p.must(err)
	p.now = p.now.Add(rtt)
	_, err = p.l.Handle(p.now, first, response)
	p.must(err)
	return p.sent()
}

// pong answers the ping among the packets, if there is one.
func (p *pair) pong(b []byte) {
	p.t.Helper()
	plain, err := p.sess.Open(nil, b)
	p.must(err)
	m, err := wire.Unmarshal(plain)
	p.must(err)
	answer, err := wire.Marshal(&wire.Pong{Sequence: m.(*wire.Ping).Sequence, Endpoint: wire.At(me)})
	p.must(err)
	_, err = p.l.Handle(p.now, first, p.sess.Seal(nil, answer))
	p.must(err)
}

// The initiation goes out again, three times to each address as quickly as to the one before, then to one after the other, ten times in
// the first ten seconds, later and later after that; after 10 s a new one, since the rendezvous keeps no answer longer and would take the
// old one for a replay for good.
func TestGreeting(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	hello := p.sent()[0]
	ps := p.advance(time.Minute)
	early := slices.IndexFunc(ps, func(x timed) bool { return x.at > 10*time.Second })
	if early < 9 || early > 11 || len(ps) > 18 {
		t.Fatalf("sent again %d times in ten seconds, %d in a minute", early, len(ps))
	}
	previous, made := time.Duration(0), time.Duration(0)
	for i, x := range ps {
		if same := bytes.Equal(x.B, hello.B); same != (x.at-made < freshAfter) {
			t.Fatalf("after %v the same initiation: %v", x.at-made, same)
		} else if !same {
			hello.B, made = x.B, x.at
		}
		k := i + 1
		if k < 2*triesEach {
			k /= triesEach
		}
		want := []netip.AddrPort{first, other}[k%2]
		if next := time.Second / 4 << (i % triesEach); i < 2*triesEach-1 && (x.at-previous < next || x.at-previous > next*5/4) {
			t.Errorf("try %d %v after the one before, want %v", i+2, x.at-previous, next)
		}
		if gap := x.at - previous; x.To != want || gap > 10*time.Second || gap < 250*time.Millisecond {
			t.Errorf("try %d to %v, %v after the one before", i+2, x.To, gap)
		}
		previous = x.at
	}
}

func TestSession(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	ps := p.accept(p.sent()[0].B, 40*time.Millisecond)
	if !p.l.Up() || p.ups != 1 || p.l.Reflexive() != me || p.l.RTT() != 40*time.Millisecond || len(ps) != 1 {
		t.Fatalf("up %d, RTT %v, sent %d", p.ups, p.l.RTT(), len(ps))
	}
	if rto := p.l.RTO(); rto < 80*time.Millisecond || rto > 120*time.Millisecond {
		t.Errorf("RTO %v", rto)
	}
	p.pong(ps[0].B)
	for range 5 { // kept alive
		since := p.now
		next := p.step()
		if d := p.now.Sub(since); len(next) != 1 || d < 12*time.Second-p.l.lead() || d > 15*time.Second-p.l.lead() {
			t.Fatalf("%d pings after %v", len(next), d)
		}
		p.now = p.now.Add(40 * time.Millisecond)
		p.pong(next[0].B)
	}
	lost := p.advance(30 * time.Second) // and then silence
	pings := 0
	for _, x := range lost {
		if wire.Classify(x.B) == wire.Transport {
			pings++
		}
	}
	if pings != maxPings || p.down != 1 || p.l.Up() || wire.Classify(lost[len(lost)-1].B) != wire.Initiation {
		t.Errorf("%d pings, down %d times", pings, p.down)
	}
}

func TestGoodbyeStartsAgain(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	p.accept(p.sent()[0].B, time.Millisecond)
	b, err := wire.Marshal(&wire.Goodbye{Code: wire.CodeShuttingDown})
	p.must(err)
	_, err = p.l.Handle(p.now, first, p.sess.Seal(nil, b))
	p.must(err)
	if ps := p.sent(); p.l.Up() || len(ps) != 1 || wire.Classify(ps[0].B) != wire.Initiation {
		t.Errorf("up %v, sent %v", p.l.Up(), ps)
	}
}

// A session is renewed after 12 h, and the old one serves until then.
func TestRenewal(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	ps := p.accept(p.sent()[0].B, time.Millisecond)
	p.pong(ps[0].B)
	old := p.sess
	for p.now.Before(epoch.Add(session.RekeyAfterTime + time.Minute)) {
		ps := p.step()
		for _, x := range ps {
			if wire.Classify(x.B) == wire.Transport {
				p.pong(x.B)
			}
		}
		for _, x := range ps {
			if wire.Classify(x.B) != wire.Initiation {
				continue
			}
			if !p.l.Up() {
				t.Fatal("down while it renews")
			}
			p.pong(p.accept(x.B, time.Millisecond)[0].B)
		}
	}
	if p.sess == old || p.ups != 2 || p.down != 0 {
		t.Errorf("up %d times, down %d", p.ups, p.down)
	}
}

func TestStrangers(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	for _, b := range [][]byte{nil, {5}, {5, 1, 0, 0, 1, 2, 3, 4}, {6, 1, 0, 0, 1, 2, 3, 4}, {7, 1, 0, 0, 1, 2, 3, 4}} {
		if m, err := p.l.Handle(p.now, first, b); err == nil || m != nil {
			t.Errorf("% x: %v, %v", b, m, err)
		}
	}
	if p.l.Owns(0) {
		t.Error("owns index 0")
	}
}

func TestConfig(t *testing.T) {
	good := newPair(t).l.cfg
	for name, change := range map[string]func(*Config){
		"no rendezvous key": func(c *Config) { c.Rendezvous = identity.PublicKey{} },
		"no address":        func(c *Config) { c.Addrs = nil },
		"port 0":            func(c *Config) { c.Addrs = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")} },
		"no hello":          func(c *Config) { c.Hello = nil },
		"no key":            func(c *Config) { c.Session.Static = identity.Key{} },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg, &core.Outbox{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A session that cannot be renewed serves until it is 24 h old, not longer.
func TestSessionEnds(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	ps := p.accept(p.sent()[0].B, time.Millisecond)
	p.pong(ps[0].B)
	start := p.now
	for p.down == 0 && p.now.Sub(start) < 25*time.Hour {
		for _, x := range p.step() {
			if p.down == 0 && wire.Classify(x.B) == wire.Transport {
				p.pong(x.B)
			}
		}
	}
	if d := p.now.Sub(start); d != session.RejectAfterTime || p.l.Up() {
		t.Errorf("lost after %v", d)
	}
}

// Where the counters are used up nothing is sent by the session, and a new handshake begins at once.
func TestUsedUpSession(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	p.pong(p.accept(p.sent()[0].B, time.Millisecond)[0].B)
	next := reflect.ValueOf(p.l.sess).Elem().FieldByName("next") // 2^60 datagrams take too long
	*(*uint64)(unsafe.Pointer(next.UnsafeAddr())) = session.RejectAfterMessages
	p.l.Send(core.Signal, &wire.Ping{Sequence: 1})
	if ps := p.sent(); len(ps) != 0 {
		t.Errorf("sent %v", ps)
	}
	ps := p.advance(0)
	if p.down != 1 || len(ps) != 1 || wire.Classify(ps[0].B) != wire.Initiation {
		t.Errorf("down %d times, sent %v", p.down, ps)
	}
}

// A response counts from the rendezvous' addresses only: who overhears it could have the session drawn to itself.
func TestResponseFromElsewhere(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	req, _, err := p.r.Open(p.now, me, false, p.sent()[0].B)
	p.must(err)
	payload, err := wire.Marshal(&wire.LoggedIn{Endpoint: wire.At(me), Expiry: 35})
	p.must(err)
	_, response, err := req.Accept(payload)
	p.must(err)
	if _, err := p.l.Handle(p.now, me, response); err == nil || p.l.Up() {
		t.Errorf("up by a copy from elsewhere: %v", err)
	}
	if _, err := p.l.Handle(p.now, other, response); err != nil || !p.l.Up() || p.l.Remote() != other {
		t.Errorf("from its second address: %v", err)
	}
}

// FuzzHandle feeds a link a datagram before and after its handshake, and a sealed message.
func FuzzHandle(f *testing.F) {
	for _, m := range []wire.Message{&wire.Ping{Sequence: 3}, &wire.Pong{Sequence: 1, Endpoint: wire.At(me)}, &wire.Goodbye{}, &wire.Refused{ID: 1, Code: 1},
		&wire.Goodbye{Code: wire.CodeShuttingDown}, &wire.Goodbye{Code: wire.CodeRevoked}, &wire.Reported{Sequence: 1},
		&wire.Presence{Sequence: 1, Answers: 1, Cameras: []wire.Status{{UID: uid(1), State: wire.StateOnline}}}} {
		b, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte{5, 1, 0, 0, 1, 2, 3, 4}, b)
	}
	f.Fuzz(func(t *testing.T, raw, plain []byte) {
		if len(plain) > session.MaxPayload {
			return
		}
		p := newPair(t)
		p.l.Watch(p.now, uid(1), uid(2))
		p.must(p.l.Start(p.now))
		hello := p.sent()[0].B
		for _, from := range []netip.AddrPort{first, me} {
			_, _ = p.l.Handle(p.now, from, raw)
		}
		p.accept(hello, time.Millisecond)
		_, _ = p.l.Handle(p.now, first, raw)
		_, _ = p.l.Handle(p.now, me, p.sess.Seal(nil, plain))
		sent := len(p.sent())
		if sent += len(p.advance(time.Minute)); sent > 40 {
			t.Errorf("%d packets in a minute", sent)
		}
	})
}
