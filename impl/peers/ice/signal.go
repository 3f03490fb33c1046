package ice

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// The signalling: a party keeps one TCP connection to the signalling server, as to any WebSocket service; TLS would add
// nothing to what is measured here, for the connection stands before a viewer asks. Each message is a line of JSON:
//
//	camera, viewer → server  hello{role}             answered by welcome
//	viewer → camera          offer{sdp}, candidate   the server says from whom
//	camera → viewer          answer{sdp}, candidate  the camera says to whom
//	server → viewer          absent                  an offer was for nobody: there is no camera now
//	camera, viewer → server  ping                    so that no NAT forgets the connection
const (
	kindHello     = "hello"
	kindWelcome   = "welcome"
	kindOffer     = "offer"
	kindAnswer    = "answer"
	kindCandidate = "candidate"
	kindAbsent    = "absent"
	kindPing      = "ping"

	RoleCamera = "camera"
	RoleViewer = "viewer"
)

const (
	pingEvery   = 25 * time.Second // as Engine.IO's default (socket.io)
	maxMessage  = 64 << 10
	redialAfter = 500 * time.Millisecond
	writeWithin = 10 * time.Second
)

// message is a line of signalling.
type message struct {
	Kind      string                   `json:"kind"`
	Role      string                   `json:"role,omitempty"`
	Peer      uint64                   `json:"peer,omitempty"`    // of a viewer's connection: from whom, to whom
	Session   uint64                   `json:"session,omitempty"` // the viewer's number for what belongs together
	SDP       string                   `json:"sdp,omitempty"`
	Candidate *webrtc.ICECandidateInit `json:"candidate,omitempty"`
}

// write sends a message in one piece.
func write(c net.Conn, m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write signalling: %w", err)
	}
	if err := c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	_, err = c.Write(append(b, '\n'))
	return err
}

// messages reads until the connection ends.
func messages(c net.Conn, take func(message)) {
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			return
		}
		take(m)
	}
}

// signalling is a party's connection to the server, dialled again when it breaks. take is called on one goroutine.
type signalling struct {
	net  *Net
	at   netip.AddrPort
	role string
	take func(message)

	mu   sync.Mutex
	conn net.Conn      // nil: there is none now
	nth  int           // of the connections so far
	anew chan struct{} // renew was called
	end  chan struct{}
	done chan struct{}
}

func newSignalling(n *Net, at netip.AddrPort, role string, take func(message)) *signalling {
	return &signalling{
		net: n, at: at, role: role, take: take,
		anew: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{}),
	}
}

// run keeps a connection until close.
func (s *signalling) run() {
	defer close(s.done)
	for {
		conn, err := s.net.dialSignalling(s.at)
		if err == nil && s.use(conn) {
			continue
		}
		select {
		case <-s.end:
			return
		case <-time.After(redialAfter):
		}
	}
}

// use serves a connection until it ends, and says whether another is wanted at once.
func (s *signalling) use(conn net.Conn) (anew bool) {
	defer conn.Close()
	s.mu.Lock()
	s.conn = conn
	s.nth++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conn = nil
	}()
	if s.send(message{Kind: kindHello, Role: s.role}) == 0 {
		return false
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		messages(conn, s.take)
	}()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-read:
			return false
		case <-s.end:
			conn.Close()
			<-read
			return false
		case <-s.anew:
			conn.Close()
			<-read
			return true
		case <-ping.C:
			s.send(message{Kind: kindPing})
		}
	}
}

// renew has the connection made anew: the network changed, and on the old one nothing may ever come again.
func (s *signalling) renew() {
	select {
	case s.anew <- struct{}{}:
	default:
	}
}

// send sends a message and says on which connection; 0: it did not leave.
func (s *signalling) send(m message) (nth int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || write(s.conn, m) != nil {
		return 0
	}
	return s.nth
}

// current is the number of the connection that stands, 0 for none.
func (s *signalling) current() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return 0
	}
	return s.nth
}

// said is what was sent, and on which connection.
type said struct {
	message
	on int
}

// close ends it. It must not be called by take.
func (s *signalling) close() {
	close(s.end)
	<-s.done
}
