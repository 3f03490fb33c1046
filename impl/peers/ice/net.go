package ice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/transport/v5"
)

// dialTimeout bounds a TCP connection's set-up, where the network swallows it: Linux alone gives up after two minutes.
const dialTimeout = 10 * time.Second

// Net is pion's view of a host's network: a transport.Net whose sockets are real ones, made where In brings it, counted, and
// all closed by Close. It is safe for concurrent use.
type Net struct {
	// Meter counts what its sockets carry.
	Meter *Meter

	in     func(func() error) error
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	open   map[closer]struct{}
	udps   int // opened so far
	closed bool
}

type closer interface{ Close() error }

var _ transport.Net = (*Net)(nil)

// NewNet returns a network of the host into which in brings a function: sockets that the function makes are the host's. Nil:
// this process's own network.
func NewNet(in func(func() error) error) *Net {
	if in == nil {
		in = func(fn func() error) error { return fn() }
	}
	n := &Net{Meter: &Meter{}, in: in, open: map[closer]struct{}{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Close closes every socket and ends what is being dialled. Nothing can be opened after it.
func (n *Net) Close() error {
	n.mu.Lock()
	n.closed = true
	left := n.open
	n.open = map[closer]struct{}{}
	n.mu.Unlock()
	n.cancel()
	var errs []error
	for c := range left {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Open is how many sockets are open.
func (n *Net) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open)
}

// UDPSockets is how many UDP sockets have been opened so far.
func (n *Net) UDPSockets() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.udps
}

// keep remembers a socket until it is closed.
func (n *Net) keep(c closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.Join(net.ErrClosed, c.Close())
	}
	n.open[c] = struct{}{}
	return nil
}

func (n *Net) forget(c closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// ListenUDP opens a UDP socket on the host.
func (n *Net) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	return n.udp(func() (*net.UDPConn, error) { return net.ListenUDP(network, at) })
}

// DialUDP opens a connected UDP socket on the host.
func (n *Net) DialUDP(network string, from, to *net.UDPAddr) (transport.UDPConn, error) {
	return n.udp(func() (*net.UDPConn, error) { return net.DialUDP(network, from, to) })
}

func (n *Net) udp(open func() (*net.UDPConn, error)) (transport.UDPConn, error) {
	var c *net.UDPConn
	err := n.in(func() (err error) {
		c, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.udps++
	n.mu.Unlock()
	return &udpConn{UDPConn: c, net: n}, n.keep(c)
}

// ListenPacket opens a UDP socket on the host; address is literal.
func (n *Net) ListenPacket(network, address string) (net.PacketConn, error) {
	at, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.ListenUDP(network, at)
}

// ListenTCP listens on the host.
func (n *Net) ListenTCP(network string, at *net.TCPAddr) (transport.TCPListener, error) {
	var l *net.TCPListener
	err := n.in(func() (err error) {
		l, err = net.ListenTCP(network, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &listener{l, n}, n.keep(l)
}

// DialTCP connects from the host, to what pion wants to connect to: TURN servers.
func (n *Net) DialTCP(network string, from, to *net.TCPAddr) (transport.TCPConn, error) {
	c, err := n.connect(network, from, to)
	if err != nil {
		return nil, err
	}
	return n.stream(c, true)
}

// dialSignalling connects to the signalling server.
func (n *Net) dialSignalling(to netip.AddrPort) (net.Conn, error) {
	c, err := n.connect("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	return n.stream(c, false)
}

func (n *Net) connect(network string, from, to *net.TCPAddr) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(n.ctx, dialTimeout)
	defer cancel()
	d := net.Dialer{}
	if from != nil {
		d.LocalAddr = from
	}
	var c net.Conn
	err := n.in(func() (err error) {
		c, err = d.DialContext(ctx, network, to.String())
		return err
	})
	return c, err
}

// stream counts a connection, which carries TURN or signalling.
func (n *Net) stream(c net.Conn, turn bool) (*tcpConn, error) {
	tcp := c.(*net.TCPConn)
	t := &tcpConn{TCPConn: tcp, net: n}
	if remote, ok := tcp.RemoteAddr().(*net.TCPAddr); ok && turn {
		t.from, t.turn = unmap(remote.AddrPort()), &unframe{}
	}
	return t, n.keep(tcp)
}

// Dial connects to a literal address by UDP or TCP.
func (n *Net) Dial(network, address string) (net.Conn, error) {
	switch network {
	case "udp", "udp4", "udp6":
		to, err := net.ResolveUDPAddr(network, address)
		if err != nil {
			return nil, err
		}
		return n.DialUDP(network, nil, to)
	case "tcp", "tcp4", "tcp6":
		to, err := net.ResolveTCPAddr(network, address)
		if err != nil {
			return nil, err
		}
		return n.DialTCP(network, nil, to)
	}
	return nil, fmt.Errorf("dial %s: network is neither UDP nor TCP: %w", network, transport.ErrNotSupported)
}

// ResolveIPAddr reads a literal address: no name is looked up, whichever network this is.
func (n *Net) ResolveIPAddr(_, address string) (*net.IPAddr, error) {
	ip := net.ParseIP(address)
	if ip == nil {
		return nil, fmt.Errorf("resolve %q: it is no literal address", address)
	}
	return &net.IPAddr{IP: ip}, nil
}

// ResolveUDPAddr reads a literal address and port.
func (n *Net) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	return net.ResolveUDPAddr(network, address)
}

// ResolveTCPAddr reads a literal address and port.
func (n *Net) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	return net.ResolveTCPAddr(network, address)
}

// Interfaces lists the host's interfaces as they are now, with their addresses.
func (n *Net) Interfaces() (all []*transport.Interface, err error) {
	err = n.in(func() error {
		ifs, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, i := range ifs {
			addrs, err := i.Addrs()
			if err != nil {
				return err
			}
			t := transport.NewInterface(i)
			for _, a := range addrs {
				t.AddAddress(a)
			}
			all = append(all, t)
		}
		return nil
	})
	return all, err
}

// InterfaceByIndex finds one of the host's interfaces.
func (n *Net) InterfaceByIndex(index int) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Index == index })
}

// InterfaceByName finds one of the host's interfaces.
func (n *Net) InterfaceByName(name string) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Name == name })
}

