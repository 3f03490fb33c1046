package uplink

import (
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// Insist asks as Probe does, though an answer is waited for, or has the initiation go again at once where there is no
// session: the owner expects the way to the rendezvous to come back any moment, and waiting longer each time would miss
// it.
func (l *Link) Insist(now time.Time) {
	w := &l.ways[datagrams]
	switch {
	case l.sess != nil && l.unanswer == 0:
		l.sendPing(now)
	case l.sess != nil:
		l.unanswer = max(l.unanswer, 2) // Karn: its answer tells no round trip
		l.Send(core.Keepalive, &wire.Ping{Sequence: l.asked})
	case w.going():
		w.retry = now
	}
}
