package contain

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
)

// started runs a program in the background and returns it, when it has made the file "ready" in its folder.
func started(t *testing.T, ctx context.Context, s Spec) (lab.Program, <-chan *Report) {
	t.Helper()
	h := bare{make(chan lab.Program, 1)}
	s.Host = h
	over := make(chan *Report, 1)
	go func() {
		r, err := Run(ctx, s)
		if err != nil {
			t.Error(err)
			r = &Report{} // of nothing
		}
		over <- r
	}()
	p := <-h.programs
	appears(t, filepath.Join(s.Folder, "ready"))
	return p, over
}

// appears waits for a file, and removes it.
func appears(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(patienceOfTests); os.Remove(path) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not appear", path)
		}
	}
}

// ticking is a script that counts its lives in a file, and then grows another.
const ticking = `echo life >> lives; : >> ticks; : > ready; while :; do echo tick >> ticks; sleep 0.005; done`

func size(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func TestPowerCuts(t *testing.T) {
	s := shell(t, ticking)
	again := 0
	s.Again = func() {
		again++
		before := size(t, filepath.Join(s.Folder, "ticks"))
		time.Sleep(20 * time.Millisecond) // four ticks
		if size(t, filepath.Join(s.Folder, "ticks")) != before {
			t.Error("a life is said to begin before the one before is over")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, over := started(t, ctx, s)
	for range 5 {
		p.Kill()
		p.Kill() // which it is already
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil { // it runs
			t.Fatal(err)
		}
		appears(t, filepath.Join(s.Folder, "ready"))
	}
	cancel()
	r := <-over
	if r.Ending != Stopped || r.Cuts != 5 || len(r.Faults()) > 0 {
		t.Errorf("ended %s after %d cuts, faults %q", r.Ending, r.Cuts, r.Faults())
	}
	if b, _ := os.ReadFile(filepath.Join(s.Folder, "lives")); string(b) != strings.Repeat("life\n", 6) || again != 5 {
		t.Errorf("its folder tells of lives %q, want 6; %d more were announced, want 5", b, again)
	}
}

// TestFloodsWhileItIsCut has what it printed before a cut be too much: the next life, if there is one, is the last.
func TestFloodsWhileItIsCut(t *testing.T) {
	s := shell(t, ": > ready; exec yes")
	s.Limits.Output = 4 << 20
	for range 3 {
		p, over := started(t, t.Context(), s)
		for range 3 {
			p.Kill()
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		}
		if r := <-over; r.Ending != TooMuchLog {
			t.Errorf("ended %s after %d bytes", r.Ending, r.Output.Bytes)
		}
		_ = os.Remove(filepath.Join(s.Folder, "ready"))
	}
}

func TestStaysCut(t *testing.T) {
	s := shell(t, ticking)
	ctx, cancel := context.WithCancel(t.Context())
	p, over := started(t, ctx, s)
	p.Kill()
	cancel()
	if r := <-over; r.Ending != Cut || r.Cuts != 1 || len(r.Faults()) > 0 {
		t.Errorf("ended %s after %d cuts, faults %q", r.Ending, r.Cuts, r.Faults())
	}
	if err := p.Start(); err != nil {
		t.Error(err)
	}
	if n := offspring(t); n != "" {
		t.Errorf("it was started again after its end: %s", n)
	}
}

func TestEndedBeforeTheCut(t *testing.T) {
	s := shell(t, ": > ready; exit 4")
	p, over := started(t, t.Context(), s)
	r := <-over
	p.Kill()
	if err := p.Start(); err != nil {
		t.Error(err)
	}
	if r.Ending != Exited || r.Code != 4 || offspring(t) != "" {
		t.Errorf("ended %s with %d; children: %s", r.Ending, r.Code, offspring(t))
	}
}

func TestSleeps(t *testing.T) {
	s := shell(t, ticking)
	ctx, cancel := context.WithCancel(t.Context())
	p, over := started(t, ctx, s)
	ticks := filepath.Join(s.Folder, "ticks")
	p.(lab.Sleeper).Sleep()
	before := size(t, ticks)
	time.Sleep(100 * time.Millisecond) // twenty ticks
	if after := size(t, ticks); after != before {
		t.Errorf("it ticked %d times asleep", (after-before)/5)
	}
	p.(lab.Sleeper).Wake()
	for deadline := time.Now().Add(patienceOfTests); size(t, ticks) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not wake up")
		}
	}
	p.(lab.Sleeper).Sleep()
	cancel() // it must wake up to end
	if r := <-over; r.Ending != Stopped || r.Ignored {
		t.Errorf("ended %s, ignored: %v", r.Ending, r.Ignored)
	}
}

// TestOnAHost has a program in a home's camera use the network, be cut by an event of the lab, and start again.
func TestOnAHost(t *testing.T) {
	netnstest.Require(t, "netns", "nftables", "ip")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	topo, _, err := topologies.Load("two-homes")
	if err == nil {
		err = topo.Resolve()
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(f, topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := l.Host("camera")
	other, err := l.Host("rendezvous").ListenUDP(netip.AddrPortFrom(l.Host("rendezvous").Addr(), 9))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := act(t, "send")
	s.Host = m
	s.Env = append(s.Env, "TO="+other.LocalAddr().String())
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan *Report, 1)
	go func() {
		r, err := Run(ctx, s)
		if err != nil {
			t.Error(err)
			r = &Report{} // of nothing
		}
		over <- r
	}()
	first := hear(t, other, "")
	undo, err := l.Do(lab.Event{Do: lab.DoKill, Host: "camera", For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	hear(t, other, first)
	cancel()
	if r := <-over; r.Ending != Stopped || r.Cuts != 1 {
		t.Errorf("ended %s after %d cuts", r.Ending, r.Cuts)
	}
}

// hear waits for a datagram of another life than one, and returns what that says.
func hear(t *testing.T, c *net.UDPConn, other string) string {
	t.Helper()
	b := make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(patienceOfTests))
	for {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if life := string(b[:n]); life != other {
			return life
		}
	}
}
