package soak

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/flynn/noise"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
)

func downgrade(ctx context.Context, s Setup, t *tally) error {
	return siege(ctx, s, t, Downgrade, (*household).control, (*household).downgrade)
}

// weakening makes a handshake's terms others than the protocol's. What it is given is right, but for what it changes.
type weakening struct {
	name string
	do   func(t *terms, draw *rand.Rand)
}

// anyones are tried at the camera and at the rendezvous.
var anyones = []weakening{
	{"another version in its header", func(t *terms, draw *rand.Rand) { t.version = byte(1 + draw.IntN(255)) }},
	{"a pattern that proves less", func(t *terms, draw *rand.Rand) {
		t.pattern = []*noise.HandshakePattern{unproved, halfProof}[draw.IntN(2)]
	}},
	{"another suite", func(t *terms, draw *rand.Rand) {
		ciphers := []noise.CipherFunc{noise.CipherAESGCM, noise.CipherChaChaPoly}
		hashes := []noise.HashFunc{noise.HashSHA256, noise.HashBLAKE2s, noise.HashSHA512, noise.HashBLAKE2b}
		c, h := draw.IntN(2), draw.IntN(4)
		if c == 1 && h == 1 { // that is the protocol's
			c = 0
		}
		t.suite = noise.NewCipherSuite(noise.DH25519, ciphers[c], hashes[h])
	}},
	{"another prologue", func(t *terms, draw *rand.Rand) {
		others := []string{"", core.PrologueCamera, core.PrologueRendezvous, "punchlab camera 0", "punchlab rendezvous 0", "punchlab camera 2"}
		for was := t.prologue; t.prologue == was; {
			t.prologue = others[draw.IntN(len(others))]
		}
	}},
	{"a length that does not fit", func(t *terms, draw *rand.Rand) {
		if t.length = 1 + draw.IntN(60000); draw.IntN(2) == 0 {
			t.length = -1 - draw.IntN(len(t.payload)-1)
		}
	}},
	{"something in the padding", func(t *terms, draw *rand.Rand) {
		t.size = session.InitiationOverhead + len(t.payload) + 40 + draw.IntN(200)
		t.trailing = make([]byte, 1+draw.IntN(40))
		t.trailing[draw.IntN(len(t.trailing))] = byte(1 + draw.IntN(255))
	}},
	{"a payload in another form", func(t *terms, draw *rand.Rand) { t.payload = reshape(t.payload, draw) }},
}

// cameras are tried at the camera alone, by its owner unless they say otherwise.
var cameras = append([]weakening{
	{"another profile", func(t *terms, draw *rand.Rand) {
		// SRTP's null ciphers (RFC 4568 §6.2, RFC 5764 §4.1.2), AES in counter mode, AES-256, and any.
		others := []wire.Profile{0, 0x0001, 0x0002, 0x0005, 0x0006, 0x0008, wire.Profile(draw.Uint32())}
		rehello(t, func(m *wire.Hello) {
			for m.Profile == wire.ProfileAES128GCM {
				m.Profile = others[draw.IntN(len(others))]
				others[len(others)-1]++
			}
		})
	}},
	{"another version in its Hello", func(t *terms, draw *rand.Rand) {
		rehello(t, func(m *wire.Hello) { m.Version = byte(2 + draw.IntN(254)) })
	}},
	{"a stranger's, with half a proof or none", func(t *terms, draw *rand.Rand) {
		for i := range t.private {
			t.private[i] = byte(draw.Uint32())
		}
		t.public = identity.PublicOf(t.private)
		rehello(t, func(m *wire.Hello) {
			for i := draw.IntN(16); i < 16; i++ {
				m.Proof[i] = 0
			}
		})
	}},
	{"a timestamp from before", func(t *terms, draw *rand.Rand) { t.stamp -= uint64(time.Hour) + draw.Uint64N(uint64(time.Hour)) }},
}, anyones...)

