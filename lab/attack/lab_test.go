package attack

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
)

func TestMain(m *testing.M) {
	live.Main()
	netnstest.Main(m)
}

// newLab is the topology attackers.
func newLab(t testing.TB, engine string) *lab.Lab {
	t.Helper()
	return newLabOf(t, "attackers", engine)
}

// newLabOf is a topology and a host "victim" that has nothing to do with anybody.
func newLabOf(t testing.TB, topology, engine string) *lab.Lab {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	fabric, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fabric.Close() })
	topo, _, err := topologies.Load(topology)
	if err != nil {
		t.Fatal(err)
	}
	topo.Public = append(topo.Public, lab.PublicHost{Name: "victim", Link: "lan"})
	topo.UseEngine(engine)
	if err := errors.Join(topo.Set("link", "lan"), topo.Resolve()); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(fabric, topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// counter counts what comes to a host's port.
type counter struct {
	at             netip.AddrPort
	packets, bytes atomic.Int64
}

func count(t testing.TB, m *lab.Machine, port uint16) *counter {
	t.Helper()
	c, err := m.ListenUDP(netip.AddrPortFrom(m.Addr(), port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	n := &counter{at: netip.AddrPortFrom(m.Addr(), port)}
	go func() {
		b := make([]byte, 1<<16)
		for {
			k, _, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			n.bytes.Add(int64(k))
			n.packets.Add(1)
		}
	}()
	return n
}

// patience is how long what must come may take on a busy machine.
const patience = 30 * time.Second

// enough is the time of an attack that is ended before, or by its packets.
const enough = 5 * time.Minute

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		case <-tick.C:
		}
	}
}

// inBackground runs an attack; what it returns ends it and gives its report.
func inBackground(t testing.TB, a Attack, m *lab.Machine, b Budget) (end func() Report) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		r   Report
		err error
	}
	over := make(chan result, 1)
	go func() {
		r, err := a.Run(ctx, m, b)
		over <- result{r, err}
	}()
	t.Cleanup(cancel)
	return func() Report {
		t.Helper()
		cancel()
		got := <-over
		if got.err != nil {
			t.Fatalf("%s: %v", a.Name(), got.err)
		}
		return got.r
	}
}
