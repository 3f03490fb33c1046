package soak

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/lab/attack"
)

// maker makes a datagram, another one each time.
type maker struct {
	target, message string
	to              netip.AddrPort
	key             identity.PublicKey // the target's
	slow            bool               // costs a camera a key agreement
	make            func() ([]byte, error)
}

// volleys are all sorts in all variants: quick ones, and those of which a camera takes few a second.
func (m *mirror) volleys() (quick, slow []volley, err error) {
	sorts, err := m.sorts()
	if err != nil {
		return nil, nil, err
	}
	for _, k := range sorts {
		all, err := m.variants(k)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", k.message, err)
		}
		if k.slow {
			slow = append(slow, all...)
		} else {
			quick = append(quick, all...)
		}
	}
	relayed, err := m.relayed()
	return append(quick, relayed...), slow, err
}

// sorts are the datagrams that an attacker can make, or has captured.
func (m *mirror) sorts() (all []maker, err error) {
	c := m.scene
	open := m.place()
	for _, k := range attack.Kinds(attack.ToRendezvous, c.key.Public(), m.random) {
		target := "rendezvous"
		if strings.HasPrefix(k.Name, "STUN") || strings.HasPrefix(k.Name, "TURN") || k.Name == "relay frame" {
			target = "relay"
		}
		all = append(all, maker{target, k.Name, c.at, c.key.Public(), false, k.Make})
	}
	departed, err := c.departed()
	if err != nil {
		return nil, err
	}
	all = append(all,
		maker{"rendezvous", "a camera's registration, held back on its way", c.at, c.key.Public(), false, func() ([]byte, error) {
			v, err := c.never(m.draw, m.random)
			return v.initiation, err
		}},
		maker{"rendezvous", "a camera's registration that was used", c.at, c.key.Public(), false, func() ([]byte, error) {
			return bytes.Clone(departed.initiation), nil
		}})
	for _, k := range attack.Kinds(attack.ToCamera, m.camera.key.Public(), m.random) {
		all = append(all, maker{"camera", k.Name, open, m.camera.key.Public(), strings.HasPrefix(k.Name, "initiation"), k.Make})
	}
	all = append(all, maker{"camera", "an owner's initiation, held back on its way", open, m.camera.key.Public(), true, func() ([]byte, error) {
		f, err := m.owners(m.hello()).begin(m.random)
		if err != nil {
			return nil, err
		}
		return f.b, nil
	}})
	return all, nil
}

// variants are a sort as it is, one of it again and again, shorter, and longer. What mac1 covers is signed anew.
func (m *mirror) variants(k maker) (all []volley, err error) {
	n := m.setup.Tries
	some := func(change func(b []byte) []byte) (bs [][]byte, err error) {
		for range n {
			b, err := k.make()
			if err != nil {
				return nil, err
			}
			if b = change(b); b[0] == session.TypeInitiation && len(b) > 2*16 && k.message != "initiation, mac1 wrong" {
				attack.Sign(k.key, b)
			}
			bs = append(bs, b)
		}
		return bs, nil
	}
	same, err := k.make()
	if err != nil {
		return nil, err
	}
	for _, v := range []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"plain", func(b []byte) []byte { return b }},
		{"replayed", func([]byte) []byte { return bytes.Clone(same) }},
		{"cut", func(b []byte) []byte { return b[:max(1, len(b)-1-m.draw.IntN(len(b)))] }},
		{"padded", func(b []byte) []byte { return append(b, make([]byte, 1+m.draw.IntN(200))...) }},
	} {
		bs, err := some(v.change)
		if err != nil {
			return nil, err
		}
		all = append(all, volley{target: k.target, message: k.message, variant: v.name, to: k.to, all: bs})
	}
	return all, nil
}

// one makes one of a kind.
func one(kinds []attack.Kind, name string) ([]byte, error) {
	for _, k := range kinds {
		if k.Name == name {
			return k.Make()
		}
	}
	return nil, fmt.Errorf("attack.Kinds has no %s", name)
}
