package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeNet is a host's network in memory: a gateway that answers datagrams and HTTP as a test wants.
type fakeNet struct {
	t    *testing.T
	http http.Handler

	mu       sync.Mutex
	datagram func(to netip.AddrPort, b []byte) (from netip.AddrPort, answers [][]byte)
	requests [][]byte // to the gateway's port 5351
	ears     []net.Conn
	writers  sync.WaitGroup
}

var (
	fakeGateway  = netip.MustParseAddr("192.168.1.1")
	fakeInternal = netip.MustParseAddrPort("192.168.1.2:5000")
	fakeExternal = netip.MustParseAddr("203.0.113.5")
	control      = netip.AddrPortFrom(fakeGateway, controlPort)
)

func (n *fakeNet) listen(_, address string) (net.PacketConn, error) {
	mine, theirs := net.Pipe()
	if address == announcePort {
		n.mu.Lock()
		n.ears = append(n.ears, theirs)
		n.mu.Unlock()
	}
	return &sender{mine, theirs, n}, nil
}

// sender is a net.PacketConn whose datagrams come through a pipe, six bytes of source before each.
type sender struct {
	net.Conn
	theirs net.Conn
	n      *fakeNet
}

func (s *sender) WriteTo(b []byte, to net.Addr) (int, error) {
	dest := source(to)
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if dest == control {
		s.n.requests = append(s.n.requests, slices.Clone(b))
	}
	if s.n.datagram == nil {
		return len(b), nil
	}
	from, answers := s.n.datagram(dest, b)
	s.n.writers.Go(func() {
		for _, a := range answers {
			s.n.deliver(s.theirs, from, a)
		}
	})
	return len(b), nil
}

func (n *fakeNet) deliver(to net.Conn, from netip.AddrPort, b []byte) {
	a := from.Addr().As4()
	_, _ = to.Write(append(binary.BigEndian.AppendUint16(a[:], from.Port()), b...)) // the reader may be gone
}

// announce says something to everybody on the LAN.
func (n *fakeNet) announce(from netip.AddrPort, b []byte) {
	n.mu.Lock()
	ears := slices.Clone(n.ears)
	n.mu.Unlock()
	for _, e := range ears {
		n.deliver(e, from, b)
	}
}

func (s *sender) ReadFrom(b []byte) (int, net.Addr, error) {
	buf := make([]byte, 6+len(b))
	k, err := s.Read(buf)
	if err != nil {
		return 0, nil, err
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(buf)), binary.BigEndian.Uint16(buf[4:]))
	return copy(b, buf[6:k]), net.UDPAddrFromAddrPort(from), nil
}

// Close ends both ends, so that nobody writes for ever.
func (s *sender) Close() error { return errors.Join(s.Conn.Close(), s.theirs.Close()) }

// dial connects to the gateway's web server; nobody else has one.
func (n *fakeNet) dial(_ context.Context, _, address string) (net.Conn, error) {
	if address != "192.168.1.1:5000" || n.http == nil {
		n.t.Errorf("connected to %s", address)
		return nil, errors.New("connection refused")
	}
	mine, theirs := net.Pipe()
	l := &once{conn: theirs, closed: make(chan struct{})}
	s := &http.Server{Handler: n.http}
	s.SetKeepAlivesEnabled(false)
	n.writers.Go(func() { _ = s.Serve(l) })
	return &hangUp{mine, l}, nil
}

// once is a listener with one connection.
type once struct {
	conn   net.Conn
	closed chan struct{}
	mu     sync.Mutex
	done   bool
}

func (l *once) Accept() (net.Conn, error) {
	l.mu.Lock()
	first := !l.done
	l.done = true
	l.mu.Unlock()
	if first {
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return &net.TCPAddr{} }

// hangUp ends the server with its client's connection.
type hangUp struct {
	net.Conn
	l *once
}

func (h *hangUp) Close() error {
	h.l.mu.Lock()
	select {
	case <-h.l.closed:
	default:
		close(h.l.closed)
	}
	h.l.mu.Unlock()
	return errors.Join(h.Conn.Close(), h.l.conn.Close())
}

func (n *fakeNet) config() Config {
	return Config{
		Gateway: fakeGateway, Internal: fakeInternal, Seen: fakeExternal, ListenPacket: n.listen, DialContext: n.dial,
		Rand: zeros{}, Methods: []Method{PCP, NATPMP},
	}
}

// zeros is a source of randomness without surprises.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 7
	}
	return len(b), nil
}

// pcpGateway speaks PCP.
type pcpGateway struct {
	mu       sync.Mutex
	started  time.Time
	external netip.Addr
	life     time.Duration
	silent   bool
	maps     int // requests granted
	deletes  int
}

func (g *pcpGateway) epoch() uint32 { return uint32(time.Since(g.started) / time.Second) }

func (g *pcpGateway) handle(to netip.AddrPort, b []byte) (netip.AddrPort, [][]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if to != control || g.silent || b[0] != pcpVersion {
		return to, nil
	}
	a := slices.Clone(b)
	a[1] |= pcpResponse
	clear(a[2:24])
	life := g.life
	if binary.BigEndian.Uint32(b[4:]) == 0 {
		g.deletes++
		life = 0
	} else {
		g.maps++
	}
	binary.BigEndian.PutUint32(a[4:], uint32(life/time.Second))
	binary.BigEndian.PutUint32(a[8:], g.epoch())
	e := g.external.As16()
	copy(a[pcpHeaderSize+20:], e[:])
	return to, [][]byte{a}
}

func (g *pcpGateway) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func (g *pcpGateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.maps
}
