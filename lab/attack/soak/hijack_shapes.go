package soak

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/flynn/noise"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
)

// hijackShape is a way of taking a camera's name.
type hijackShape struct {
	name string
	only string // kind of victims; "": all
	do   func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error
}

func hijackShapes(kind string) (fit []hijackShape) {
	for _, s := range allHijackShapes {
		if s.only == "" || s.only == kind {
			fit = append(fit, s)
		}
	}
	return fit
}

var allHijackShapes = []hijackShape{
	{"the camera's public key, another private one", "", func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error {
		return p.begin(p.claim(v, draw), random)
	}},
	{"the same, by who is registered himself", "", func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error {
		t := p.claim(v, draw)
		t.private = p.key.Private()
		return p.begin(t, random)
	}},
	{"a guess in place of the key agreement", "", func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error {
		t := p.claim(v, draw)
		server := p.scene.key.Public()
		guesses := [][]byte{make([]byte, 32), bytes.Repeat([]byte{0xff}, 32), v.public[:], server[:], t.private[:], {31: 1}}
		if t.proved = guesses[draw.IntN(len(guesses))]; len(t.proved) != 32 {
			t.proved = make([]byte, 32)
		}
		return p.begin(t, random)
	}},
	{"a handshake that proves no key", "", func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error {
		t := p.claim(v, draw)
		t.pattern = []*noise.HandshakePattern{unproved, halfProof, lateProof}[draw.IntN(3)]
		return p.begin(t, random)
	}},
	{"its registration, replayed", "", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		for range 1 + draw.IntN(3) {
			if err := p.send(v.initiation); err != nil {
				return err
			}
		}
		return nil
	}},
	{"its registration under another index", "", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		b := bytes.Clone(v.initiation)
		binary.LittleEndian.PutUint32(b[4:], draw.Uint32()|1)
		attack.Sign(p.scene.key.Public(), b)
		return p.send(b)
	}},
	{"its registration, a bit changed", "", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		b := flip(v.initiation, draw.IntN(8*(len(v.initiation)-32)))
		if draw.IntN(4) > 0 {
			attack.Sign(p.scene.key.Public(), b)
		}
		return p.send(b)
	}},
	{"its registration, with its payload spliced into another's", "", func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error {
		f, err := p.claim(v, draw).begin(random)
		if err != nil {
			return err
		}
		b := bytes.Clone(f.b)
		from := []int{40, 88}[draw.IntN(2)] // behind the ephemeral key, or the sealed static one
		copy(b[from:len(b)-32], v.initiation[min(from, len(v.initiation)):])
		attack.Sign(p.scene.key.Public(), b)
		p.begun = append(p.begun, f)
		return p.send(b)
	}},
	{"its registration, cut or padded", "", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		b := bytes.Clone(v.initiation)
		if draw.IntN(2) == 0 {
			b = b[:draw.IntN(len(b))]
		} else {
			b = append(b, make([]byte, 1+draw.IntN(700))...)
		}
		if len(b) > 64 {
			attack.Sign(p.scene.key.Public(), b)
		}
		return p.send(b)
	}},
	{"in its name, from its own address", "online", func(p *impostor, v *victim, draw *rand.Rand, random *rand.ChaCha8) error {
		kinds := attack.Kinds(attack.ToRendezvous, p.scene.key.Public(), random)
		b, err := kinds[draw.IntN(len(kinds))].Make()
		if err != nil {
			return err
		}
		if draw.IntN(2) == 0 {
			f, err := p.claim(v, draw).begin(random)
			if err != nil {
				return err
			}
			b = f.b
		}
		return p.spoof(attack.Shot{From: v.at, To: p.scene.at, B: b})
	}},
	{"what it has said, said again by the impostor", "online", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		b := bytes.Clone(v.said[draw.IntN(len(v.said))])
		switch draw.IntN(4) {
		case 0: // a counter that was not used
			binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])+uint64(1+draw.IntN(1000)))
		case 1:
			b = flip(b, 8*16+draw.IntN(8*(len(b)-16)))
		}
		return p.send(b)
	}},
	{"said by his own session under its index", "online", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		m := []wire.Message{&wire.Ping{Sequence: draw.Uint64()}, &wire.Pong{Sequence: draw.Uint64(), Endpoint: wire.At(p.own.reflexive)}, &wire.Goodbye{}}
		payload, err := wire.Marshal(m[draw.IntN(len(m))])
		if err != nil {
			return err
		}
		b := p.own.session.Seal(nil, payload)
		binary.LittleEndian.PutUint32(b[4:], v.index)
		return p.send(b)
	}},
	{"said in his own session, of it", "", func(p *impostor, v *victim, draw *rand.Rand, _ *rand.ChaCha8) error {
		sequence := uint32(time.Now().UnixMilli())
		ms := []wire.Message{
			&wire.Report{Sequence: sequence, Candidates: []wire.Endpoint{wire.At(p.scene.at)}}, &wire.IntroduceAck{ID: drawID()},
			&wire.LocatedAck{ID: drawID(), Sequence: sequence}, &wire.Register{Version: 1, Keepalive: 15}, &wire.Again{ID: drawID(), Relay: true},
			&wire.Sample{ID: drawID()}, &wire.Connect{ID: drawID(), Camera: v.public.UID(), Noise1: p.viewer.noise1},
		}
		if v.at.IsValid() {
			ms = append(ms, &wire.Report{Sequence: sequence, Candidates: []wire.Endpoint{wire.At(v.at)}},
				&wire.Pong{Sequence: draw.Uint64(), Endpoint: wire.At(v.at)})
		}
		return p.own.say(ms[draw.IntN(len(ms))])
	}},
}

// claim is a registration under a camera's key by somebody else: another one each time.
func (p *impostor) claim(v *victim, draw *rand.Rand) terms {
	r := &wire.Register{Version: wire.ProtocolVersion, Keepalive: uint16(1 + draw.IntN(65535))}
	if draw.IntN(2) == 0 {
		r.Boot = 1 + draw.Uint64N(1<<62)
	}
	if draw.IntN(3) == 0 {
		r.Certificate = make([]byte, 1+draw.IntN(wire.MaxCertificate))
		for i := range r.Certificate {
			r.Certificate[i] = byte(draw.Uint32())
		}
	}
	payload, err := wire.Marshal(r)
	if err != nil {
		panic(err) // every value is within its rule
	}
	now := uint64(time.Now().UnixNano())
	t := terms{
		prologue: core.PrologueRendezvous, receiver: p.scene.key.Public(), public: v.public, payload: payload,
		stamp: []uint64{0, now, 1 << 62, 1<<64 - 1, draw.Uint64()}[draw.IntN(5)],
	}
	if draw.IntN(2) == 0 {
		t.size = session.MinInitiation + draw.IntN(session.MaxInitiation-session.MinInitiation-300)
	}
	for i := range t.private {
		t.private[i] = byte(draw.Uint32())
	}
	return t
}

// spoof sends one datagram in somebody's name.
func (p *impostor) spoof(shot attack.Shot) error { return p.scene.shoot([]attack.Shot{shot}, 0) }
