package cases

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab/certify/stage"
)

// falseServer is an impostor of no protocol in particular: it takes what comes, and gives it back.
type falseServer struct {
	m interface {
		ListenUDP(at netip.AddrPort) (*net.UDPConn, error)
		ListenTCP(at netip.AddrPort) (*net.TCPListener, error)
	}
	l       *luring
	open    map[string]bool
	closers []io.Closer
	serving sync.WaitGroup
}

func newFalseServer(x *stage.Set, host string, l *luring) *falseServer {
	return &falseServer{m: x.Host(host), l: l, open: map[string]bool{}}
}

// listen takes what comes to an endpoint, by TCP in TLS too with a certificate that nobody has signed.
func (f *falseServer) listen(at netip.AddrPort, tcp bool) error {
	key := fmt.Sprint(at, tcp)
	if f.open[key] || len(f.open) >= 16 || !at.Addr().Is4() {
		return nil
	}
	f.open[key] = true
	if tcp {
		return f.listenTCP(at)
	}
	return f.listenUDP(at)
}

func (f *falseServer) listenUDP(at netip.AddrPort) error {
	c, err := whenFree(func() (*net.UDPConn, error) { return f.m.ListenUDP(at) })
	if err != nil {
		return err
	}
	f.closers = append(f.closers, c)
	f.serving.Go(func() {
		var buf [2048]byte
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf[:])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteToUDPAddrPort(buf[:n], from)
			}
		}
	})
	return nil
}

func (f *falseServer) listenTCP(at netip.AddrPort) error {
	t, err := whenFree(func() (*net.TCPListener, error) { return f.m.ListenTCP(at) })
	if err != nil {
		return err
	}
	cert, err := selfSigned()
	if err != nil {
		return errors.Join(err, t.Close())
	}
	f.closers = append(f.closers, t)
	f.serving.Go(func() {
		for {
			c, err := t.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() {
				defer c.Close()
				f.echo(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}))
			})
		}
	})
	return nil
}

// echo gives back what a connection says, and keeps it: by TLS the tape has it not in the open.
func (f *falseServer) echo(c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	var buf [4096]byte
	for {
		n, err := c.Read(buf[:])
		if err != nil {
			return
		}
		f.l.keep(buf[:n])
		_, _ = c.Write(buf[:n])
	}
}

// whenFree opens a socket as soon as the program is gone that had its port: its power was cut this moment.
func whenFree[S any](open func() (S, error)) (s S, err error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if s, err = open(); !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return s, err
		}
	}
}

func (f *falseServer) close() (err error) {
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	f.serving.Wait()
	return err
}

// selfSigned is a certificate that nobody else vouches for.
func selfSigned() (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), DNSNames: []string{"punchlab"}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
