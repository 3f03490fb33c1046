package uplink

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	tcp = core.Over(core.TCP, first)
	tls = core.Over(core.TLS, netip.MustParseAddrPort("203.0.113.1:443"))
)

// newRace is a link that may use datagrams and two streams.
func newRace(t *testing.T, addrs ...netip.AddrPort) *pair {
	t.Helper()
	p := newPair(t)
	cfg := p.l.cfg
	cfg.Addrs = addrs
	var err error
	p.l, err = New(cfg, &p.box)
	p.must(err)
	p.must(p.l.Start(p.now))
	return p
}

// answer accepts an initiation and answers from an address.
func (p *pair) answer(initiation []byte, from netip.AddrPort) (*session.Session, []byte) {
	p.t.Helper()
	req, _, err := p.r.Open(p.now, me, false, initiation)
	p.must(err)
	payload, err := wire.Marshal(&wire.LoggedIn{Endpoint: wire.At(me), Expiry: 35})
	p.must(err)
	sess, response, err := req.Accept(payload)
	p.must(err)
	return sess, response
}

// tell seals a message by the present session and hands it to the link.
func (p *pair) tell(from netip.AddrPort, m wire.Message) {
	p.t.Helper()
	b, err := wire.Marshal(m)
	p.must(err)
	_, err = p.l.Handle(p.now, from, p.sess.Seal(nil, b))
	p.must(err)
}

// heard opens what was sent to the rendezvous.
func (p *pair) heard(b []byte) wire.Message {
	p.t.Helper()
	plain, err := p.sess.Open(nil, b)
	p.must(err)
	m, err := wire.Unmarshal(plain)
	p.must(err)
	return m
}

// Datagrams go first; streams follow 0.75 s later, a quarter of a second apart, and again and again.
func TestStreamsFollow(t *testing.T) {
	p := newRace(t, first, tcp, tls)
	type sending struct {
		to netip.AddrPort
		at time.Duration
	}
	var got []sending
	for _, x := range p.advance(5 * time.Second) {
		got = append(got, sending{x.To, x.at})
	}
	at := func(a netip.AddrPort) (ts []time.Duration) {
		for _, s := range got {
			if s.to == a {
				ts = append(ts, s.at)
			}
		}
		return ts
	}
	overTCP, overTLS := at(tcp), at(tls)
	if len(overTCP) < 2 || overTCP[0] != headstart || len(overTLS) < 1 {
		t.Fatalf("streams at %v and %v", overTCP, overTLS)
	}
	if gap := overTLS[0] - overTCP[0]; gap < stagger || gap > stagger*5/4 {
		t.Errorf("the second stream %v after the first", gap)
	}
	if gap := overTCP[1] - overTLS[0]; gap < roundAgain || gap > roundAgain*5/4 {
		t.Errorf("the first stream again %v after the last", gap)
	}
	if n := len(at(first)); n < 3 {
		t.Errorf("only %d more datagrams", n)
	}
}

// Where datagrams are answered no stream is ever begun.
func TestDatagramsWin(t *testing.T) {
	p := newRace(t, first, tcp)
	p.pong(p.accept(p.sent()[0].B, 40*time.Millisecond)[0].B)
	for _, x := range p.advance(10 * time.Second) {
		if isStream(x.To) {
			t.Fatalf("sent to %v after %v", x.To, x.at)
		}
	}
}

// byStream brings a link up by its TCP address.
func byStream(t *testing.T, addrs ...netip.AddrPort) *pair {
	t.Helper()
	p := newRace(t, addrs...)
	ps := p.advance(headstart + time.Millisecond)
	i := slices.IndexFunc(ps, func(x timed) bool { return x.To == tcp })
	if i < 0 {
		t.Fatalf("no stream was begun: %v", ps)
	}
	sess, response := p.answer(ps[i].B, tcp)
	p.sess = sess
	p.now = p.now.Add(40 * time.Millisecond)
	_, err := p.l.Handle(p.now, tcp, response)
	p.must(err)
	out := p.sent()
	if !p.l.Up() || p.l.Remote() != tcp || len(out) != 1 || out[0].To != tcp {
		t.Fatalf("up %v by %v, sent %v", p.l.Up(), p.l.Remote(), out)
	}
	p.tell(tcp, &wire.Pong{Sequence: p.heard(out[0].B).(*wire.Ping).Sequence, Endpoint: wire.At(core.Over(core.TCP, me))})
	return p
}

