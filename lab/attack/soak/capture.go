package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"golang.org/x/crypto/blake2s"
)

func capture(ctx context.Context, s Setup, t *tally) error {
	return siege(ctx, s, t, Capture, (*household).control, (*household).capture)
}

// captureShape is a use of what an owner's visit hands an impostor: it makes what the camera is given.
type captureShape struct {
	name string
	make func(h *household, noise1 []byte, draw *rand.Rand, n int) ([]byte, *forged, error)
}

var captureShapes = []captureShape{
	{"the initiation as it is, from the impostor's address", func(_ *household, b []byte, _ *rand.Rand, _ int) ([]byte, *forged, error) {
		return b, nil, nil
	}},
	{"an older initiation, replayed", func(h *household, _ []byte, _ *rand.Rand, _ int) ([]byte, *forged, error) {
		return h.older, nil, nil
	}},
	{"the initiation under the impostor's index", func(h *household, b []byte, draw *rand.Rand, _ int) ([]byte, *forged, error) {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[4:], draw.Uint32()|1)
		attack.Sign(h.camera.key.Public(), b)
		return b, nil, nil
	}},
	{"its sealed parts behind the impostor's ephemeral key", func(h *household, b []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		f, err := h.terms(draw, identity.Proof{}).begin(random(h.tally.setup.Seed, Capture, 1<<30+n))
		if err != nil {
			return nil, nil, err
		}
		spliced := bytes.Clone(f.b)
		from := []int{40, 88}[draw.IntN(2)]
		copy(spliced[from:len(spliced)-32], b[from:])
		attack.Sign(h.camera.key.Public(), spliced)
		return spliced, f, nil
	}},
	{"16 bytes of it as the proof", func(h *household, b []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		return h.prove(draw, n, func(identity.PublicKey) identity.Proof { return identity.Proof(h.piece(b, draw)) })
	}},
	{"16 bytes of it as the pairing secret", func(h *household, b []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		return h.prove(draw, n, func(k identity.PublicKey) identity.Proof {
			return identity.PairingProof(identity.Secret(h.piece(b, draw)), k, h.camera.key.Public())
		})
	}},
	{"a hash of it as the pairing secret", func(h *household, b []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		return h.prove(draw, n, func(k identity.PublicKey) identity.Proof {
			sum := blake2s.Sum256(append(h.piece(b, draw), b...))
			return identity.PairingProof(identity.Secret(sum[:16]), k, h.camera.key.Public())
		})
	}},
	{"what is known of a camera as the pairing secret", func(h *household, _ []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		public, uid := h.camera.key.Public(), h.camera.label.UID()
		facts := [][]byte{public[:], public[16:], []byte(uid.String()), uid[:], []byte("admin"), []byte("888888"), []byte("punchlab"), {}, {31: 0},
			h.at.Addr().AsSlice()}
		fact := facts[draw.IntN(len(facts))]
		sum := blake2s.Sum256(fact)
		return h.prove(draw, n, func(k identity.PublicKey) identity.Proof {
			secret := identity.Secret(append(bytes.Clone(fact), make([]byte, 16)...)[:16])
			if draw.IntN(2) == 0 {
				secret = identity.Secret(sum[:16])
			}
			return identity.PairingProof(secret, k, public)
		})
	}},
	{"the owner's name without the owner's key", func(h *household, _ []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		t := h.terms(draw, identity.Proof{})
		t.public = h.own.Public() // the owner, if the camera is paired
		switch draw.IntN(3) {
		case 0:
			t.pattern = unproved
		case 1:
			t.proved = make([]byte, 32)
		}
		f, err := t.begin(random(h.tally.setup.Seed, Capture, 1<<30+n))
		if err != nil {
			return nil, nil, err
		}
		return f.b, f, nil
	}},
	{"without any proof", func(h *household, _ []byte, draw *rand.Rand, n int) ([]byte, *forged, error) {
		return h.prove(draw, n, func(identity.PublicKey) (p identity.Proof) {
			if draw.IntN(2) == 0 {
				p[draw.IntN(16)] = byte(draw.Uint32())
			}
			return p
		})
	}},
}

// capture is one visit of the owner, and one use of what it brings.
func (h *household) capture(draw *rand.Rand, n int) error {
	shape := captureShapes[draw.IntN(len(captureShapes))]
	var f *forged
	h.captured = h.captured[:0]
	code, err := h.visit(func(noise1 []byte) (b []byte, err error) {
		b, f, err = shape.make(h, noise1, draw, n)
		return b, err
	})
	if err != nil {
		return err
	}
	gain := ""
	switch {
	case h.opened(f):
		gain = "the camera opened a session with the impostor"
	case f != nil && code == 0:
		gain = "the camera took the impostor for a viewer of its own"
	}
	still, err := h.refuses(h.forge(draw)...)
	if err != nil {
		return err
	}
	if !still {
		gain = "the owner is connected with the impostor"
	}
	if s := h.readable(); s != "" {
		gain = s
	}
	h.tally.saw("visits that were handed to the impostor", 1)
	h.tally.saw("datagrams that the impostor was handed", len(h.captured))
	if code == 0 {
		h.tally.saw("cameras that answered the owner's own initiation, at the impostor's address", 1)
	}
	h.tally.tried(shape.name+" ("+h.state()+")", gain)
	return nil
}

// terms are those of an impostor who would like to watch.
func (h *household) terms(draw *rand.Rand, proof identity.Proof) terms {
	t := terms{prologue: core.PrologueCamera, receiver: h.camera.key.Public(), stamp: uint64(time.Now().UnixNano())}
	for i := range t.private {
		t.private[i] = byte(draw.Uint32())
	}
	t.public = identity.PublicOf(t.private)
	t.payload = marshal(h.hello(proof, draw))
	return t
}

// prove begins with a key of the impostor's and a proof for that.
func (h *household) prove(draw *rand.Rand, n int, proof func(identity.PublicKey) identity.Proof) ([]byte, *forged, error) {
	t := h.terms(draw, identity.Proof{})
	t.payload = marshal(h.hello(proof(t.public), draw))
	f, err := t.begin(random(h.tally.setup.Seed, Capture, 1<<30+n))
	if err != nil {
		return nil, nil, err
	}
	return f.b, f, nil
}

// marshal encodes what is within its rules.
func marshal(m wire.Message) []byte {
	b, err := wire.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// piece is 16 bytes of something that was captured.
func (h *household) piece(noise1 []byte, draw *rand.Rand) []byte {
	from := noise1
	if n := len(h.captured); n > 0 && draw.IntN(3) == 0 {
		if b := h.captured[draw.IntN(n)]; len(b) >= 16 {
			from = b
		}
	}
	at := draw.IntN(len(from) - 15)
	return bytes.Clone(from[at : at+16])
}

// forge is what an impostor answers an owner whose initiation he cannot read.
func (h *household) forge(draw *rand.Rand) [][]byte {
	b := make([]byte, session.ResponseOverhead+16+draw.IntN(40))
	copy(b, []byte{session.TypeResponse, session.Version, 0, 0})
	h.mu.Lock()
	copy(b[4:8], h.noise1[4:8])
	initiation := h.noise1
	h.mu.Unlock()
	switch draw.IntN(4) {
	case 0:
		copy(b[8:], initiation[8:])
	case 1: // a public key of low order
		for i := 40; i < len(b); i++ {
			b[i] = byte(draw.Uint32())
		}
	case 2: // with the owner's own ephemeral key
		copy(b[8:40], initiation[8:40])
	default:
		for i := 8; i < len(b); i++ {
			b[i] = byte(draw.Uint32())
		}
	}
	return [][]byte{b}
}
