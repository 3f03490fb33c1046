package attack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"golang.org/x/sys/unix"
)

// Middle is on the path between a host and its router, or between a public host and the internet. The host is the machine
// that it is run on; nothing in it notices, since its addresses and its programs stay as they are:
//
//	programs ──► routes by middle0 ──► TUN ──► Rule ──► raw socket ──► eth0 ──► router
//	programs ◄── middle0 ◄──────────── TUN ◄── Rule ◄── packet socket ◄── eth0      eth0 itself is closed for IPv4 (nftables)
//
// Neighbours are found as ever (ARP passes). A host with IPv6 is refused, since that would go past it. When its budget is
// spent it takes itself out of the path; what it held back by then is delivered at once.
type Middle struct {
	Rule    Rule       // nil: it looks on
	See     func(Seen) // each packet, before the rule; nil: nobody looks. It must not block
	Secrets []Secret   // that it looks for
	Ready   func()     // called once it is in the path; nil: nobody asks
}

// Name returns "middle".
func (a *Middle) Name() string { return "middle" }

// Run stands in the path of the host m.
func (a *Middle) Run(ctx context.Context, m *lab.Machine, b Budget) (r Report, err error) {
	if r, err = enter(a, m, b); err != nil {
		return r, err
	}
	find, err := newSearcher(a.Secrets)
	if err != nil {
		return r, err
	}
	for _, addr := range m.Addrs {
		if !addr.Is4() {
			return r, fmt.Errorf("middle on host %s: it has %v, and IPv6 would go past it: use a host with IPv4 alone", m.Name, addr)
		}
	}
	t, err := tapHost(m)
	if err != nil {
		return r, fmt.Errorf("middle on host %s: %w", m.Name, err)
	}
	defer func() { err = errors.Join(err, t.close()) }()
	account := newMeter(b, time.Now())
	defer account.watch(ctx)()
	w := watched{Middle: a, tap: t, report: &r, find: find, account: account}
	w.passage = passage{rule: a.Rule, counts: r.Counts, spend: w.spend}
	if a.Ready != nil {
		a.Ready()
	}
	err = w.loop()
	passed := r.Sent
	account.write(&r)
	r.Counts["interfered with"], r.Sent = r.Sent.Packets, passed
	return r, err
}

// watched is a Middle at work.
type watched struct {
	*Middle
	tap     *tap
	report  *Report
	find    searcher
	account *meter
	passage passage
	reader  sniff.Reader
}

// spend takes n packets of the budget, or none.
func (w *watched) spend(n int) bool {
	for range n {
		if !w.account.take(time.Now(), 0) {
			return false
		}
	}
	return true
}

func (w *watched) now() time.Duration { return time.Since(w.account.begun) }

// loop carries packets until the budget is spent.
func (w *watched) loop() error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open event: %w", err)
	}
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		<-w.account.over
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}()
	defer func() { w.account.end(Done); <-woken; unix.Close(wake) }()
	var polled []unix.PollFd
	for _, fd := range []int{wake, w.tap.tun, w.tap.card} {
		polled = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		if _, err := unix.Ppoll(polled, w.patience(), nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for packets: %w", err)
		}
		w.fromHost()
		w.fromRouter()
		over := polled[0].Revents != 0
		if over {
			return w.withdraw()
		}
		w.release(false)
	}
}

// withdraw lets the host's packets go by its own card again, and what is left in between pass.
func (w *watched) withdraw() error {
	err := w.tap.undivert()
	w.fromHost()
	w.fromRouter()
	w.release(true)
	return err
}

// patience is until a packet is due; nil: for ever.
func (w *watched) patience() *unix.Timespec {
	due, ok := w.passage.deadline()
	if !ok {
		return nil
	}
	t := unix.NsecToTimespec(int64(max(0, due-w.now())))
	return &t
}

// burst is how many packets are read from one side before the other has its turn.
const burst = 64

func (w *watched) fromHost() {
	var b [1 << 16]byte
	for range burst {
		n, err := unix.Read(w.tap.tun, b[:])
		if err != nil || n <= 0 {
			return
		}
		w.take(Up, b[:n])
	}
}

func (w *watched) fromRouter() {
	for range burst {
		p, e := w.reader.Read(w.tap.card)
		switch {
		case e == unix.EAGAIN:
			return
		case e != 0:
			w.report.Counts["not read, as the kernel could not tell it: "+e.Error()]++
			return
		case p.Out:
			continue
		}
		p.Wire(func(b []byte) { w.take(Down, b) })
	}
}

// take has a packet looked at and decided upon. Others than IPv4 are not the Middle's.
func (w *watched) take(d Direction, b []byte) {
	if len(b) == 0 || b[0]>>4 != 4 {
		return
	}
	w.report.Received.add(len(b))
	w.report.Counts["seen "+d.String()]++
	w.find.look(b, "a packet "+d.String(), w.report)
	if w.See != nil {
		w.See(Seen{N: w.passage.n[d] + 1, Direction: d, Packet: b})
	}
	w.passage.handle(w.now(), d, b)
}

// release sends what is due, or everything.
func (w *watched) release(all bool) {
	now := w.now()
	if all {
		now = 1<<63 - 1
	}
	for {
		h, ok := w.passage.next(now)
		if !ok {
			return
		}
		if err := w.tap.send(h.direction, h.b); err != nil {
			w.report.Counts["not passed on: "+err.Error()]++
			continue
		}
		w.report.Sent.add(len(h.b))
	}
}

// send hands a packet on.
func (t *tap) send(d Direction, b []byte) error {
	if d == Down {
		_, err := unix.Write(t.tun, b)
		return err
	}
	return sendRaw(t.raw, netip.AddrFrom4([4]byte(b[16:20])), b)
}
