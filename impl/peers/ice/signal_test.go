package ice

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// signalServer serves signalling on this host's loopback, port 0 for any.
func signalServer(t *testing.T, port uint16) (s *Server, at netip.AddrPort) {
	t.Helper()
	s = &Server{cfg: ServerConfig{NoTURN: true}, net: NewNet(nil), relays: NewNet(nil), viewers: map[uint64]net.Conn{}}
	l, err := s.net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	s.tcp = []*shared{share(l)}
	s.work.Add(1)
	go s.accept(s.tcp[0])
	return s, l.Addr().(*net.TCPAddr).AddrPort()
}

// wire is a party's side of signalling.
type wire struct {
	*signalling
	net *Net
	got chan message
}

func party4(t *testing.T, at netip.AddrPort, role string) *wire {
	t.Helper()
	w := &wire{net: NewNet(nil), got: make(chan message, 16)}
	w.signalling = newSignalling(w.net, at, role, func(m message) { w.got <- m })
	go w.run()
	t.Cleanup(func() {
		w.close()
		if err := w.net.Close(); err != nil {
			t.Error(err)
		}
	})
	w.want(t, kindWelcome)
	return w
}

func (w *wire) want(t *testing.T, kind string) message {
	t.Helper()
	select {
	case m := <-w.got:
		if m.Kind != kind {
			t.Fatalf("%+v came, want %s", m, kind)
		}
		return m
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s came", kind)
	}
	return message{}
}

func TestSignallingPassesMessagesOn(t *testing.T) {
	s, at := signalServer(t, 0)
	viewer := party4(t, at, RoleViewer)
	viewer.send(message{Kind: kindOffer, Session: 7, SDP: "o"})
	if m := viewer.want(t, kindAbsent); m.Session != 7 {
		t.Errorf("%+v", m)
	}
	camera := party4(t, at, RoleCamera)
	other := party4(t, at, RoleViewer)
	for _, v := range []*wire{viewer, other} {
		v.send(message{Kind: kindOffer, Session: 7, SDP: "o"})
		m := camera.want(t, kindOffer)
		camera.send(message{Kind: kindAnswer, Session: 7, Peer: m.Peer, SDP: "a"})
		if m := v.want(t, kindAnswer); m.SDP != "a" {
			t.Errorf("%+v", m)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSignallingIsMadeAnew(t *testing.T) {
	s, at := signalServer(t, 0)
	viewer := party4(t, at, RoleViewer)
	first := viewer.current()
	viewer.renew()
	viewer.want(t, kindWelcome)
	if now := viewer.current(); now == first || viewer.send(message{Kind: kindPing}) != now {
		t.Errorf("the connection is number %d, was %d", now, first)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s, _ = signalServer(t, at.Port()) // it is back
	viewer.want(t, kindWelcome)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestOnePortServesTwo: TURN's connections go to its own listener, with their first byte.
func TestOnePortServesTwo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, done := share(l), make(chan struct{})
	go func() {
		defer close(done)
		s.run(func(conn net.Conn, signalling bool) {
			if signalling || !s.pass(conn) {
				conn.Close()
			}
		})
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{0, 3, 9}); err != nil {
		t.Fatal(err)
	}
	turn, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	b := make([]byte, 3)
	for n := 0; n < len(b); {
		m, err := turn.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if b[1] != 3 || b[2] != 9 {
		t.Errorf("TURN reads %v", b)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
	<-done
}

func TestNetClosesEverything(t *testing.T) {
	n := NewNet(nil)
	if _, err := n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	c, err := n.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n.Open() != 2 || n.UDPSockets() != 2 {
		t.Errorf("%d sockets open, %d for UDP so far", n.Open(), n.UDPSockets())
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.ListenUDP("udp4", nil); err == nil || n.Open() != 0 {
		t.Errorf("after Close %d sockets are open, error %v", n.Open(), err)
	}
}

func TestNetLooksUpNoName(t *testing.T) {
	if _, err := NewNet(nil).ResolveIPAddr("ip4", "localhost"); err == nil {
		t.Error("a name was looked up")
	}
	if ifs, err := NewNet(nil).Interfaces(); err != nil || len(ifs) == 0 {
		t.Errorf("%d interfaces, %v", len(ifs), err)
	}
}
