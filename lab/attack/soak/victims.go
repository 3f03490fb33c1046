package soak

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/packet"
)

// victim is a camera that an impostor wants to be.
type victim struct {
	public     identity.PublicKey
	initiation []byte         // its last registration's, captured; of one that never registered: held back on its way
	said       [][]byte       // what it sent to the rendezvous since, captured
	at         netip.AddrPort // where the rendezvous sees it; zero: it is not online
	kind       string         // online, left, never
	index      uint32         // of the rendezvous, for its session; 0: unknown
}

// observed starts a camera whose traffic is captured.
func (c *scene) observed() (victim, error) {
	v := victim{kind: "online"}
	var mu sync.Mutex
	var passed [][]byte
	tap, err := listenIn(c.lab.Host("camera"), func(out bool, b []byte) {
		if payload, to, ok := datagram(b); out && ok && to == c.at {
			mu.Lock()
			defer mu.Unlock()
			if payload[0] == session.TypeInitiation || payload[0] == session.TypeTransport {
				passed = append(passed, bytes.Clone(payload))
			}
		}
	})
	if err != nil {
		return v, err
	}
	u, err := c.camera("camera", false)
	if err == nil {
		err = until("a camera's registration is captured", func() bool {
			mu.Lock()
			defer mu.Unlock()
			_, said := registration(passed)
			return len(said) > 0
		})
	}
	if missed := tap.close(); err == nil && missed > 0 {
		err = fmt.Errorf("%d packets of a camera were missed", missed)
	}
	if err != nil {
		return v, err
	}
	v.public = u.key.Public()
	u.device.Node().Do(func(time.Time) { v.at = u.camera.Stats().Reflexive })
	v.initiation, v.said = registration(passed)
	v.index = binary.LittleEndian.Uint32(v.said[0][4:])
	return v, nil
}

// registration is the initiation, the last one if it was sent again, and what was said behind it. Other lanes' cameras are silent by now,
// but for a ping.
func registration(passed [][]byte) (initiation []byte, said [][]byte) {
	for _, b := range passed {
		switch {
		case b[0] == session.TypeInitiation:
			initiation = b
		case initiation != nil:
			said = append(said, b)
		}
	}
	return initiation, said
}

// datagram is the payload of an IPv4 packet, and where it goes.
func datagram(b []byte) (payload []byte, to netip.AddrPort, ok bool) {
	p, err := packet.ParseIPv4(b)
	if err != nil || p.Protocol() != packet.ProtocolUDP || p.FragmentOffset() != 0 {
		return nil, to, false
	}
	u, err := packet.ParseUDP(p.Payload())
	if err != nil || len(u) <= packet.UDPHeaderLen {
		return nil, to, false
	}
	return u[packet.UDPHeaderLen:], netip.AddrPortFrom(p.Dst(), u.DstPort()), true
}

// departed is a camera that was online and has said goodbye.
func (c *scene) departed() (victim, error) {
	key, err := identity.NewKey(c.random)
	if err != nil {
		return victim{}, err
	}
	d, err := dial(c.lab.Host("camera"), c.at, c.key.Public(), key, c.random, &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return victim{}, err
	}
	d.leave()
	return victim{kind: "left", public: key.Public(), initiation: d.initiation}, nil
}

// never is a camera that the rendezvous has not seen. Somebody has held its first registration back.
func (c *scene) never(draw *rand.Rand, random *rand.ChaCha8) (victim, error) {
	key, err := identity.NewKey(random)
	if err != nil {
		return victim{}, err
	}
	payload, err := wire.Marshal(&wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return victim{}, err
	}
	i, err := session.NewInitiator(session.Config{Static: key, Rand: random, Prologue: []byte(core.PrologueRendezvous)}, c.key.Public(),
		uint64(time.Now().UnixNano()), payload)
	if err != nil {
		return victim{}, err
	}
	return victim{kind: "never", public: key.Public(), initiation: bytes.Clone(i.Message())}, nil
}
