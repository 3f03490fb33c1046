package cases

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab/certify/stage"
	"golang.org/x/sys/unix"
)

// uploadPort is where the upload goes, at the rendezvous' host; nothing else is there.
const uploadPort = 5001

// upload has the neighbour send as much as Cubic lets it, until it is closed.
func upload(x *stage.Set) (*uploading, error) {
	server := x.Host("rendezvous")
	l, err := server.ListenTCP(netip.AddrPortFrom(server.Addr(), uploadPort))
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := x.Host(besideHost).DialTCP(ctx, netip.AddrPort{}, netip.AddrPortFrom(server.Addr(), uploadPort))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("upload: %w", err), l.Close())
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("upload: the lab gave a %T", c), c.Close(), l.Close())
	}
	if err := cubic(tcp); err != nil {
		return nil, errors.Join(fmt.Errorf("upload: %w", err), c.Close(), l.Close())
	}
	up := &uploading{port: uploadPort}
	var wg sync.WaitGroup
	wg.Go(func() { up.drain(l) })
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for err := error(nil); err == nil; {
			_, err = c.Write(b)
		}
	})
	up.close = sync.OnceValue(func() error {
		err := tcp.SetLinger(0)
		err = errors.Join(err, c.Close(), l.Close())
		wg.Wait()
		return err
	})
	return up, nil
}

// drain takes what comes, and counts it.
func (u *uploading) drain(l *net.TCPListener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		u.bytes.Add(int64(n))
		if err == io.EOF || err != nil {
			return
		}
	}
}

// cubic has a connection use that congestion control (RFC 9438), whatever the machine's default is.
func cubic(c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic") })
	if err = errors.Join(err, set); err != nil {
		return fmt.Errorf("use cubic: %w", err)
	}
	return nil
}
