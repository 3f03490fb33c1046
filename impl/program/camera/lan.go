package camera

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// lanBuffer is more than any viewer's first message.
const lanBuffer = 2048

// rejoinEvery is how often interfaces that have come since are added.
const rejoinEvery = 15 * time.Second

// listenLAN opens sockets in the groups by which viewers look for cameras on their own network, one for each family that there is.
func (o Options) listenLAN(ctx context.Context) (socks []net.PacketConn, err error) {
	var errs []error
	for _, group := range LANGroups {
		at := netip.AddrPortFrom(group, LANPort)
		var c net.PacketConn
		if o.ownHost {
			c, err = listenGroup(ctx, at)
		} else {
			c, err = o.Network.ListenPacket(family(group), at.String())
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		socks = append(socks, c)
	}
	if len(socks) > 0 {
		return socks, nil
	}
	return nil, errors.Join(errs...)
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "udp4"
	}
	return "udp6"
}

// listenGroup opens a socket of this host's in a group, on every interface. Cameras on one host share the port.
func listenGroup(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }); e != nil {
			return e
		}
		return err
	}}
	c, err := lc.ListenPacket(ctx, family(at.Addr()), at.String())
	if err != nil {
		return nil, err
	}
	joinAll(c, at.Addr())
	return c, nil
}

// joinAll joins the group on the interfaces where that has not been done.
func joinAll(c net.PacketConn, group netip.Addr) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return
	}
	addr := &net.UDPAddr{IP: group.AsSlice()}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 {
			continue
		}
		// The error is that it is a member already, or that the interface has no address of the family.
		if group.Is4() {
			_ = ipv4.NewPacketConn(c).JoinGroup(&i, addr)
		} else {
			_ = ipv6.NewPacketConn(c).JoinGroup(&i, addr)
		}
	}
}

// hear hands what comes by a socket to the core, until it is closed.
func hear(ctx context.Context, c net.PacketConn, take func(from netip.AddrPort, b []byte)) {
	b := make([]byte, lanBuffer)
	for failed := time.Duration(0); ; {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // one that stays must not become a busy loop
			failed = min(failed+1, 100)
			if !pause(ctx, failed*10*time.Millisecond) {
				return
			}
			continue
		}
		failed = 0
		if u, ok := from.(*net.UDPAddr); ok {
			at := u.AddrPort()
			take(netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), b[:n])
		}
	}
}

// pause waits, and says whether the context goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// rejoin joins the groups on interfaces that come later, until the context ends.
func rejoin(ctx context.Context, socks []net.PacketConn) {
	tick := time.NewTicker(rejoinEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range socks {
			for _, group := range LANGroups {
				joinAll(c, group) // the other family's fails
			}
		}
	}
}
