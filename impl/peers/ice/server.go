package ice

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/turn/v5"
)

// Where a Server listens, as services of the kind do.
const (
	STUNPort = 3478 // STUN, and TURN over UDP (RFC 8656 §3.1)
	TCPPort  = 443  // signalling, and TURN over TCP: what is let out where nothing else is
)

// The user whom a Server's TURN knows.
const (
	Realm    = "punchlab"
	Username = "lab"
	Password = "nobodys-secret"
)

// ServerConfig configures a Server.
type ServerConfig struct {
	In     func(func() error) error // into the host's network, as for NewNet
	Addrs  []netip.Addr             // of the host: it listens on each
	NoTURN bool                     // another server does STUN and TURN

	// Welcomed is told of each party that connects: "camera" or "viewer"; nil: nobody asks. It must not block.
	Welcomed func(role string)
}

// Server is the service that both parties know: signalling, STUN and TURN. It is safe for concurrent use.
type Server struct {
	cfg    ServerConfig
	net    *Net // signalling, STUN, clients of TURN
	relays *Net // relayed addresses alone, so that their Meter tells what was relayed
	turn   *turn.Server
	tcp    []*shared // by address, as cfg.Addrs

	mu      sync.Mutex
	camera  net.Conn
	viewers map[uint64]net.Conn
	next    uint64
	work    sync.WaitGroup
}

// Serve starts a server.
func Serve(cfg ServerConfig) (*Server, error) {
	if len(cfg.Addrs) == 0 {
		return nil, errors.New("serve ice: no address to listen on")
	}
	s := &Server{cfg: cfg, net: NewNet(cfg.In), relays: NewNet(cfg.In), viewers: map[uint64]net.Conn{}}
	err := s.listen()
	if err == nil && !cfg.NoTURN {
		err = s.relay()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve ice: %w", err), s.Close())
	}
	return s, nil
}

// Close ends it and waits for its goroutines.
func (s *Server) Close() error {
	var errs []error
	for _, l := range s.tcp {
		errs = append(errs, ignoreClosed(l.Close()))
	}
	if s.turn != nil {
		errs = append(errs, ignoreClosed(s.turn.Close()))
	}
	errs = append(errs, ignoreClosed(s.net.Close()), ignoreClosed(s.relays.Close()))
	s.work.Wait()
	return errors.Join(errs...)
}

// ignoreClosed drops errors that say that a socket is closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Relayed is how many bytes of UDP payload have been relayed.
func (s *Server) Relayed() int64 {
	t := s.relays.Meter.Traffic()
	return t.Sent.Bytes + t.Received.Bytes
}

// relay starts STUN and TURN on each of the host's addresses.
func (s *Server) relay() error {
	cfg := turn.ServerConfig{
		Realm: Realm, LoggerFactory: silence{},
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey(Username, Realm, Password), a.Username == Username
		},
	}
	for i, a := range s.cfg.Addrs {
		relays := &turn.RelayAddressGeneratorStatic{RelayAddress: a.AsSlice(), Address: a.String(), Net: s.relays}
		udp, err := s.net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, STUNPort)))
		if err != nil {
			return err
		}
		cfg.PacketConnConfigs = append(cfg.PacketConnConfigs, turn.PacketConnConfig{PacketConn: udp, RelayAddressGenerator: relays})
		cfg.ListenerConfigs = append(cfg.ListenerConfigs, turn.ListenerConfig{Listener: s.tcp[i], RelayAddressGenerator: relays})
	}
	var err error
	s.turn, err = turn.NewServer(cfg)
	return err
}

// listen starts signalling on each of the host's addresses, where TURN's connections come in as well.
func (s *Server) listen() error {
	for _, a := range s.cfg.Addrs {
		l, err := s.net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, TCPPort)))
		if err != nil {
			return err
		}
		shared := share(l)
		s.tcp = append(s.tcp, shared)
		s.work.Add(1)
		go s.accept(shared)
	}
	return nil
}

func (s *Server) accept(l *shared) {
	defer s.work.Done()
	l.run(func(conn net.Conn, signalling bool) {
		s.mu.Lock()
		s.next++
		id := s.next
		s.mu.Unlock()
		switch {
		case signalling:
			s.serve(conn, id)
		case s.cfg.NoTURN || !l.pass(conn):
			conn.Close()
		}
	})
}

// serve passes a party's messages on. Nobody is told that the other is gone: it will find out by itself.
func (s *Server) serve(conn net.Conn, id uint64) {
	defer conn.Close()
	defer s.leave(conn, id)
	messages(conn, func(m message) {
		if m.Kind == kindHello {
			s.hello(conn, id, m.Role)
			return
		}
		if to, m := s.route(conn, id, m); to != nil {
			_ = write(to, m)
		}
	})
}

func (s *Server) hello(conn net.Conn, id uint64, role string) {
	s.mu.Lock()
	if role == RoleCamera {
		s.camera = conn
	} else {
		s.viewers[id] = conn
	}
	s.mu.Unlock()
	if write(conn, message{Kind: kindWelcome}) == nil && s.cfg.Welcomed != nil {
		s.cfg.Welcomed(role)
	}
}

// route says where a message goes: nil for nowhere.
func (s *Server) route(conn net.Conn, id uint64, m message) (net.Conn, message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.Kind == kindPing:
		return nil, m
	case conn == s.camera:
		return s.viewers[m.Peer], m
	case s.camera == nil && m.Kind == kindOffer:
		return conn, message{Kind: kindAbsent, Session: m.Session}
	}
	m.Peer = id
	return s.camera, m
}

func (s *Server) leave(conn net.Conn, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.camera == conn {
		s.camera = nil
	}
	delete(s.viewers, id)
}
