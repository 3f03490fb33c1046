package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// Garbler is a client of a TCP server that says what no right one says: nothing, noise, broken copies of what right ones say, requests
// and headers without an end, false lengths. Each on a connection of its own, of which many are open at once.
type Garbler struct {
	Target netip.AddrPort
	Said   [][]byte // what right clients begin with, as it went over the wire; none: what clients of cameras do
	Rate   int      // connections a second; 0: 100
	Open   int      // at most at once; 0: 32
	Seed   uint64
}

// How long a Garbler waits at most: for a connection, and for the server to take all that it says; on one on which it says nothing; and
// for an answer.
const (
	takenIn  = 3 * time.Second
	heldOpen = time.Second
	answered = 100 * time.Millisecond
)

// Name returns "garbler".
func (g *Garbler) Name() string { return "garbler" }

// Run storms. The budget's packets are connections. The report counts them by what was said, and how they ended; Sent are those on
// which something was said.
func (g *Garbler) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(g, m, b)
	if err != nil {
		return r, err
	}
	if !g.Target.IsValid() || g.Target.Port() == 0 {
		return r, fmt.Errorf("garbler: target %v: give an address and a port", g.Target)
	}
	w := &garbling{m: m, target: g.Target, report: &r, account: newMeter(b, time.Now())}
	held, release := context.WithCancel(ctx)
	defer w.account.watch(ctx)()
	w.storm(ctx, held, g)
	release()
	w.open.Wait()
	sent := r.Sent
	w.account.write(&r)
	r.Counts["connections"], r.Sent = r.Sent.Packets, sent
	return r, nil
}

// garbling is a Garbler at work.
type garbling struct {
	m       *lab.Machine
	target  netip.AddrPort
	account *meter
	open    sync.WaitGroup

	mu     sync.Mutex
	report *Report
}

// storm opens connections at the rate, until the budget is spent; those on which nothing is said last until held is over at most.
func (w *garbling) storm(ctx, held context.Context, g *Garbler) {
	rate, most := g.Rate, g.Open
	if rate <= 0 {
		rate = 100
	}
	if most <= 0 {
		most = 32
	}
	free := make(chan struct{}, most)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	made := newGarbler(g.Seed, g.Said)
	for i := 0; ; i++ {
		select {
		case <-w.account.over:
			return
		case free <- struct{}{}:
		}
		select {
		case <-w.account.over:
			return
		case <-tick.C:
		}
		what := made.next(i)
		if !w.account.take(time.Now(), len(what.B)) {
			return
		}
		hard := made.draw.IntN(2) == 0
		w.open.Go(func() {
			w.once(ctx, held, what, hard)
			<-free
		})
	}
}

// once opens a connection, says what there is to say, and leaves: hard by a reset. Where it says nothing it leaves when held is over.
func (w *garbling) once(ctx, held context.Context, what Garbage, hard bool) {
	short, cancel := context.WithTimeout(ctx, takenIn)
	defer cancel()
	c, err := w.m.DialContext(short, "tcp", w.target.String())
	if err != nil {
		w.count("not taken: "+cause(err), 0)
		return
	}
	defer c.Close()
	if t, ok := c.(*net.TCPConn); ok && hard {
		_ = t.SetLinger(0)
	}
	if len(what.B) == 0 {
		_ = c.SetDeadline(time.Now().Add(heldOpen))
		defer context.AfterFunc(held, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
		var one [1]byte
		_, _ = c.Read(one[:]) // until the server has had enough, or it has held it long enough
		w.count(what.Kind, 0)
		return
	}
	_ = c.SetDeadline(time.Now().Add(takenIn))
	n, _ := c.Write(what.B) // a server may hang up in the midst of it
	if n == 0 {
		w.count("not taken: it hung up", 0)
		return
	}
	w.count(what.Kind, n)
	_ = c.SetDeadline(time.Now().Add(answered))
	var buf [2048]byte
	got, _ := c.Read(buf[:])
	w.received(got)
	if t, ok := c.(*net.TCPConn); ok && !hard {
		// Until the server has done with it: a storm goes as fast as that bears, and is no flood.
		_ = t.CloseWrite()
		_ = c.SetDeadline(time.Now().Add(takenIn))
		_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	}
}

func (w *garbling) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Counts[what]++
	if n > 0 {
		w.report.Sent.add(n)
	}
}

func (w *garbling) received(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.report.Received.add(n)
	}
}

// cause is why a connection could not be opened, without its ends.
func cause(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	}
	return "it was called off"
}
