package attack

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// A Middle stands in the path of a host without its programs noticing, does to each packet what its rule says, and is gone
// afterwards.
func TestMiddle(t *testing.T) {
	t.Parallel()
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, engine)
			camera, server := l.Host("camera"), l.Host("victim")
			sink := echo(t, server)
			c, err := camera.ListenUDP(netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			say := func(want string, what ...string) {
				t.Helper()
				for _, s := range what {
					if _, err := c.WriteToUDPAddrPort([]byte(s), sink); err != nil {
						t.Fatal(err)
					}
				}
				if got := hear(t, c, len(strings.Fields(want))); got != want {
					t.Errorf("%s: the answers are %s, want %s", what, got, want)
				}
			}
			say("[a1 b2]", "a1", "b2")
			for _, tt := range []struct {
				name string
				rule Rule
				want string
			}{
				{"nothing", nil, "[a1 b2 c3 d4]"},
				{"drop up", Dropping(Every(2, Up)), "[a1 c3]"},
				{"drop down", Dropping(Every(2, Down)), "[a1 c3]"},
				{"delay", Delaying(Every(3, Up), longer), "[a1 b2 d4 c3]"},
				{"replay", Replaying(Every(4, Down), 0, 20*time.Millisecond), "[a1 b2 c3 d4 d4 d4]"},
				{"both", Rules(Dropping(First('b')), Delaying(First('a'), longer)), "[c3 d4 a1]"},
				{"in place", func(s Seen) Act {
					if b, ok := s.UDP(); ok && b[0] == 'c' && s.Direction == Up {
						return Act{Packet: s.WithUDP([]byte("changed"))}
					}
					return Act{}
				}, "[a1 b2 changed d4]"},
			} {
				ready := make(chan struct{})
				end := inBackground(t, &Middle{Rule: tt.rule, Ready: func() { close(ready) }, Secrets: []Secret{{"nothing", []byte("nowhere to be found")}}},
					camera, Budget{1000, enough})
				<-ready
				say(tt.want, "a1", "b2", "c3", "d4")
				r := end()
				if r.Counts["seen up"] < 4 || len(r.Gained) != 0 || r.Ended != Cancelled {
					t.Errorf("%s: %+v", tt.name, r)
				}
				say("[a1 b2]", "a1", "b2")
			}
			if left := devices(t, camera); slices.Contains(left, tapName) {
				t.Errorf("devices %v are left", left)
			}
		})
	}
}

// A Middle that has spent its budget is out of the path, whatever its rule would like, and finds what is not sealed.
func TestMiddleKeepsToItsBudget(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.EngineNetfilter)
	camera := l.Host("camera")
	sink := echo(t, l.Host("victim"))
	c, err := camera.ListenUDP(netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ready := make(chan struct{})
	m := &Middle{Rule: Dropping(First('x')), Ready: func() { close(ready) }, Secrets: []Secret{{"the password", []byte("x-open-sesame")}}}
	over := make(chan Report)
	go func() {
		r, err := m.Run(t.Context(), camera, Budget{3, enough})
		if err != nil {
			t.Error(err)
		}
		over <- r
	}()
	<-ready
	say := func(times int) {
		for range times {
			if _, err := c.WriteToUDPAddrPort([]byte("x-open-sesame"), sink); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(4) // the fourth shows it that its budget is spent, and may be lost while it leaves the path
	r := <-over
	say(2)
	if r.Ended != SpentPackets || r.Counts["dropped up"] != 3 || r.Counts["interfered with"] != 3 || len(r.Gained) != 1 {
		t.Errorf("%+v", r)
	}
	if got := hear(t, c, 2); strings.Count(got, "x-open-sesame") < 2 {
		t.Errorf("after the budget of 3: %s", got)
	}
}

// echo answers on a host, with what it got.
func echo(t testing.TB, m *lab.Machine) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(m.Addr(), 7)
	c, err := m.ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if _, err := c.WriteToUDPAddrPort(b[:n], from); err != nil {
				return
			}
		}
	}()
	return at
}

// longer is longer than a busy machine takes from one packet to the next.
const longer = 300 * time.Millisecond

// hear waits for n answers, and reads on until it has been quiet.
func hear(t testing.TB, c *net.UDPConn, n int) string {
	t.Helper()
	var all []string
	b := make([]byte, 2000)
	for {
		wait := 120 * time.Millisecond
		if len(all) < n {
			wait = patience
		}
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(b)
		if err != nil {
			return fmt.Sprint(all)
		}
		all = append(all, string(b[:n]))
	}
}

func devices(t testing.TB, m *lab.Machine) (names []string) {
	t.Helper()
	err := m.Do(func() error {
		all, err := net.Interfaces()
		for _, d := range all {
			names = append(names, d.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
