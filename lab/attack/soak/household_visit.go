package soak

import (
	"bytes"
	"errors"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
)

// plan makes of an owner's initiation what the camera is given.
type plan func(noise1 []byte) ([]byte, error)

func (h *household) lying() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plan != nil
}

// lie is what the camera is told of the owner.
func (h *household) lie(truth wire.Introduce) ([]attack.Told, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noise1, h.reflexive = truth.Noise1, truth.Endpoint.AddrPort
	if h.plan != nil {
		b, err := h.plan(truth.Noise1)
		if err != nil {
			return nil, err
		}
		truth.Noise1, truth.Endpoint, truth.ID = b, wire.At(h.at), drawID()
		h.asked, h.index = truth.ID, [4]byte(b[4:8])
	}
	return []attack.Told{{To: h.camera.key.Public(), Introduce: truth}}, nil
}

func (h *household) acknowledged(m *wire.IntroduceAck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.ID == h.asked {
		select {
		case h.acked <- m.Code:
		default:
		}
	}
}

// visit has the owner ask for the camera, and waits for what the camera says of the plan: 0, it takes it.
func (h *household) visit(p plan) (wire.Code, error) {
	for range 5 { // a busy lab may lose a packet
		select {
		case <-h.acked:
		default:
		}
		h.mu.Lock()
		h.plan, h.asked, h.noise1 = p, 0, nil
		h.mu.Unlock()
		h.owner.leave(h.camera.label.UID())
		h.owner.forget()
		if err := h.owner.ask(h.camera.label); err != nil {
			return 0, err
		}
		select {
		case code := <-h.acked:
			h.mu.Lock()
			h.captured = append(h.captured, bytes.Clone(h.noise1))
			h.mu.Unlock()
			h.listen(code == 0)
			return code, nil
		case <-time.After(2 * time.Second):
		}
	}
	return 0, errors.New("a camera does not say whether it takes a viewer")
}

// listen takes what has come to the attacker's socket. Where the camera has answered it is waited for.
func (h *household) listen(answered bool) {
	end := time.Now().Add(5 * time.Second)
	h.answer = nil
	h.mu.Lock()
	index := h.index
	h.mu.Unlock()
	for {
		b, ok := poll(h.conn, h.buf[:])
		if !ok {
			if !answered || h.answer != nil {
				return
			}
			if b, _, ok = receive(h.conn, h.buf[:], end); !ok {
				return
			}
		}
		if len(h.captured) < 64 || b[0] == session.TypeResponse {
			h.captured = append(h.captured, bytes.Clone(b))
		}
		if len(b) > header && b[0] == session.TypeResponse && [4]byte(b[4:8]) == index { // else it is an older one's, once more
			h.answer = bytes.Clone(b)
		}
	}
}

// tell sends the owner something from where it looks for the camera.
func (h *household) tell(b []byte) error {
	h.mu.Lock()
	to := h.reflexive
	h.mu.Unlock()
	_, err := h.conn.WriteToUDPAddrPort(b, to)
	return err
}

// dropped is how many datagrams the owner's viewer has dropped: by that it is known that one came.
func (h *household) dropped() (n int64) {
	h.owner.device.Node().Do(func(time.Time) {
		for _, k := range h.owner.viewer.Stats().Dropped {
			n += k
		}
	})
	return n
}

// refuses sends the owner what must not connect it, one after the other; false: it is connected, or shows something.
func (h *household) refuses(all ...[]byte) (bool, error) {
	for _, b := range all {
		before := h.dropped()
		if err := h.tell(b); err != nil {
			return false, err
		}
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end) && h.dropped() == before && !h.connected(); {
			time.Sleep(500 * time.Microsecond)
		}
		if h.dropped() > before {
			h.tally.saw("forged answers that an owner's viewer dropped", 1)
		}
	}
	return !h.connected(), nil
}

func (h *household) connected() bool {
	return saw[viewer.Connected](h.owner) || saw[viewer.FrameReceived](h.owner)
}

// opened says that the camera's answer gives a session to who began with it in the attacker's place.
func (h *household) opened(f *forged) bool {
	if h.answer == nil || f == nil {
		return false
	}
	o, ok := f.finish(h.answer)
	if !ok {
		return false
	}
	if ping, err := wire.Marshal(&wire.Consent{Sequence: 1}); err == nil { // confirms it, so that the camera writes it down
		_, _ = h.conn.WriteToUDPAddrPort(o.Seal(nil, ping), h.place())
	}
	return true
}

// readable says which secret can be read in what the attacker was handed.
func (h *household) readable() string {
	proof := identity.PairingProof(h.camera.label.Secret, h.own.Public(), h.camera.key.Public())
	data := media.EmbeddedClip().At(0).Data
	secrets := map[string][]byte{"the pairing secret": h.camera.label.Secret[:], "the pairing proof": proof[:], "a picture": data[len(data)/2:][:12]}
	for name, secret := range secrets {
		for _, b := range h.captured {
			if bytes.Contains(b, secret) {
				return name + " is readable in what the impostor was handed"
			}
		}
	}
	return ""
}
