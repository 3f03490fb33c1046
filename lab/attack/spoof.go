package attack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/packet"
	"golang.org/x/sys/unix"
)

// Shot is a datagram whose source is whatever it says.
type Shot struct {
	From, To netip.AddrPort // IPv4
	B        []byte
}

// Spoofer is off the path of everybody: it writes datagrams with any source address, and sees none of the answers.
type Spoofer struct {
	Rate int                      // packets a second; 0: 1,000
	Next func(i int) (Shot, bool) // the i-th one, from 0; false: there are no more
}

// Name returns "spoofer".
func (s *Spoofer) Name() string { return "spoofer" }

// Run shoots. What is late, as the machine is busy, follows at once.
func (s *Spoofer) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(s, m, b)
	if err != nil {
		return r, err
	}
	return r, shoot(ctx, m, b, s.Rate, s.Next, &r)
}

// shoot sends by a raw socket, at a rate.
func shoot(ctx context.Context, m *lab.Machine, b Budget, rate int, next func(int) (Shot, bool), r *Report) error {
	if next == nil {
		return fmt.Errorf("%s: nothing to send: set Next", r.Attack)
	}
	if rate <= 0 {
		rate = 1000
	}
	raw, err := openRaw(m, "")
	if err != nil {
		return err
	}
	defer unix.Close(raw)
	account := newMeter(b, time.Now())
	defer account.watch(ctx)()
	defer func() { account.write(r) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var buf []byte
	for i := 0; ; {
		select {
		case <-account.over:
			return nil
		case <-timer.C:
		}
		due := int(time.Since(account.begun).Seconds()*float64(rate)) + 1
		for ; i < due; i++ {
			shot, ok := next(i)
			if !ok {
				account.end(Done)
				return nil
			}
			if !shot.From.Addr().Is4() || !shot.To.Addr().Is4() {
				return fmt.Errorf("%s: from %v to %v: only IPv4 can be forged", r.Attack, shot.From, shot.To)
			}
			if !account.take(time.Now(), len(shot.B)) {
				return nil
			}
			buf = packet.AppendUDP(buf[:0], shot.From, shot.To, shot.B)
			if err := sendRaw(raw, shot.To.Addr(), buf); err != nil {
				r.Counts["not sent, as the host could not: "+err.Error()]++
			}
		}
		timer.Reset(max(time.Millisecond, time.Until(account.begun.Add(time.Duration(float64(i)/float64(rate)*float64(time.Second))))))
	}
}

// openRaw opens a socket of the host's that sends whole IPv4 packets, by one device if that is named.
func openRaw(m *lab.Machine, device string) (fd int, err error) {
	err = m.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
		if err == nil && device != "" {
			if err = unix.BindToDevice(fd, device); err != nil {
				unix.Close(fd)
			}
		}
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open raw socket on host %s: %w", m.Name, err)
	}
	return fd, nil
}

func sendRaw(fd int, to netip.Addr, b []byte) error {
	err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: to.As4()})
	if errors.Is(err, unix.EINTR) {
		err = unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: to.As4()})
	}
	return err
}
