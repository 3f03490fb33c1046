package uplink

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

var third = netip.MustParseAddrPort("203.0.113.3:3478")

// servers is a link with several; each answers an initiation at once as it is told to.
type servers struct {
	*pair
	answers map[netip.AddrPort]wire.Message // to initiations; none: silence
	asked   []netip.AddrPort
	told    []string // denials
	retry   time.Duration
	lives   netip.AddrPort // where pings are answered
}

func newServers(t *testing.T, addrs ...netip.AddrPort) *servers {
	t.Helper()
	s := &servers{pair: newPair(t), answers: map[netip.AddrPort]wire.Message{}}
	cfg := s.l.cfg
	cfg.Addrs = addrs
	cfg.Denied = func(_ time.Time, c wire.Code, retry time.Duration) {
		s.told, s.retry = append(s.told, c.String()), retry
	}
	var err error
	s.l, err = New(cfg, &s.box)
	s.must(err)
	return s
}

// serve has an address take this device.
func (s *servers) serve(a netip.AddrPort) {
	s.answers[a] = &wire.LoggedIn{Endpoint: wire.At(me), Expiry: 35}
}

// take is what the servers do with packets.
func (s *servers) take(ps []core.Packet) {
	s.t.Helper()
	for _, x := range ps {
		switch wire.Classify(x.B) {
		case wire.Initiation:
			s.asked = append(s.asked, x.To)
			answer := s.answers[x.To]
			if answer == nil {
				continue
			}
			req, _, err := s.r.Open(s.now, me, false, x.B)
			s.must(err)
			payload, err := wire.Marshal(answer)
			s.must(err)
			sess, response, err := req.Accept(payload)
			s.must(err)
			if answer.Type() != wire.TypeDenied {
				s.sess, s.lives = sess, x.To
			}
			_, err = s.l.Handle(s.now, x.To, response)
			s.must(err)
		case wire.Transport:
			if x.To == s.lives {
				if m, ok := s.heard(x.B).(*wire.Ping); ok {
					s.tell(x.To, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(me)})
				}
			}
		}
		s.take(s.sent())
	}
}

// start begins, and live passes time.
func (s *servers) start() {
	s.t.Helper()
	s.must(s.l.Start(s.now))
	s.take(s.sent())
}

func (s *servers) live(d time.Duration) {
	s.t.Helper()
	end := s.now.Add(d)
	for at := s.l.Deadline(); !at.IsZero() && !at.After(end); at = s.l.Deadline() {
		s.now = at
		s.l.HandleTimeout(at)
		s.take(s.sent())
	}
	s.now = end
}

// A server that dies is left, and another one holds the session within a keepalive, whenever it died and wherever in the list the
// one that lives is.
func TestFailover(t *testing.T) {
	const keepalive = 15 * time.Second
	for _, alive := range []netip.AddrPort{other, third} {
		for after := range 30 {
			s := newServers(t, first, other, third)
			s.serve(first)
			s.start()
			s.live(time.Duration(after) * time.Second)
			if s.l.Remote() != first {
				t.Fatalf("by %v at first", s.l.Remote())
			}
			died := s.now
			s.lives = netip.AddrPort{}
			clear(s.answers)
			s.serve(alive)
			for s.l.Remote() != alive || !s.l.Up() {
				if s.live(50 * time.Millisecond); s.now.Sub(died) > 2*keepalive {
					t.Fatalf("died after %d s: still by %v", after, s.l.Remote())
				}
			}
			most := keepalive
			if alive == third { // two have died
				most += 3 * time.Second
			}
			if took := s.now.Sub(died); took > most || s.down != 1 || s.ups != 2 {
				t.Errorf("died after %d s: %v lives %v later; down %d times, up %d", after, alive, took, s.down, s.ups)
			}
		}
	}
}

