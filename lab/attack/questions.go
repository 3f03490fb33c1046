package attack

import (
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
)

// asking is a viewer that logs in at a rendezvous and puts questions to it at a rate, without I/O. Its owner makes the questions, gives
// it what comes, and takes the answers.
//
//	log in ──► put ──gap──► put … the last ──► all settled, or the wait is over: over
type asking struct {
	tries   int
	gap     time.Duration                    // between two questions
	wait    time.Duration                    // for answers to the last
	put     func(now time.Time, i int) error // puts the i-th question, from 0; an error: there are no more
	settled func() bool                      // nothing that was asked is open

	box   core.Outbox
	link  *uplink.Link
	times []time.Time // of the questions that were put
	next  time.Time   // when the next one is due, or the end
	over  chan struct{}
	ended bool
}

// grantedGap is between the questions of a viewer that is to be granted all of them.
const grantedGap = 200 * time.Millisecond

// newAsking makes one that asks so many a second (0: as many as are granted) and waits for the last answers (0: so long as is said).
func newAsking(tries, rate int, wait, otherwise time.Duration) asking {
	q := asking{tries: tries, gap: grantedGap, wait: wait, over: make(chan struct{})}
	if rate > 0 {
		q.gap = time.Second / time.Duration(rate)
	}
	if q.wait <= 0 {
		q.wait = otherwise
	}
	return q
}

// login has it log in under a key. taken are the session indices that its owner uses for others.
func (q *asking) login(at netip.AddrPort, rendezvous identity.PublicKey, key identity.Key, random io.Reader, taken func(uint32) bool) (err error) {
	q.link, err = uplink.New(uplink.Config{
		Session:    session.Config{Static: key, Rand: random, Taken: taken},
		Rendezvous: rendezvous, Addrs: []netip.AddrPort{at}, Keepalive: 15 * time.Second, Hello: &wire.Login{Version: wire.ProtocolVersion},
		Up: func(now time.Time, _ wire.Message) { q.next = now }, Down: func(time.Time) {},
	}, &q.box)
	return err
}

func (q *asking) start(now time.Time) error {
	q.box.Begin()
	return q.link.Start(now)
}

func (q *asking) HandleTimeout(now time.Time) {
	q.box.Begin()
	q.link.HandleTimeout(now)
	q.ask(now)
}

func (q *asking) Deadline() time.Time {
	if q.ended {
		return time.Time{}
	}
	return core.Earliest(q.link.Deadline(), q.next)
}

func (q *asking) Ready() core.Output { return q.box.Ready() }

// ask puts the question that is due, and ends when nothing is open or has been waited for.
func (q *asking) ask(now time.Time) {
	if q.ended || !q.link.Up() {
		return
	}
	due := core.Due(now, q.next)
	if len(q.times) == q.tries {
		if due || q.settled() {
			q.end()
		}
		return
	}
	if !due {
		return
	}
	if err := q.put(now, len(q.times)); err != nil {
		q.end()
		return
	}
	q.times = append(q.times, now)
	if q.next = now.Add(q.gap); len(q.times) == q.tries {
		q.next = now.Add(q.wait)
	}
}

func (q *asking) end() {
	q.ended = true
	close(q.over)
}
