package soak

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// dialog is a device's session with a rendezvous, led by one goroutine: it says something, and waits for what is answered. Messages
// are made and read by the bundled packages, but it does what it is told and nothing of its own accord.
type dialog struct {
	conn       *net.UDPConn
	at         netip.AddrPort
	session    *session.Session
	initiation []byte
	reflexive  netip.AddrPort
	buf        [2048]byte
}

// again is after how long a dialog sends what was not answered once more: a busy lab may lose a packet.
const again = 500 * time.Millisecond

// dial begins a session as hello says.
func dial(m *lab.Machine, at netip.AddrPort, server identity.PublicKey, key identity.Key, random io.Reader, hello wire.Message) (*dialog, error) {
	payload, err := wire.Marshal(hello)
	if err != nil {
		return nil, err
	}
	i, err := session.NewInitiator(session.Config{Static: key, Rand: random, Prologue: []byte(core.PrologueRendezvous)},
		server, uint64(time.Now().UnixNano()), payload)
	if err != nil {
		return nil, err
	}
	d := &dialog{at: at, initiation: append([]byte(nil), i.Message()...)}
	if d.conn, err = m.ListenUDP(netip.AddrPort{}); err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err := d.send(i.Message()); err != nil {
			return nil, errors.Join(err, d.conn.Close())
		}
		for until := time.Now().Add(again); ; {
			b, _, ok := receive(d.conn, d.buf[:], until)
			if !ok {
				break
			}
			if i.HandleCookie(b) == nil {
				break
			}
			s, plain, err := i.Finish(b)
			if err != nil {
				continue
			}
			d.session = s
			if err := d.greeted(plain); err != nil {
				return nil, errors.Join(err, d.conn.Close())
			}
			return d, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("the rendezvous did not answer %T within %v", hello, patience), d.conn.Close())
}

// greeted takes the rendezvous' answer and confirms the session, so that it stands.
func (d *dialog) greeted(plain []byte) error {
	m, err := wire.Unmarshal(plain)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.Registered:
		d.reflexive = m.Endpoint.AddrPort
	case *wire.LoggedIn:
		d.reflexive = m.Endpoint.AddrPort
	default:
		return fmt.Errorf("the rendezvous answered a handshake by %T: %+v", m, m)
	}
	_, err = d.ask(&wire.Ping{Sequence: 1}, func(m wire.Message) bool { _, ok := m.(*wire.Pong); return ok })
	return err
}

// heard is an answer.
type heard struct {
	message wire.Message
	size    int // of its datagram
	after   time.Duration
}

// ask says something, again where no answer comes, and waits for a message that is one.
func (d *dialog) ask(m wire.Message, answers func(wire.Message) bool) (heard, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		begun := time.Now()
		if err := d.say(m); err != nil {
			return heard{}, err
		}
		if h, ok := d.hear(begun.Add(again), answers); ok {
			h.after = time.Since(begun)
			return h, nil
		}
	}
	return heard{}, fmt.Errorf("the rendezvous did not answer %T within %v", m, patience)
}

func (d *dialog) say(m wire.Message) error {
	b, err := wire.Marshal(m)
	if err != nil {
		return err
	}
	return d.send(d.session.Seal(nil, b))
}

func (d *dialog) send(b []byte) error {
	_, err := d.conn.WriteToUDPAddrPort(b, d.at)
	return err
}

// hear waits for a message. Pings are answered meanwhile.
func (d *dialog) hear(until time.Time, wanted func(wire.Message) bool) (heard, bool) {
	for {
		b, _, ok := receive(d.conn, d.buf[:], until)
		if !ok {
			return heard{}, false
		}
		plain, err := d.session.Open(nil, b)
		if err != nil {
			continue
		}
		m, err := wire.Unmarshal(plain)
		if err != nil {
			continue
		}
		if ping, ok := m.(*wire.Ping); ok {
			_ = d.say(&wire.Pong{Sequence: ping.Sequence}) // the next one is answered as well
		}
		if wanted(m) {
			return heard{message: m, size: len(b)}, true
		}
	}
}

// leave ends the session and the socket.
func (d *dialog) leave() {
	_ = d.say(&wire.Goodbye{})
	d.conn.Close()
}

// receive waits for a datagram. Time that has passed takes what is there already.
func receive(c *net.UDPConn, buf []byte, until time.Time) (b []byte, from netip.AddrPort, ok bool) {
	for {
		if err := c.SetReadDeadline(until); err != nil {
			return nil, from, false
		}
		n, from, err := c.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			return buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), true
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return nil, from, false
		}
	}
}
