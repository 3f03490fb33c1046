package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

const (
	// serverName is the name that TLS clients ask for and certificates carry. It authenticates nobody.
	serverName = "punchlab"
	// taken is how long to wait before one's own port is tried again towards an endpoint that a closing connection, or one
	// about to be accepted, still holds; after takenTries another port will do.
	taken      = 50 * time.Millisecond
	takenTries = 20
	// acceptPause is how long accepting pauses after an error, such as that no file descriptor is left.
	acceptPause = 50 * time.Millisecond
)

// dialStream begins a stream to an endpoint, or returns nil where that cannot be.
func (n *Node) dialStream(key netip.AddrPort) *stream {
	if n.opt.Dial == nil || n.ndialled >= n.opt.MaxStreams || n.closed {
		return nil
	}
	s := newStream(key)
	ctx, cancel := context.WithTimeout(n.ctx, n.opt.DialTimeout)
	s.cancel = cancel
	n.streams[key] = s
	n.ndialled++
	n.wg.Add(1)
	go n.dial(ctx, s)
	return s
}

// dial makes a stream's connection.
func (n *Node) dial(ctx context.Context, s *stream) {
	defer n.wg.Done()
	defer s.cancel()
	conn, err := n.connect(ctx, s.key)
	n.mu.Lock()
	defer n.mu.Unlock()
	open := n.awake()
	if s.conn != nil || n.streams[s.key] != s || !open { // it was accepted meanwhile, or is not needed
		if conn != nil {
			_ = conn.Close()
		}
		return
	}
	if err != nil {
		n.stats.DialErrors++
		n.stats.StreamDrops += int64(s.kill())
		n.forget(s)
		return
	}
	n.stats.Dialled++
	n.carry(s, conn, streamIdle)
}

// connect makes a connection to an endpoint, from the port on which the node accepts where there is one.
func (n *Node) connect(ctx context.Context, key netip.AddrPort) (net.Conn, error) {
	proto, remote := core.ProtoOf(key)
	local := n.dialFrom(remote)
	conn, err := n.opt.Dial(ctx, local, remote)
	for try := 0; err != nil && ctx.Err() == nil && inUse(err); try++ {
		if try == takenTries {
			local = netip.AddrPort{}
		} else if !n.waitFor(taken) {
			return nil, err
		}
		conn, err = n.opt.Dial(ctx, local, remote)
	}
	if err != nil {
		return nil, err
	}
	setUp(conn)
	if proto == core.TLS {
		return n.secure(ctx, conn, tls.Client(conn, &tls.Config{
			ServerName: serverName, MinVersion: tls.VersionTLS13,
			InsecureSkipVerify: true, // what runs inside authenticates both sides (Noise)
		}))
	}
	return conn, nil
}

// inUse says whether the pair of endpoints, or the port, is another socket's.
func inUse(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EADDRINUSE)
}

// secure does the handshake of TLS, or closes the connection.
func (n *Node) secure(ctx context.Context, conn net.Conn, c *tls.Conn) (net.Conn, error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// setUp has the kernel give up a connection whose other end does not acknowledge: its path is gone, and another one can
// only be dialled.
func setUp(conn net.Conn) {
	t, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(writeTimeout/time.Millisecond))
		})
	}
}

// dialFrom is the address from which to dial: that of the first TCP listener which can, or zero.
func (n *Node) dialFrom(remote netip.AddrPort) netip.AddrPort {
	for _, l := range n.opt.Accept {
		t, ok := l.Addr().(*net.TCPAddr)
		if !ok || l.Proto != core.TCP {
			continue
		}
		at := t.AddrPort()
		four := remote.Addr().Is4()
		switch {
		case at.Addr() == netip.IPv6Unspecified() && four: // of both families
			return netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
		case at.Addr().Unmap().Is4() == four:
			return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
	}
	return netip.AddrPort{}
}

// accept takes connections from a listener until it is closed.
func (n *Node) accept(l Listener) {
	defer n.wg.Done()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			n.mu.Lock()
			n.stats.ReadErrors++
			n.mu.Unlock()
			if !n.waitFor(acceptPause) {
				return
			}
			continue
		}
		from := endpoint(conn.RemoteAddr())
		if !n.welcome(from.Addr()) {
			_ = conn.Close()
			continue
		}
		go n.admit(l.Proto, conn, from)
	}
}

// welcome counts a guest, if there is room, and a goroutine for it.
func (n *Node) welcome(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || !a.IsValid() || n.nguests >= n.opt.MaxStreams || n.guests[a] >= n.opt.MaxStreamsEach {
		return false
	}
	n.guests[a]++
	n.nguests++
	n.wg.Add(1)
	return true
}

// farewell uncounts a guest.
func (n *Node) farewell(a netip.Addr) {
	n.nguests--
	if n.guests[a]--; n.guests[a] == 0 {
		delete(n.guests, a)
	}
}

// admit makes a stream of a connection that was accepted.
func (n *Node) admit(proto core.Proto, conn net.Conn, from netip.AddrPort) {
	defer n.wg.Done()
	setUp(conn)
	var err error
	if proto == core.TLS {
		ctx, cancel := context.WithTimeout(n.ctx, n.opt.DialTimeout)
		conn, err = n.secure(ctx, conn, tls.Server(conn, &tls.Config{
			Certificates: []tls.Certificate{*n.opt.Certificate}, MinVersion: tls.VersionTLS13,
		}))
		cancel()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err != nil:
		n.stats.StreamErrors++
	case n.awake():
		n.stats.Accepted++
		n.adopt(core.Over(proto, from), from.Addr(), conn)
		return
	default:
		_ = conn.Close()
	}
	n.farewell(from.Addr())
}

// adopt makes an accepted connection that of the stream which is being dialled to its other end, or of a new one. One that
// stands with that endpoint is the other side's past.
func (n *Node) adopt(key netip.AddrPort, guest netip.Addr, conn net.Conn) {
	s := n.streams[key]
	if s != nil && s.conn != nil {
		n.stats.StreamDrops += int64(s.kill())
		n.forget(s)
		s = nil
	}
	if s == nil {
		s = newStream(key)
		n.streams[key] = s
	} else {
		s.cancel()
		n.ndialled--
	}
	s.accepted = guest
	n.carry(s, conn, n.opt.DialTimeout)
}

// selfSigned makes a certificate.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