func (n *Net) find(is func(*transport.Interface) bool) (*transport.Interface, error) {
	all, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if is(i) {
			return i, nil
		}
	}
	return nil, transport.ErrInterfaceNotFound
}

// CreateDialer returns a dialler whose connections are the host's. Of the dialler that is given, the local address is used.
func (n *Net) CreateDialer(d *net.Dialer) transport.Dialer { return &dialer{n, d} }

type dialer struct {
	net *Net
	d   *net.Dialer
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	from, ok := d.d.LocalAddr.(*net.TCPAddr)
	if !ok {
		return d.net.Dial(network, address)
	}
	to, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return d.net.DialTCP(network, from, to)
}

// CreateListenConfig returns what listens on the host. Of the configuration that is given, the control function is used.
func (n *Net) CreateListenConfig(c *net.ListenConfig) transport.ListenConfig {
	return &listenConfig{n, c}
}

type listenConfig struct {
	net *Net
	c   *net.ListenConfig
}

func (l *listenConfig) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var got net.Listener
	err := l.net.in(func() (err error) {
		got, err = l.c.Listen(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp, ok := got.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(transport.ErrNotSupported, got.Close())
	}
	return &listener{tcp, l.net}, l.net.keep(tcp)
}

func (l *listenConfig) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return l.net.udp(func() (*net.UDPConn, error) {
		c, err := l.c.ListenPacket(ctx, network, address)
		if err != nil {
			return nil, err
		}
		u, ok := c.(*net.UDPConn)
		if !ok {
			return nil, errors.Join(transport.ErrNotUDPAddress, c.Close())
		}
		return u, nil
	})
}
