// Package load keeps a relay busy and measures it, whoever's relay it is.
//
//	          frames             whatever the relay makes of them
//	From ───────────────► relay ───────────────────────────────► To[0], To[1], …
//	  └──────── at most Window of them on the way ◄──────────────┘
//
// The loop is closed, so that the relay loses nothing for want of room and is never without work; what counts is how much
// of a processor's time it takes for a packet, its share of the kernel's work included. Whoever sets up the relay does so
// with the same sockets before, and hands over the bytes that From is to send.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/node"
)

// Config describes a load. The sockets are taken over.
type Config struct {
	From      *net.UDPConn
	To        []*net.UDPConn
	Relay     netip.AddrPort
	Frames    [][]byte // for each of To, what From sends to have it relayed there; sent in turn
	Window    int      // packets on the way at most; 0: 128, which a receive buffer holds
	NoOffload bool     // send and receive each packet by itself
	PID       int      // of the relay's process, whose time is measured; 0: this one
}

// Result is what a relay did.
type Result struct {
	Packets int64 // that arrived
	Lost    int64
	Elapsed time.Duration
	CPU     time.Duration // of the relay's process, on all processors together
}

// PerCore is packets per second of a processor's time.
func (r Result) PerCore() float64 { return float64(r.Packets) / r.CPU.Seconds() }

// Load is a load on a relay.
type Load struct {
	cfg    Config
	nodes  []*node.Node
	sender sender

	mu      sync.Mutex
	change  sync.Cond
	timer   *time.Timer
	arrived int64
}

// stalled is how long nothing arrives before what is on the way counts as lost: longer than a busy machine leaves the relay, or this
// process, without a processor.
const stalled = 2 * time.Second

// New takes over the sockets.
func New(cfg Config) (*Load, error) {
	if len(cfg.To) == 0 || len(cfg.Frames) != len(cfg.To) {
		return nil, fmt.Errorf("load relay: %d frames for %d receivers; give one for each", len(cfg.Frames), len(cfg.To))
	}
	if cfg.Window == 0 {
		cfg.Window = 128
	}
	l := &Load{cfg: cfg}
	l.change.L = &l.mu
	l.timer = time.AfterFunc(0, l.wake)
	opt := node.Options{NoOffload: cfg.NoOffload, ReadBuffer: 8 << 20}
	cores := []core.Core{&l.sender}
	for range cfg.To {
		cores = append(cores, &receiver{load: l})
	}
	for i, conn := range append([]*net.UDPConn{cfg.From}, cfg.To...) {
		n, err := node.New(cores[i], []*net.UDPConn{conn}, opt)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("load relay: %w", err), l.Close())
		}
		l.nodes = append(l.nodes, n)
	}
	return l, nil
}

// Close closes the sockets.
func (l *Load) Close() error {
	var errs []error
	for _, n := range l.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// Run has so many packets relayed.
func (l *Load) Run(ctx context.Context, packets int64) (r Result, err error) {
	defer context.AfterFunc(ctx, l.wake)()
	before, err := cpuTime(l.cfg.PID)
	if err != nil {
		return r, err
	}
	begun := time.Now()
	l.mu.Lock()
	first := l.arrived
	l.mu.Unlock()
	for sent := int64(0); sent < packets || r.Packets+r.Lost < sent; {
		if n := min(packets-sent, int64(l.cfg.Window)-(sent-r.Packets-r.Lost)); n > 0 {
			l.send(sent, n)
			sent += n
		}
		got := l.wait(ctx, first+r.Packets) - first
		if got == r.Packets {
			r.Lost = sent - got
		}
		r.Packets, r.Lost = got, min(r.Lost, sent-got) // some were late
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
	}
	r.Elapsed = time.Since(begun)
	after, err := cpuTime(l.cfg.PID)
	r.CPU = after - before
	return r, err
}

// send sends n frames, the first of them being number at.
func (l *Load) send(at, n int64) {
	l.nodes[0].Do(func(time.Time) {
		l.sender.box.Begin()
		for i := range n {
			l.sender.box.Send(netip.AddrPort{}, l.cfg.Relay, core.Forward, l.cfg.Frames[int(at+i)%len(l.cfg.Frames)])
		}
	})
}

// wait waits until more packets have arrived than seen, or none for a while.
func (l *Load) wait(ctx context.Context, seen int64) int64 {
	end := time.Now().Add(stalled)
	l.timer.Reset(stalled)
	defer l.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.arrived <= seen && time.Now().Before(end) && ctx.Err() == nil {
		l.change.Wait()
	}
	return l.arrived
}

func (l *Load) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change.Broadcast()
}

// sender sends what it is told to.
type sender struct{ box core.Outbox }

func (s *sender) HandlePacket(time.Time, netip.AddrPort, netip.AddrPort, []byte) {}
func (s *sender) HandleTimeout(time.Time)                                        {}
func (s *sender) Deadline() time.Time                                            { return time.Time{} }
func (s *sender) Ready() core.Output                                             { return s.box.Ready() }

// receiver counts what comes, and tells of it a batch at a time: a driver asks for what is to be sent after each.
type receiver struct {
	load *Load
	got  int64
}

func (r *receiver) HandlePacket(time.Time, netip.AddrPort, netip.AddrPort, []byte) { r.got++ }
func (r *receiver) HandleTimeout(time.Time)                                        {}
func (r *receiver) Deadline() time.Time                                            { return time.Time{} }

func (r *receiver) Ready() core.Output {
	if r.got > 0 {
		r.load.mu.Lock()
		defer r.load.mu.Unlock()
		r.load.arrived += r.got
		r.got = 0
		r.load.change.Broadcast()
	}
	return core.Output{}
}

// cpuTime is the processor time that a process has used: the clock that clock_getcpuclockid(3) names.
func cpuTime(pid int) (time.Duration, error) {
	clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
	if pid != 0 {
		const sched = 2 // CPUCLOCK_SCHED of <linux/posix-timers.h>
		clock = int32(^pid<<3 | sched)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("read processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