// rehello changes the Hello of terms.
func rehello(t *terms, change func(*wire.Hello)) {
	m, err := wire.Unmarshal(t.payload)
	hello, ok := m.(*wire.Hello)
	if err != nil || !ok {
		panic("a payload that was marshalled here is no Hello")
	}
	change(hello)
	t.payload = marshal(hello)
}

// reshape makes of an encoded message one that says the same in a form that is not allowed, or leaves something out.
func reshape(b []byte, draw *rand.Rand) []byte {
	b = bytes.Clone(b)
	switch draw.IntN(5) {
	case 0: // an unknown key
		b[0]++
		b = append(b, 0x16, 0x00)
	case 1: // a longer form of the type's key
		b = append([]byte{b[0], 0x18, 0x00}, b[2:]...)
	case 2: // an indefinite length
		b[0] = 0xbf
		b = append(b, 0xff)
	case 3: // something behind the map
		b = append(b, byte(draw.Uint32()))
	default: // a key less, or half of one
		b = b[:len(b)-1-draw.IntN(len(b)-2)]
	}
	return b
}

// downgrade is one try.
func (h *household) downgrade(draw *rand.Rand, n int) error {
	switch draw.IntN(10) {
	case 0, 1:
		return h.alterRequest(draw)
	case 2, 3:
		return h.alterAnswer(draw)
	case 4, 5, 6:
		return h.atRendezvous(draw, n)
	}
	w := cameras[draw.IntN(len(cameras))]
	t := h.owners(draw)
	w.do(&t, draw)
	f, err := t.begin(random(h.tally.setup.Seed, Downgrade, 1<<30+n))
	if err != nil {
		return err
	}
	if len(f.b) > session.MaxInitiation {
		return errors.New("a forged initiation is too long to be handed over")
	}
	code, err := h.visit(func([]byte) ([]byte, error) { return f.b, nil })
	if err != nil {
		return err
	}
	gain := ""
	if _, ok := f.finish(h.answer); ok {
		gain = "the camera answers by a session"
	} else if code == 0 {
		gain = "the camera takes it"
	} else {
		h.tally.saw("refused by the camera: "+code.String(), 1)
	}
	h.tally.tried("begun with "+w.name+" ("+h.state()+")", gain)
	return nil
}

// alterRequest alters the owner's own initiation on its way to the camera.
func (h *household) alterRequest(draw *rand.Rand) error {
	how := draw.IntN(3)
	code, err := h.visit(func(noise1 []byte) ([]byte, error) {
		b := bytes.Clone(noise1)
		switch how {
		case 0: // all but mac2, which a cookie alone gives a meaning
			for range 1 + draw.IntN(3) {
				b = flip(b, draw.IntN(8*(len(b)-16)))
			}
			if bytes.Equal(b, noise1) {
				b = flip(b, 8*100)
			}
		case 1:
			at := draw.IntN(8 * (len(b) - 32))
			b = flip(b, at)
			attack.Sign(h.camera.key.Public(), b)
		default:
			b = append(b, make([]byte, 1+draw.IntN(session.MaxInitiation-len(b)))...)
			attack.Sign(h.camera.key.Public(), b)
		}
		return b, nil
	})
	if err != nil {
		return err
	}
	gain := ""
	if code == 0 {
		gain = "the camera takes a handshake that was altered on its way"
	}
	name := []string{"the owner's initiation, bits changed", "the same, with a right mac1", "the owner's initiation, padded"}[how]
	h.tally.tried(name+" ("+h.state()+")", gain)
	return nil
}

