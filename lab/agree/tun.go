package agree

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TUN is a device whose packets a test writes and reads itself.
type TUN struct {
	fd   int
	name string
	buf  []byte
}

// OpenTUN makes a device of that name in a namespace, up, with addresses and with routes to what is reached through it.
// The kernel sends nothing on it by itself.
func OpenTUN(ns *netns.NS, name string, addrs, routes []netip.Prefix) (*TUN, error) {
	t := &TUN{fd: -1, name: name, buf: make([]byte, 1<<16)}
	err := ns.Do(func() (err error) {
		if t.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(t.fd, unix.TUNSETIFF, req)
	})
	if err == nil {
		err = t.wire(ns.Netlink(), addrs, routes)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open TUN %s: %w", name, err), t.Close())
	}
	return t, nil
}

func (t *TUN) wire(nl *netlink.Handle, addrs, routes []netip.Prefix) error {
	link, err := nl.LinkByName(t.name)
	if err != nil {
		return err
	}
	const addrGenModeNone = 1
	if err := nl.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
		return err
	}
	if err := nl.LinkSetUp(link); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %v: %w", a, err)
		}
	}
	for _, r := range routes {
		if err := nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(r)}); err != nil {
			return fmt.Errorf("add route to %v: %w", r, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Send hands a packet to the kernel, as if it came in on the device. What the kernel forwards at once has been queued
// on its way out when Send returns.
func (t *TUN) Send(b []byte) error {
	if _, err := unix.Write(t.fd, b); err != nil {
		return fmt.Errorf("send on %s: %w", t.name, err)
	}
	return nil
}

// Receive returns the next packet that the kernel sends on the device, or nil if none comes in time. What it tells its
// neighbors by itself is left out.
func (t *TUN) Receive(wait time.Duration) ([]byte, error) {
	for end := time.Now().Add(wait); ; {
		n, err := unix.Read(t.fd, t.buf)
		switch {
		case err == nil && Chatter(t.buf[:n]):
			continue
		case err == nil:
			return append([]byte(nil), t.buf[:n]...), nil
		case err != unix.EAGAIN && err != unix.EINTR:
			return nil, fmt.Errorf("receive on %s: %w", t.name, err)
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, nil
		}
		poll := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("poll %s: %w", t.name, err)
		}
	}
}

// Chatter tells whether a packet is for the link's IPv6 neighbors: listener reports and the like.
func Chatter(b []byte) bool { return len(b) >= 40 && b[0]>>4 == 6 && b[24] == 0xff && b[25] == 2 }

// Close removes the device.
func (t *TUN) Close() error {
	if t.fd < 0 {
		return nil
	}
	fd := t.fd
	t.fd = -1
	return unix.Close(fd)
}
