package live

import (
	"errors"
	"fmt"
	"io"
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"github.com/punchlab/punchlab/lab/link"
	"golang.org/x/sys/unix"
)

const (
	readBurst    = 64                    // packets read from one device before the next one's turn
	deliverBurst = 16                    // packets delivered between two looks at the clock
	spin         = 80 * time.Microsecond // before a due time, when precise
	controlBurst = 8                     // control messages before the devices' turn
	rearmSlack   = time.Microsecond      // a timer that is due this much later is left as it is
)

// Interrupt moderation, as network cards have it. The loop's thread preempts whoever sends: under a flood it would be
// woken for each single packet. So when many come, it lets some gather before it looks again, what falls due in the
// meantime as well; they count as late.
const (
	rateWindow  = time.Millisecond
	manyPackets = 50 // in a window: 50,000 a second, 480 Mbit/s of 1,200 bytes
	gather      = 40 * time.Microsecond
)

// What epoll reports for the descriptors that are no port's.
const (
	eventControl = -1
	eventTimer   = -2
	eventWritten = -3
)

// loop is the fabric process: one thread that moves packets, waits and answers the control socket. No lock and no
// other thread is on a packet's way.
//
//	         ┌────────────────────────────────────────────────────────┐
//	         ▼                                                        │
//	deliver what is due ─► arm timerfd ─► epoll_wait ─► read devices, a burst each ─► control messages
//	                                                    (delivering what falls due in between)
type loop struct {
	fab     *fabric.Fabric
	epoll   int
	timer   int
	armed   time.Duration // when the timer fires; 0: it is not set
	start   time.Time
	precise bool
	queued  runQueue
	held    time.Duration // how long this thread waited for a CPU before it could read what it now reads
	ports   []*port       // nil where a port was closed
	nets    map[uint32]*netState
	traces  map[uint32]*link.Trace
	big     *fabric.Packet // that TUN devices are read into; nil: to be got
	control control
	writer  *writer

	sniffer sniff.Reader // of monitors

	window  time.Duration // when the present window began
	packets int           // read in it
	flooded bool          // there were many in the last one
	more    bool          // a device may hold more than the burst that was read
	short   bool          // a device was not read for want of a packet to read into
	starved time.Duration // since when that was so; 0: it is not
}

func newLoop(controlFD int, precise bool) (*loop, error) {
	l := &loop{fab: fabric.New(fabric.Config{}), start: time.Now(), precise: precise,
		nets: map[uint32]*netState{}, traces: map[uint32]*link.Trace{}}
	l.control = newControl(controlFD)
	l.queued = openRunQueue()
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	if l.writer, err = newWriter(); err != nil {
		return nil, err
	}
	if err := errors.Join(l.watch(controlFD, eventControl), l.watch(l.timer, eventTimer), l.watch(l.writer.wake, eventWritten)); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *loop) watch(fd int, id int32) error {
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: id}); err != nil {
		return fmt.Errorf("watch descriptor: %w", err)
	}
	return nil
}

// now is the loop's clock, the kernel's monotonic one.
func (l *loop) now() time.Duration { return time.Since(l.start) }

// run moves packets until the control socket closes.
func (l *loop) run() error {
	var events [64]unix.EpollEvent
	for {
		l.deliver()
		paused := l.gather()
		n, err := l.wait(events[:])
		if err != nil {
			return err
		}
		l.held = l.queued.waited() + paused
		if err := l.turn(events[:n]); errors.Is(err, io.EOF) {
			l.finish()
			return nil
		} else if err != nil {
			return err
		}
	}
}

// turn does what epoll reported.
func (l *loop) turn(events []unix.EpollEvent) (err error) {
	if l.starved > 0 {
		l.held += l.now() - l.starved
	}
	l.short = false
	controlled, written := l.control.stuck(), false
	for i := range events {
		switch id := events[i].Fd; id {
		case eventControl:
			controlled = true
		case eventTimer:
			var b [8]byte
			_, _ = rawRead(l.timer, b[:])
			l.armed = 0
		case eventWritten:
			written = true
		default:
			switch p := l.ports[id]; {
			case p == nil:
			case p.net != nil:
				l.drainMonitor(p)
			default:
				l.drain(p)
			}
		}
	}
	switch {
	case !l.short:
		l.starved = 0
	case l.starved == 0:
		l.starved = l.now()
	}
	// Last, because it makes and closes ports that this round's events name by number.
	if written {
		err = l.answerFinished()
	}
	if controlled && err == nil {
		err = l.serve()
	}
	return err
}

