package soak

import (
	"fmt"
	"math/rand/v2"

	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// who asks for a camera as a viewer does; gain says that the answer is the impostor's doing.
func (p *impostor) who(v victim) (gain string, err error) {
	h, err := p.viewer.ask(v.public.UID())
	if err != nil {
		return "", err
	}
	switch m := h.message.(type) {
	case *wire.Peer:
		if !v.at.IsValid() || m.Endpoint.AddrPort != v.at {
			return fmt.Sprintf("a viewer that asks for a camera (%s) is sent to %v", v.kind, m.Endpoint), nil
		}
		p.tally.saw("cameras that were found where they are", 1)
	case *wire.Refused:
		switch {
		case v.at.IsValid():
			return fmt.Sprintf("a camera that is online is refused to viewers: %v", m.Code), nil
		case m.Code != wire.CodeUnavailable:
			return "", fmt.Errorf("a viewer was refused: %v", m.Code)
		}
		p.tally.saw("cameras that were offline, as they are", 1)
	}
	return "", nil
}

// listen takes what has come to the impostor, and says whether there was an answer to something that it has begun.
func (p *impostor) listen() (answered bool) {
	for {
		b, ok := poll(p.conn, p.buf[:])
		if !ok {
			break
		}
		answered = p.take(b) || answered
	}
	for {
		b, ok := poll(p.own.conn, p.buf[:])
		if !ok {
			return answered
		}
		plain, err := p.own.session.Open(nil, b)
		if err != nil {
			continue
		}
		switch m, _ := wire.Unmarshal(plain); m := m.(type) {
		case *wire.Ping:
			_ = p.own.say(&wire.Pong{Sequence: m.Sequence})
		case *wire.Introduce:
			p.gains = append(p.gains, "the impostor, under his own key, was told of a viewer")
		}
	}
}

// take takes a datagram that has come to the impostor, and goes on with a session that it makes.
func (p *impostor) take(b []byte) (answered bool) {
	for _, f := range p.begun {
		if o, ok := f.finish(b); ok {
			p.gains = append(p.gains, "a registration under a key that he does not hold was answered by a session")
			if ping, err := wire.Marshal(&wire.Ping{Sequence: 1}); err == nil { // confirms it
				_, _ = p.conn.WriteToUDPAddrPort(o.Seal(nil, ping), p.scene.at)
			}
			return true
		}
	}
	for _, sent := range p.sent {
		if again, ok := cookied(p.scene.key.Public(), sent, b); ok {
			p.proved++
			p.tally.saw("impostors who proved that they receive at their address", 1)
			_, _ = p.conn.WriteToUDPAddrPort(again, p.scene.at)
			return false
		}
	}
	p.tally.saw("datagrams that came to an impostor and that he could not open", 1)
	return false
}

// send sends from the impostor's own address.
func (p *impostor) send(b []byte) error {
	if len(b) >= session.MinInitiation && b[0] == session.TypeInitiation {
		if p.sent = append(p.sent, b); len(p.sent) > 64 {
			p.sent = p.sent[1:]
		}
	}
	_, err := p.conn.WriteToUDPAddrPort(b, p.scene.at)
	return err
}

// begin sends a handshake of his.
func (p *impostor) begin(t terms, random *rand.ChaCha8) error {
	f, err := t.begin(random)
	if err != nil {
		return err
	}
	p.begun = append(p.begun, f)
	if len(p.begun) > 64 {
		p.begun = p.begun[1:]
	}
	return p.send(f.b)
}
