package attack

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// RogueRelay is the bundled rendezvous server, which looks at what it relays and passes on something else.
type RogueRelay struct {
	Key  identity.Key
	Port uint16 // 0: 4479
	// Alter is what becomes of the n-th datagram that it relays, from 1, of a channel: nothing, one, or several. It must not change
	// its argument. nil: all pass.
	Alter   func(n int, channel uint16, datagram []byte) [][]byte
	See     func(channel uint16, datagram []byte) // each that comes; nil: nobody looks. It must not block
	Secrets []Secret                              // that it looks for
	Seed    uint64
	Ready   func() // called once it serves; nil: nobody asks
}

// Name returns "rogue-relay".
func (a *RogueRelay) Name() string { return "rogue-relay" }

// Run serves. The host's first address is the rendezvous'.
func (a *RogueRelay) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(a, m, b)
	if err != nil {
		return r, err
	}
	s, err := rendezvous.New(rendezvous.Config{Static: a.Key, Rand: seeded(a.Seed)})
	if err != nil {
		return r, fmt.Errorf("rogue-relay: %w", err)
	}
	find, err := newSearcher(a.Secrets)
	if err != nil {
		return r, fmt.Errorf("rogue-relay: %w", err)
	}
	return r, serve(ctx, m, b, served{core: &tampering{a, s, find, &r, 0}, at: listenAt(m, a.Port), ready: a.Ready}, &r)
}

// tampering is the server's core behind somebody who opens the mail.
type tampering struct {
	*RogueRelay
	*rendezvous.Server
	find   searcher
	report *Report
	n      int
}

// Deadline is the server's.
func (t *tampering) Deadline() time.Time { return t.Server.Deadline() }

// Ready is the server's.
func (t *tampering) Ready() core.Output { return t.Server.Ready() }

// HandlePacket hands the server what the rogue makes of a datagram.
func (t *tampering) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	if wire.Classify(b) != wire.ChannelData {
		t.Server.HandlePacket(now, from, to, b)
		return
	}
	channel, datagram, err := wire.ParseChannelData(b)
	if err != nil {
		t.Server.HandlePacket(now, from, to, b)
		return
	}
	t.n++
	t.report.Counts["frames of "+wire.Classify(datagram).String()]++
	t.find.look(datagram, "a relay frame", t.report)
	if t.See != nil {
		t.See(channel, datagram)
	}
	if t.Alter == nil {
		t.Server.HandlePacket(now, from, to, b)
		return
	}
	for _, d := range t.Alter(t.n, channel, datagram) {
		if frame, err := wire.AppendChannelData(nil, channel, d); err == nil {
			t.Server.HandlePacket(now, from, to, frame)
		}
	}
}