// gather lets packets gather for a while if there were many lately, and returns for how long.
func (l *loop) gather() time.Duration {
	now := l.now()
	if now-l.window >= rateWindow {
		l.flooded = l.packets >= manyPackets && now-l.window < 2*rateWindow
		l.window, l.packets = now, 0
	}
	more := l.more
	l.more = false
	if !l.flooded || more || l.precise {
		return 0
	}
	pause := unix.NsecToTimespec(int64(gather))
	_ = unix.Nanosleep(&pause, nil)
	return l.now() - now
}

// finish completes the captures that run.
func (l *loop) finish() {
	for _, n := range l.nets {
		_ = l.stopCapture(n, 0)
	}
	l.writer.close()
}

// deliver lets happen what is due, looking at the clock every few packets: a write takes microseconds.
func (l *loop) deliver() {
	for l.fab.Deliver(l.now(), deliverBurst) {
	}
}

// drain reads a burst from one device. Each packet has its own time of arrival.
func (l *loop) drain(p *port) {
	for range readBurst {
		k, e := p.read(l)
		if k == nil {
			switch e {
			case unix.EBADFD, unix.ENODEV:
				l.forget(p) // the device was removed under us; epoll would report it forever
			case unix.ENOBUFS:
				l.short = true // as many in flight as may be: the device keeps the rest, late, or drops it and counts
			}
			return
		}
		if len(k.Bytes()) == 0 {
			l.fab.Put(k)
			continue
		}
		k.Held = l.held
		l.packets++
		now := l.now()
		if due, ok := l.fab.Deadline(); ok && due <= now {
			l.deliver()
			now = l.now() // what was due meanwhile has happened: the packet comes after it
		}
		p.enter(now, k)
	}
	l.more = true
}

// discard reads what waits in a device and throws it away.
func (l *loop) discard(p *port) {
	for range txQueueLen {
		k, _ := p.read(l)
		if k == nil {
			return
		}
		l.fab.Put(k)
	}
}

func (l *loop) forget(p *port) {
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
}

// wait returns what is ready, at the latest when the next packet is due.
func (l *loop) wait(events []unix.EpollEvent) (int, error) {
	next, ok := l.fab.Deadline()
	switch left := next - l.now(); {
	case l.control.stuck():
		return l.poll(events, 1)
	case !ok:
		return l.poll(events, -1)
	case left <= 0, l.precise && left <= spin:
		return l.poll(events, 0)
	default:
		if l.precise {
			left -= spin
			next -= spin
		}
		if l.armed == 0 || next < l.armed-rearmSlack {
			its := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
			if err := unix.TimerfdSettime(l.timer, 0, &its, nil); err != nil {
				return 0, fmt.Errorf("set timer: %w", err)
			}
			l.armed = next
		}
		return l.poll(events, -1)
	}
}

// poll calls epoll_wait with its timeout in milliseconds, which only the exceptional cases use.
func (l *loop) poll(events []unix.EpollEvent, timeout int) (int, error) {
	fd, at, n := uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events))
	var got uintptr
	var e unix.Errno
	if timeout == 0 {
		got, _, e = unix.RawSyscall6(unix.SYS_EPOLL_WAIT, fd, at, n, 0, 0, 0)
	} else {
		// Not raw: Go's scheduler must know that this thread sleeps, or the collector would wait for it.
		got, _, e = unix.Syscall6(unix.SYS_EPOLL_WAIT, fd, at, n, uintptr(timeout), 0, 0)
	}
	switch e {
	case 0:
		return int(got), nil
	case unix.EINTR:
		return 0, nil
	default:
		return 0, fmt.Errorf("wait for packets: %w", e)
	}
}