// A pause that is shorter than a second, of a server or on the way, loses nobody.
func TestPauseIsNoDeath(t *testing.T) {
	s := newServers(t, first, other)
	s.serve(first)
	s.start()
	s.l.srtt = 20 * time.Millisecond
	s.lives = netip.AddrPort{}
	for len(s.asked) == 1 && s.l.unanswer < 1 {
		s.live(10 * time.Millisecond)
	}
	s.live(time.Second)
	s.lives = first
	s.l.Insist(s.now)
	s.take(s.sent())
	if s.down != 0 || s.l.unanswer != 0 {
		t.Errorf("down %d times, %d pings unanswered", s.down, s.l.unanswer)
	}
}

// Where there is one server, a fourth ping is waited for: a lossy path would end the session too often.
func TestOnlyServer(t *testing.T) {
	for _, addrs := range [][]netip.AddrPort{{first}, {first, other}} {
		s := newServers(t, addrs...)
		s.serve(first)
		s.start()
		s.live(time.Minute)
		s.lives = netip.AddrPort{}
		clear(s.answers)
		pings := 0
		for s.down == 0 {
			before := s.l.ping
			s.live(s.l.Deadline().Sub(s.now))
			pings += int(s.l.ping - before)
		}
		if want := maxPings + 2 - len(addrs); pings != want {
			t.Errorf("with %d servers left after %d pings, want %d", len(addrs), pings, want)
		}
	}
}

// A server that says that it shuts down is left at once; where it is the only one, it is asked again as it comes back.
func TestShuttingDown(t *testing.T) {
	s := newServers(t, first, other)
	s.serve(first)
	s.serve(other)
	s.start()
	s.live(time.Minute)
	s.tell(first, &wire.Goodbye{Code: wire.CodeShuttingDown})
	s.take(s.sent())
	if s.l.Remote() != other || !s.l.Up() || s.down != 1 || len(s.told) != 0 {
		t.Errorf("by %v, up %v, down %d times, denied %v", s.l.Remote(), s.l.Up(), s.down, s.told)
	}

	for _, back := range []bool{true, false} { // when it is asked again
		s = newServers(t, first)
		s.serve(first)
		s.start()
		s.tell(first, &wire.Goodbye{Code: wire.CodeShuttingDown})
		if s.take(s.sent()); !back {
			s.answers[first] = &wire.Denied{Code: wire.CodeShuttingDown, Retry: 30}
		}
		s.live(restartWait - time.Millisecond)
		if len(s.asked) != 1 {
			t.Errorf("asked %d times before it can be back", len(s.asked)-1)
		}
		if s.live(restartWait + time.Millisecond); len(s.asked) != 2 || s.l.Up() != back {
			t.Fatalf("asked %d times, up %v", len(s.asked)-1, s.l.Up())
		}
		if back {
			continue
		}
		if fmt.Sprint(s.told) != "[shutting-down]" || s.retry < 30*time.Second || s.retry > 38*time.Second {
			t.Errorf("denied %v for %v", s.told, s.retry)
		}
		s.live(s.l.Deadline().Sub(s.now) - time.Millisecond)
		if len(s.asked) != 2 {
			t.Errorf("asked %d times before it is over", len(s.asked)-2)
		}
		s.serve(first)
		if s.live(time.Millisecond); !s.l.Up() {
			t.Error("not up when the time is over")
		}
	}
}

// A refusal that is the server's sends the device elsewhere at once, and back no sooner than it was told.
func TestDeniedElsewhere(t *testing.T) {
	s := newServers(t, first, other, tcp)
	s.answers[first] = &wire.Denied{Code: wire.CodeOverloaded, Retry: 300}
	s.serve(other)
	s.start()
	if !slices.Equal(s.asked, []netip.AddrPort{first, other}) || s.l.Remote() != other || fmt.Sprint(s.told) != "[overloaded]" {
		t.Fatalf("asked %v, by %v, denied %v", s.asked, s.l.Remote(), s.told)
	}
	s.live(time.Minute)
	s.lives, s.asked = netip.AddrPort{}, nil
	clear(s.answers) // all are silent
	s.live(4 * time.Minute)
	if slices.Contains(s.asked, first) || slices.Contains(s.asked, tcp) || !slices.Contains(s.asked, other) {
		t.Errorf("asked %v", s.asked)
	}
	s.live(2 * time.Minute)
	if !slices.Contains(s.asked, first) || !slices.Contains(s.asked, tcp) {
		t.Errorf("asked %v after its time", s.asked)
	}
}

