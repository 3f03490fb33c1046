package stage

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// ntpPort is RFC 5905's, and ntpSize its header's bytes.
const (
	ntpPort = 123
	ntpSize = 48
)

// serveClock answers NTP on the host behind the declaration's names of role ntp, if there are any. It ends with the socket.
func (x *Set) serveClock() (err error) {
	if !slices.ContainsFunc(x.stage.Decl().Servers, func(s certify.Server) bool { return s.Role == "ntp" }) {
		return nil
	}
	x.clock, err = x.Host(x.serverHost("ntp")).ListenUDP(netip.AddrPortFrom(netip.Addr{}, ntpPort))
	if err == nil {
		go answerClock(x.clock, func() time.Time { return time.Now().Add(time.Duration(x.ahead.Load())) })
	}
	return err
}

// SetClock has the lab's NTP be ahead of the true time, and reports whether there is one: only a declaration that names a server of role
// ntp brings it. It is what a camera's clock can be moved by; the machine's is nobody's to move.
func (x *Set) SetClock(ahead time.Duration) bool {
	if x.clock == nil {
		return false
	}
	x.ahead.Store(int64(ahead))
	x.stage.Note("the lab's NTP is ahead by %v", ahead)
	return true
}

func answerClock(c *net.UDPConn, now func() time.Time) {
	var b [512]byte
	for {
		n, from, err := c.ReadFromUDPAddrPort(b[:])
		if err != nil {
			return
		}
		if answer := ntpAnswer(b[:n], now()); answer != nil {
			_, _ = c.WriteToUDPAddrPort(answer, from)
		}
	}
}

// ntpAnswer is a server's to a client's request (RFC 5905 §7.3); nil: that is none. It is never longer than the request.
func ntpAnswer(request []byte, now time.Time) []byte {
	const client, server = 3, 4
	if len(request) < ntpSize || request[0]&7 != client {
		return nil
	}
	a := make([]byte, ntpSize)
	a[0] = request[0]&0x38 | server // its version
	a[1] = 1                        // stratum: a primary server
	a[2] = request[2]               // poll
	a[3] = 0xec                     // precision: 2^-20 s
	copy(a[12:], "LOCL")
	at := ntpTime(now)
	for _, field := range []int{16, 32, 40} { // reference, receive, transmit
		binary.BigEndian.PutUint64(a[field:], at)
	}
	copy(a[24:32], request[40:48]) // origin
	return a
}

// ntpTime is seconds since 1900 in the upper half, and their fraction in the lower.
func ntpTime(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/1e9
}
