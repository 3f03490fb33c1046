package classify

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// filter is a test that asks for answers from elsewhere (RFC 5780 §4.4).
type filter struct {
	socket int
	change uint32
	tries  []try
	next   time.Time
	passed bool
	silent int            // tries that were judged as filtered
	failed bool           // nothing can be said
	mapped netip.AddrPort // the socket's reflexive endpoint, as the first answer said
	begun  int            // number of the first packet
	until  int            // and of the one that was answered first
}

// try is a request for an answer from elsewhere and the plain one sent after it.
type try struct {
	id, control txID
	sent        time.Time
	number      int       // of the control's packet
	judge       time.Time // zero until the control is answered
	judged      bool
}

func (f *filter) settled() bool { return f.passed || f.failed || f.silent >= silence }

func (f *filter) deadline() (d time.Time) {
	if f.settled() {
		return d
	}
	for _, t := range f.tries {
		if !t.judged {
			d = core.Earliest(d, t.judge)
		}
	}
	return core.Earliest(d, f.next)
}

// testFilter judges the tries that are due and makes the next.
func (c *Classifier) testFilter(now time.Time, f *filter) {
	for i := range f.tries {
		if t := &f.tries[i]; !t.judged && core.Due(now, t.judge) {
			t.judged = true
			f.silent++
		}
	}
	if c.filters[0].passed || c.unreachable() {
		f.failed = !f.passed // an endpoint-independent filter lets everything pass: the other test has nothing to tell
	}
	if f.settled() || !core.Due(now, f.next) {
		return
	}
	if len(f.tries) == silence+moreTries {
		f.failed = true
		return
	}
	t := try{id: c.newID(), control: c.newID(), sent: now}
	n := c.send(f.socket, c.cfg.Server, request(t.id, f.change))
	t.number = c.send(f.socket, c.cfg.Server, request(t.control, 0))
	if f.begun == 0 {
		f.begun = n
	}
	f.tries = append(f.tries, t)
	switch {
	case len(f.tries) < silence:
		f.next = now.Add(burst)
	case len(f.tries) == silence+moreTries:
		f.next = now.Add(c.grace())
	default:
		f.next = now.Add(max(c.rto, c.rtt+margin))
	}
}

// filterAnswer takes an answer to a filter's socket, and says whether it is one to a request of the filter's.
func (c *Classifier) filterAnswer(now time.Time, f *filter, from netip.AddrPort, a answer) (ours bool) {
	for i := range f.tries {
		t := &f.tries[i]
		ours = ours || a.id == t.id || a.id == t.control
		switch {
		case a.id == t.id && c.further: // the socket has sent there since
		case a.id == t.id && c.changed(f, from):
			f.passed = true
		case a.id == t.id: // the server did not do as it was asked
			f.failed = !f.passed
		case a.id == t.control && from == c.cfg.Server && t.judge.IsZero():
			rtt := now.Sub(t.sent)
			c.rtt = max(c.rtt, rtt)
			t.judge = now.Add(max(rtt/2, margin))
			if !f.mapped.IsValid() {
				f.mapped, f.until = a.mapped, t.number
			}
		}
	}
	return ours
}

// changed says whether an answer came from where the filter's test asked for.
func (c *Classifier) changed(f *filter, from netip.AddrPort) bool {
	s := c.cfg.Server
	return from.Port() != s.Port() && (from.Addr() != s.Addr()) == (f.change&changeIP != 0) &&
		(!c.other.IsValid() || from.Port() == c.other.Port())
}