// A server that has served the device in between begins anew with the time that it is let alone.
func TestServedIsForgiven(t *testing.T) {
	s := newServers(t, first)
	for range 3 {
		s.answers[first] = &wire.Denied{Code: wire.CodeOverloaded}
		if s.l.Up() {
			s.tell(first, &wire.Goodbye{})
			s.take(s.sent())
		} else {
			s.start()
		}
		if s.retry < firstDenied || s.retry > firstDenied*5/4 {
			t.Fatalf("let alone for %v", s.retry)
		}
		s.serve(first)
		s.live(s.retry)
		if !s.l.Up() {
			t.Fatal("not served")
		}
	}
}

// A refusal that is about the device is every server's. Without a time it is asked again after a minute, twice as long each time, an
// hour at most; once it is served that is forgotten.
func TestDeniedDevice(t *testing.T) {
	for _, c := range []wire.Code{wire.CodeRevoked, wire.CodeCertificateExpired, wire.CodeAccount, wire.CodeDuplicateKey} {
		s := newServers(t, first, other, tls)
		for _, a := range []netip.AddrPort{first, other, tls} {
			s.answers[a] = &wire.Denied{Code: c}
		}
		s.start()
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			want *= time.Minute
			if len(s.asked) != i+1 || len(s.told) != i+1 || s.told[i] != c.String() || s.retry < want || s.retry > want*5/4 {
				t.Fatalf("%v: asked %v, denied %v, the last time for %v; want %v", c, s.asked, s.told, s.retry, want)
			}
			s.live(s.retry)
		}
		for a := range s.answers {
			s.serve(a)
		}
		s.live(2 * time.Hour)
		if !s.l.Up() {
			t.Fatalf("%v: never served again", c)
		}
		for a := range s.answers {
			s.answers[a] = &wire.Denied{Code: c}
		}
		n := len(s.asked)
		s.tell(s.l.Remote(), &wire.Goodbye{Code: c})
		s.take(s.sent())
		if s.down != 1 || s.l.Up() || len(s.asked) != n || s.retry > 75*time.Second {
			t.Errorf("%v: after goodbye down %d times, asked %d times more, for %v", c, s.down, len(s.asked)-n, s.retry)
		}
	}
}

// A renewal that is refused leaves the session as it is, and is tried again in time.
func TestRenewalDenied(t *testing.T) {
	s := newServers(t, first)
	s.serve(first)
	s.start()
	s.answers[first] = &wire.Denied{Code: wire.CodeOverloaded, Retry: 60}
	s.live(12*time.Hour + time.Minute)
	n := len(s.asked)
	if !s.l.Up() || s.down != 0 || n < 2 || n > 3 || len(s.told) != n-1 {
		t.Fatalf("up %v, down %d times, asked %d times, denied %v", s.l.Up(), s.down, n, s.told)
	}
	s.serve(first)
	s.live(2 * time.Minute)
	if s.ups != 2 || s.down != 0 || len(s.asked) != n+1 {
		t.Errorf("up %d times, down %d, asked %d times more", s.ups, s.down, len(s.asked)-n)
	}
}

// However often the owner insists, a refusal is kept to.
func TestInsistKeepsToRefusals(t *testing.T) {
	s := newServers(t, first)
	s.answers[first] = &wire.Denied{Code: wire.CodeAccountExpired, Retry: 60}
	s.start()
	for range 100 {
		s.l.Insist(s.now)
		s.live(100 * time.Millisecond)
	}
	s.must(s.l.Start(s.now))
	s.take(s.sent())
	if len(s.asked) != 1 {
		t.Errorf("asked %d times", len(s.asked))
	}
	s.live(65 * time.Second)
	if len(s.asked) != 2 {
		t.Errorf("asked %d times then", len(s.asked))
	}
}
