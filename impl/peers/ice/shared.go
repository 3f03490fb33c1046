package ice

import (
	"net"
	"sync"
	"time"
)

// helloWithin bounds how long a connection may say nothing at first.
const helloWithin = 10 * time.Second

// shared is a listener for signalling and for TURN: a connection's first byte tells which, '{' of JSON or a STUN message's.
// To TURN's server it is a listener of its own.
type shared struct {
	net.Listener
	turn chan net.Conn
	end  chan struct{}
	once sync.Once
}

func share(l net.Listener) *shared {
	return &shared{Listener: l, turn: make(chan net.Conn), end: make(chan struct{})}
}

// run accepts until the listener is closed and waits for what it has started: take runs on a goroutine for each connection.
func (s *shared) run(take func(conn net.Conn, signalling bool)) {
	var work sync.WaitGroup
	defer work.Wait()
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return
		}
		work.Go(func() {
			first := make([]byte, 1)
			_ = conn.SetReadDeadline(time.Now().Add(helloWithin))
			if _, err := conn.Read(first); err != nil {
				conn.Close()
				return
			}
			_ = conn.SetReadDeadline(time.Time{})
			take(&begun{Conn: conn, first: first}, first[0] == '{')
		})
	}
}

// pass hands a connection to TURN's server; false: nobody takes it any more.
func (s *shared) pass(conn net.Conn) bool {
	select {
	case s.turn <- conn:
		return true
	case <-s.end:
		return false
	}
}

// Accept returns TURN's connections.
func (s *shared) Accept() (net.Conn, error) {
	select {
	case conn := <-s.turn:
		return conn, nil
	case <-s.end:
		return nil, net.ErrClosed
	}
}

// Close ends it.
func (s *shared) Close() error {
	s.once.Do(func() { close(s.end) })
	return s.Listener.Close()
}

// begun is a connection whose first byte was read already. It is read by one goroutine.
type begun struct {
	net.Conn
	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 || len(p) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}