// alterAnswer holds the camera's answer back, gives the owner an altered one, and then the right one.
func (h *household) alterAnswer(draw *rand.Rand) error {
	var code wire.Code
	for range 5 { // a busy lab may lose a packet
		var err error
		if code, err = h.visit(func(noise1 []byte) ([]byte, error) { return noise1, nil }); err != nil {
			return err
		}
		if code != 0 || h.answer != nil {
			break
		}
	}
	if code != 0 || h.answer == nil {
		return errors.New("a camera does not answer its owner: " + code.String())
	}
	var b []byte
	how := draw.IntN(3)
	switch how {
	case 0:
		b = flip(h.answer, draw.IntN(8*len(h.answer)))
	case 1:
		b = h.answer[:1+draw.IntN(len(h.answer)-1)]
	default:
		b = append(bytes.Clone(h.answer), make([]byte, 1+draw.IntN(64))...)
	}
	still, err := h.refuses(b)
	if err != nil {
		return err
	}
	gain := ""
	if !still {
		gain = "the owner takes an answer that was altered on its way"
	} else {
		told := time.Time{}
		err := until("an owner takes the camera's answer as it was", func() bool {
			if time.Since(told) > again { // a busy lab may lose a packet
				told = time.Now()
				_ = h.tell(h.answer)
			}
			return h.connected()
		})
		if err != nil {
			return err
		}
		h.tally.saw("answers that the owner took as they were, after a false one", 1)
	}
	name := []string{"the camera's answer, a bit changed", "the camera's answer, cut", "the camera's answer, padded"}[how]
	h.tally.tried(name+" ("+h.state()+")", gain)
	return nil
}

// atRendezvous begins a handshake with the honest rendezvous by who may begin one.
func (h *household) atRendezvous(draw *rand.Rand, n int) error {
	w := anyones[draw.IntN(len(anyones))]
	hello := []wire.Message{&wire.Register{Version: wire.ProtocolVersion, Keepalive: 15}, &wire.Login{Version: wire.ProtocolVersion}}[draw.IntN(2)]
	if draw.IntN(8) == 0 {
		w = weakening{"another version in its Register or Login", func(t *terms, draw *rand.Rand) {
			version := byte(2 + draw.IntN(254))
			hello = []wire.Message{&wire.Register{Version: version, Keepalive: 15}, &wire.Login{Version: version}}[draw.IntN(2)]
			t.payload = marshal(hello)
		}}
	}
	t := terms{prologue: core.PrologueRendezvous, receiver: h.scene.key.Public(), stamp: uint64(time.Now().UnixNano()), payload: marshal(hello)}
	for i := range t.private {
		t.private[i] = byte(draw.Uint32())
	}
	t.public = identity.PublicOf(t.private)
	right, err := t.begin(random(h.tally.setup.Seed, Downgrade, 1<<30+n))
	if err != nil {
		return err
	}
	w.do(&t, draw)
	f, err := t.begin(random(h.tally.setup.Seed, Downgrade, 1<<29+n))
	if err != nil {
		return err
	}
	for range 5 { // a busy lab may lose a packet
		gain, answered, err := h.both(f, right)
		if err != nil {
			return err
		}
		if answered {
			h.tally.saw("handshakes that the rendezvous took, with the right terms, behind others", 1)
		}
		if answered || gain != "" { // two of one key and time are not both answered
			h.tally.tried("at the rendezvous: "+w.name, gain)
			return nil
		}
	}
	return errors.New("the rendezvous does not answer a right handshake")
}

// both sends the honest rendezvous a handshake on other terms and the right one behind it, and waits until the right one is answered, or
// for as long as an answer takes. A cookie is given back.
func (h *household) both(other, right *forged) (gain string, answered bool, err error) {
	at := netip.AddrPortFrom(h.scene.lab.Host("open").Addr(), program.Port)
	say := func(b []byte) {
		if _, e := h.conn.WriteToUDPAddrPort(b, at); err == nil {
			err = e
		}
	}
	say(other.b)
	say(right.b)
	for end := time.Now().Add(again); err == nil && !answered; {
		b, _, ok := receive(h.conn, h.buf[:], end)
		if !ok {
			break
		}
		if _, ok := other.finish(b); ok {
			gain = "the rendezvous answers by a session"
		}
		for _, sent := range [][]byte{other.b, right.b} {
			if proven, ok := cookied(h.scene.key.Public(), sent, b); ok {
				say(proven)
			}
		}
		o, ok := right.finish(b)
		if answered = ok; ok { // it does not wait for confirmation for long
			say(o.Seal(nil, marshal(&wire.Goodbye{})))
		}
	}
	return gain, answered, err
}