// A session by a stream moves to datagrams as soon as the rendezvous is heard by them, and its stream is closed later.
func TestSessionMovesToDatagrams(t *testing.T) {
	p := byStream(t, first, tcp)
	ps := p.advance(1300 * time.Millisecond)
	i := slices.IndexFunc(ps, func(x timed) bool { return x.To == first })
	if i < 0 {
		t.Fatalf("no datagram among %v", ps)
	}
	if m := p.heard(ps[i].B); m.Type() != wire.TypePing {
		t.Fatalf("%v by datagram", m)
	}
	p.tell(first, &wire.Ping{Sequence: 99})
	out := p.box.Ready()
	if len(out.Packets) != 2 || out.Packets[0].To != first || out.Packets[1].To != first || p.l.Remote() != first || len(out.Close) != 0 {
		t.Fatalf("by %v; sent %v, closed %v", p.l.Remote(), out.Packets, out.Close)
	}
	if m := p.heard(out.Packets[0].B).(*wire.Pong); m.Sequence != 99 {
		t.Errorf("pong %d", m.Sequence)
	}
	ask := p.heard(out.Packets[1].B).(*wire.Ping)
	p.box.Begin()
	p.tell(first, &wire.Pong{Sequence: ask.Sequence, Endpoint: wire.At(me)})
	if p.l.Reflexive() != me || p.l.Keepalive() != 15*time.Second {
		t.Errorf("appears from %v, pings every %v", p.l.Reflexive(), p.l.Keepalive())
	}
	p.now = p.now.Add(linger)
	p.l.HandleTimeout(p.now)
	if out := p.box.Ready(); !slices.Contains(out.Close, tcp) {
		t.Errorf("closed %v", out.Close)
	}
}

// Where datagrams stay silent they are tried ever more rarely, after several tries for the sake of loss, and the session goes on by its stream.
func TestDatagramsStayBlocked(t *testing.T) {
	p := byStream(t, first, tcp)
	tries, early, began := 0, 0, p.now
	for end := p.now.Add(time.Hour); p.now.Before(end); {
		for _, x := range p.step() {
			switch {
			case x.To == first:
				if tries++; p.now.Sub(began) < 5*time.Second {
					early++
				}
			case wire.Classify(x.B) == wire.Transport:
				m := p.heard(x.B).(*wire.Ping)
				p.tell(tcp, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(core.Over(core.TCP, me))})
			}
		}
	}
	if early < 7 || tries < 12 || tries > 32 || p.down != 0 || p.l.Remote() != tcp {
		t.Errorf("%d datagrams in five seconds, %d in an hour, down %d times, by %v", early, tries, p.down, p.l.Remote())
	}
}

// The rendezvous accepts the datagram's initiation, its answer is lost, and then the stream's: the newer session counts. An
// answer to the older initiation that comes later does not.
func TestNewerInitiationCounts(t *testing.T) {
	p := newRace(t, first, tcp)
	hello := p.sent()[0].B
	older, late := p.answer(hello, first)
	_ = older
	ps := p.advance(headstart + time.Millisecond)
	i := slices.IndexFunc(ps, func(x timed) bool { return x.To == tcp })
	var response []byte
	p.sess, response = p.answer(ps[i].B, tcp)
	_, err := p.l.Handle(p.now, tcp, response)
	p.must(err)
	p.sent()
	if _, err := p.l.Handle(p.now, first, late); err == nil || p.l.Remote() != tcp {
		t.Errorf("the older session counts: %v, by %v", err, p.l.Remote())
	}
}

// The datagram's answer comes first, then the stream's, before the first session has shown that it works: the rendezvous has
// dropped that one.
func TestUnprovenSessionIsReplaced(t *testing.T) {
	p := newRace(t, first, tcp)
	hello := p.sent()[0].B
	_, early := p.answer(hello, first)
	ps := p.advance(headstart + time.Millisecond)
	i := slices.IndexFunc(ps, func(x timed) bool { return x.To == tcp })
	var response []byte
	p.sess, response = p.answer(ps[i].B, tcp)
	_, err := p.l.Handle(p.now, first, early)
	p.must(err)
	_, err = p.l.Handle(p.now, tcp, response)
	p.must(err)
	if p.l.Remote() != tcp || p.ups != 2 || p.down != 0 {
		t.Errorf("by %v; up %d times, down %d", p.l.Remote(), p.ups, p.down)
	}
}

// Streams that lost the race, or that die, are closed; where there are only streams the next handshake does not go into the
// one that is being closed.
func TestStreamsAreClosed(t *testing.T) {
	p := newRace(t, tcp, tls)
	hello := p.sent()[0]
	if hello.To != tcp {
		t.Fatalf("first to %v", hello.To)
	}
	ps := p.advance(400 * time.Millisecond)
	if len(ps) != 1 || ps[0].To != tls {
		t.Fatalf("then %v", ps)
	}
	var response []byte
	p.sess, response = p.answer(hello.B, tcp)
	_, err := p.l.Handle(p.now, tcp, response)
	p.must(err)
	ask := p.heard(p.sent()[0].B).(*wire.Ping)
	p.tell(tcp, &wire.Pong{Sequence: ask.Sequence, Endpoint: wire.At(core.Over(core.TCP, me))})
	if out := p.box.Ready(); !slices.Equal(out.Close, []netip.AddrPort{tls}) {
		t.Errorf("closed %v, want %v", out.Close, tls)
	}
	p.box.Begin()
	for p.down == 0 {
		p.now = p.l.Deadline()
		p.l.HandleTimeout(p.now)
		out := p.box.Ready()
		if p.down == 1 && (!slices.Contains(out.Close, tcp) || len(out.Packets) != 0) {
			t.Errorf("lost: closed %v, sent %v", out.Close, out.Packets)
		}
		p.box.Begin()
	}
	if d := p.l.Deadline(); d.After(p.now) {
		t.Errorf("the next handshake is due %v later", d.Sub(p.now))
	}
}
