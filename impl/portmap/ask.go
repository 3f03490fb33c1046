package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	controlPort  = 5351           // of PCP's and NAT-PMP's servers
	announcePort = "0.0.0.0:5350" // where clients hear announcements
	maxDatagram  = 2048
	firstGap     = 250 * time.Millisecond // between transmissions (RFC 6886 §3.1), doubling. RFC 6887 §8.1.1 has 3 s, too long for a race
)

// ask sends a request until take accepts an answer of the address it went to, or ctx ends.
func (c *Config) ask(ctx context.Context, to netip.AddrPort, request []byte, take func(b []byte) (done bool, err error)) error {
	return c.asking(ctx, []netip.AddrPort{to}, request, func(from netip.AddrPort, b []byte) (bool, error) {
		if from != to {
			return false, nil
		}
		return take(b)
	})
}

// taker takes a datagram and says whether nothing more is waited for.
type taker func(from netip.AddrPort, b []byte) (done bool, err error)

// asking sends a request to several addresses until take accepts an answer, or ctx ends.
func (c *Config) asking(ctx context.Context, to []netip.AddrPort, request []byte, take taker) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := c.ListenPacket("udp4", netip.AddrPortFrom(c.Internal.Addr(), 0).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, maxDatagram)
	for gap := firstGap; ; gap *= 2 {
		for _, a := range to {
			_, _ = conn.WriteTo(request, net.UDPAddrFromAddrPort(a)) // lost, like any datagram
		}
		if err := receive(ctx, conn, time.Now().Add(gap), b, take); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// receive hands datagrams to take until it is done, or until a time.
func receive(ctx context.Context, conn net.PacketConn, until time.Time, b []byte, take taker) error {
	if err := conn.SetReadDeadline(until); err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || !temporary(err) {
				return err
			}
			continue
		}
		if done, err := take(source(from), b[:n]); done || err != nil {
			return err
		}
	}
}

// temporary says whether a socket may be read again: after an ICMP error about what it has sent, say.
func temporary(err error) bool { return !errors.Is(err, net.ErrClosed) }

func source(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := u.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// announcement is what a gateway tells unasked.
type announcement struct {
	epoch    uint32
	external netip.Addr // NAT-PMP's says it
}

// parseAnnouncement reads a response to a request for the external address (RFC 6886 §3.2.1), or to ANNOUNCE (RFC 6887 §14.1).
func parseAnnouncement(b []byte) (a announcement, ok bool) {
	switch {
	case len(b) == pmpAddressSize && b[0] == pmpVersion && b[1] == pmpResponse|pmpAddress:
		if binary.BigEndian.Uint16(b[2:]) == 0 {
			a.external = netip.AddrFrom4([4]byte(b[8:]))
		}
		a.epoch = binary.BigEndian.Uint32(b[4:])
	case len(b) >= pcpHeaderSize && b[0] == pcpVersion && b[1] == pcpResponse|pcpAnnounce && b[3] == 0:
		a.epoch = binary.BigEndian.Uint32(b[8:])
	default:
		return a, false
	}
	return a, true
}

// lostState says whether a gateway has lost its state, by its epoch before and after some time (RFC 6887 §8.5; RFC 6886 §3.6
// has 7/8 instead of 15/16).
func lostState(before, after uint32, passed time.Duration) bool {
	client, server := int64(passed/time.Second), int64(after)-int64(before)
	return server < -1 || client+2 < server-server/16 || server+2 < client-client/16
}
