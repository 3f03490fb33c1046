package attack

import (
	"context"
	"encoding/binary"
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
	SYN      bool // it is TCP's first segment, and B is not sent
}

// Spoofer is off the path of everybody: it writes datagrams with any source address, and sees none of the answers.
type Spoofer struct {
	Rate int                      // packets a second; 0: 1,000
	Next func(i int) (Shot, bool) // the i-th one, from 0; false: there are no more
}

// Once is a Spoofer's Next: each of some shots once, in their order.
func Once(shots []Shot) func(i int) (Shot, bool) {
	return func(i int) (Shot, bool) {
		if i >= len(shots) {
			return Shot{}, false
		}
		return shots[i], true
	}
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
			buf = shot.packet(buf[:0])
			if err := sendRaw(raw, shot.To.Addr(), buf); err != nil {
				r.Counts["not sent, as the host could not: "+err.Error()]++
			}
		}
		timer.Reset(max(time.Millisecond, time.Until(account.begun.Add(time.Duration(float64(i)/float64(rate)*float64(time.Second))))))
	}
}

// packet appends the shot's IP packet.
func (s Shot) packet(b []byte) []byte {
	if !s.SYN {
		return packet.AppendUDP(b, s.From, s.To, s.B)
	}
	at := len(b)
	b = packet.AppendUDP(b, s.From, s.To, make([]byte, synLen-packet.UDPHeaderLen)) // the same IP header, but for the protocol
	ip := b[at:]
	ip[9], ip[10], ip[11] = packet.ProtocolTCP, 0, 0
	binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:packet.IPv4HeaderLen]))
	tcp := ip[packet.IPv4HeaderLen:]
	clear(tcp[4:])
	binary.BigEndian.PutUint32(tcp[4:], uint32(s.From.Port())<<16|uint32(s.To.Port()))
	tcp[12], tcp[13] = synLen/4<<4, packet.SYN
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	copy(tcp[20:], []byte{2, 4, 5, 180}) // its MSS, 1460
	binary.BigEndian.PutUint16(tcp[16:], packet.PseudoChecksum(s.From.Addr(), s.To.Addr(), packet.ProtocolTCP, tcp))
	return b
}

// synLen is a SYN's TCP header with one option.
const synLen = 24

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
