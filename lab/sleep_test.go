package lab_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// sleeper is a program that says what it was told.
type sleeper struct {
	mu   sync.Mutex
	told []string
}

func (s *sleeper) tell(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, what)
}

func (s *sleeper) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told, " ")
}

func (s *sleeper) Kill()        { s.tell("kill") }
func (s *sleeper) Start() error { s.tell("start"); return nil }
func (s *sleeper) Sleep()       { s.tell("sleep") }
func (s *sleeper) Wake()        { s.tell("wake") }

// A host that sleeps neither sends nor receives, and its programs know; a Reset wakes it as undoing does.
func TestSleep(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, twoWays(t, engine))
			m := l.Host("viewer")
			talk := converse(t, l)
			var before, later sleeper
			defer m.Run(&before)()
			e := lab.Event{Do: lab.DoSleep, Host: "viewer", For: time.Second}
			if got := e.String(); got != "sleep viewer for 1s" {
				t.Errorf("the event is called %q", got)
			}
			undo, err := l.Do(e)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Run(&later)()
			talk(false)
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			talk(true)
			if before.heard() != "sleep wake" || later.heard() != "sleep wake" {
				t.Errorf("the programs heard %q and %q", before.heard(), later.heard())
			}
			if _, err := l.Do(e); err != nil {
				t.Fatal(err)
			}
			if err := l.Reset(1); err != nil {
				t.Fatal(err)
			}
			seenAs(l.Topology().Site("wifi").WAN[0])(t, l)
		})
	}
}

// converse has the viewer and the rendezvous exchange a datagram. What it returns has each send another one, and says
// whether they should arrive.
func converse(t *testing.T, l *lab.Lab) func(arrives bool) {
	t.Helper()
	at := netip.AddrPortFrom(l.Host("rendezvous").Addr(), 8)
	server, client := listen(t, l, "rendezvous", at), listen(t, l, "viewer", netip.AddrPort{})
	t.Cleanup(func() { server.Close(); client.Close() })
	if _, err := client.WriteToUDPAddrPort([]byte("hello"), at); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 9)
	_, viewer, err := server.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return func(arrives bool) {
		t.Helper()
		if _, err := client.WriteToUDPAddrPort([]byte("out"), at); (err == nil) != arrives {
			t.Errorf("the viewer sends: %v, want it to succeed: %v", err, arrives)
		}
		if _, err := server.WriteToUDPAddrPort([]byte("in"), viewer); err != nil {
			t.Fatal(err)
		}
		within := patience
		if !arrives {
			within = 100 * time.Millisecond
		}
		if err := client.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.ReadFromUDPAddrPort(b); (err == nil) != arrives {
			t.Errorf("a datagram to the viewer: %v, want it to arrive: %v", err, arrives)
		}
	}
}

// insomniac can be killed, and that is all.
type insomniac struct{}

func (insomniac) Kill()        {}
func (insomniac) Start() error { return nil }

// An event that can't be done changes nothing.
func TestSleepRefusesProgramsThatCant(t *testing.T) {
	l := up(t, startFabric(t), twoWays(t, lab.EngineTable))
	m := l.Host("viewer")
	var s sleeper
	defer m.Run(&s)()
	defer m.Run(insomniac{})()
	_, err := l.Do(lab.Event{Do: lab.DoSleep, Host: "viewer"})
	if err == nil || !strings.Contains(err.Error(), "insomniac") {
		t.Errorf("sleep with a program that can't: %v", err)
	}
	if s.heard() != "" {
		t.Errorf("the other program heard %q", s.heard())
	}
	seenAs(l.Topology().Site("wifi").WAN[0])(t, l)
}
