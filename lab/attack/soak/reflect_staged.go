package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
)

// punched has the camera answer an owner whom it does not hear, and then gives it his punches from elsewhere: whoever stands on the
// way has held both back.
func (m *mirror) punched(ctx context.Context, size int) error {
	hello := m.hello()
	f, err := m.owners(hello).begin(m.random)
	if err != nil {
		return err
	}
	open := m.place()
	before := volley{target: "camera", message: "an owner's initiation, held back on its way", variant: "plain", to: open, all: [][]byte{f.b}}
	v := volley{target: "camera", message: fmt.Sprintf("his punches of %d bytes, held back on their way", size), variant: "plain", to: open}
	for i := range m.setup.Tries {
		b := wire.AppendPunch(nil, hello.PunchKey, wire.Punch{ID: hello.ID, Counter: uint32(1 + i)}, size)
		v.all = append(v.all, b)
	}
	if err := m.fire(ctx, []volley{before}, 15); err != nil {
		return err
	}
	return m.fire(ctx, []volley{v}, 15)
}

// relayed are frames in the name of who has a relay: they go to the other party.
func (m *mirror) relayed() ([]volley, error) {
	c := m.scene
	keys := [2]identity.Key{}
	for i := range keys {
		var err error
		if keys[i], err = identity.NewKey(c.random); err != nil {
			return nil, err
		}
	}
	cam, err := dial(c.seat(0), c.at, c.key.Public(), keys[0], c.random, &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return nil, err
	}
	c.atEnd(cam.leave)
	viewer, err := dial(c.seat(1), c.at, c.key.Public(), keys[1], c.random, &wire.Login{Version: wire.ProtocolVersion})
	if err != nil {
		return nil, err
	}
	c.atEnd(viewer.leave)
	noise1, err := stranger(keys[0].Public(), c.random)
	if err != nil {
		return nil, err
	}
	id := drawID()
	h, err := viewer.ask(&wire.Connect{ID: id, Camera: keys[0].Public().UID(), Noise1: noise1, Relay: true}, func(m wire.Message) bool {
		p, ok := m.(*wire.Peer)
		return ok && p.ID == id
	})
	if err != nil {
		return nil, err
	}
	channel := h.message.(*wire.Peer).Channel
	if channel == 0 {
		return nil, errors.New("the rendezvous gave no relay")
	}
	in, ok := cam.hear(time.Now().Add(patience), func(m wire.Message) bool { _, ok := m.(*wire.Introduce); return ok })
	if !ok {
		return nil, errors.New("the rendezvous told the camera of no viewer")
	}
	if err := cam.say(&wire.IntroduceAck{ID: in.message.(*wire.Introduce).ID}); err != nil {
		return nil, err
	}
	v := volley{
		target: "relay", message: "relay frame in the name of who has a relay", variant: "plain", to: c.at, from: viewer.reflexive, out: cam.reflexive,
	}
	for range m.setup.Tries {
		data := make([]byte, 1+m.draw.IntN(1000))
		_, _ = io.ReadFull(m.random, data)
		data[0] = 0x80
		b, err := wire.AppendChannelData(nil, channel, data)
		if err != nil {
			return nil, err
		}
		v.all = append(v.all, b)
	}
	return []volley{v}, nil
}

// crowds are so many initiations at once that cookies are asked for.
func (m *mirror) crowds() (all []volley, err error) {
	for _, k := range []struct {
		target, to string
		key        identity.PublicKey
		at         netip.AddrPort
		n          int
	}{
		{"rendezvous", attack.ToRendezvous, m.scene.key.Public(), m.scene.at, 1500},
		{"camera", attack.ToCamera, m.camera.key.Public(), m.place(), 100},
	} {
		b, err := one(attack.Kinds(k.to, k.key, m.random), "initiation, valid, by a new key")
		if err != nil {
			return nil, err
		}
		v := volley{target: k.target, message: "initiation, mac1 right, sealed part forged", variant: "at once", to: k.at}
		for range k.n {
			b := flip(b, 8*4+m.draw.IntN(32))
			attack.Sign(k.key, b)
			v.all = append(v.all, b)
		}
		all = append(all, v)
	}
	return all, nil
}

// hello is what an owner says to the camera.
func (m *mirror) hello() *wire.Hello {
	return &wire.Hello{
		Version: wire.ProtocolVersion, ID: drawID(), PunchKey: wire.PunchKey{1, byte(m.draw.Uint32())},
		Proof: identity.PairingProof(m.camera.label.Secret, m.owner.Public(), m.camera.key.Public()),
		Flags: wire.FlagStart | wire.FlagDirect, Profile: wire.ProfileAES128GCM,
	}
}

// owners are the terms of who has the camera's label.
func (m *mirror) owners(hello *wire.Hello) terms {
	public := m.camera.key.Public()
	return terms{
		prologue: core.PrologueCamera, receiver: public, public: m.owner.Public(), private: m.owner.Private(),
		stamp: uint64(time.Now().UnixNano()), payload: marshal(hello),
	}
}

// place is where the open camera listens.
func (m *mirror) place() (at netip.AddrPort) {
	m.camera.device.Node().Do(func(time.Time) { at = m.camera.camera.Stats().Reflexive })
	return at
}
