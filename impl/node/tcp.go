package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenTCP listens on a port that DialTCP can leave from too. The zero address is any.
func ListenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: share}
	lc.SetMultipathTCP(false) // such a listener's port is not shared with TCP
	address := at.String()
	if !at.Addr().IsValid() {
		address = (&net.TCPAddr{Port: int(at.Port())}).String()
	}
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for streams on %s: %w", address, err)
	}
	return l.(*net.TCPListener), nil
}

// DialTCP is an Options.Dial for a host's own network.
func DialTCP(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: share}
	d.SetMultipathTCP(false)
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	return d.DialContext(ctx, "tcp", remote.String())
}

// share lets a listener and many connections have one port (RFC 5382 REQ-2 speaks of the simultaneous open it is for).
func share(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		for _, o := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if e := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o, 1); e != nil {
				err = fmt.Errorf("share port: %w", e)
			}
		}
	}); cerr != nil {
		return cerr
	}
	return err
}
