package punch

import (
	"net/netip"
	"slices"
	"time"
)

// sockets keeps account of the sockets that an agent asks its owner for.
type sockets struct {
	wants  []want
	asked  []int // what Wants has said and Opened has not answered yet
	open   []netip.AddrPort
	closed []netip.AddrPort // to be said by Wants
}

// want is a number of sockets and what is done with them.
type want struct {
	n   int
	use func(now time.Time, socks []netip.AddrPort)
}

func (s *sockets) want(n int, use func(time.Time, []netip.AddrPort)) {
	s.wants = append(s.wants, want{n, use})
}

// drop gives back all sockets but those to keep, and wants none any more.
func (s *sockets) drop(keep func(netip.AddrPort) bool) {
	s.wants = nil
	s.open = slices.DeleteFunc(s.open, func(a netip.AddrPort) bool {
		if keep(a) {
			return false
		}
		s.closed = append(s.closed, a)
		return true
	})
}

// forget wants none any more; those on their way are given back.
func (s *sockets) forget() { s.wants = nil }

// Wants says how many further sockets are to be opened, and which of those opened before are to be closed. It says each once: an
// owner asks after every call that may change it (NewAgent, Due, Opened, Sampled, Heard, Stop, Restart), and answers each number
// greater than zero by one call of Opened, in order.
func (a *Agent) Wants() (open int, closed []netip.AddrPort) {
	s := &a.sockets
	for _, w := range s.wants {
		open += w.n
	}
	for _, n := range s.asked {
		open -= n
	}
	if open = max(open, 0); open > 0 {
		s.asked = append(s.asked, open)
	}
	closed, s.closed = s.closed, nil
	return open, closed
}

// Opened hands over sockets that Wants asked for. They are fewer, or none, where err says why; the agent makes do with them.
func (a *Agent) Opened(now time.Time, socks []netip.AddrPort, err error) {
	s := &a.sockets
	missing := 0
	if len(s.asked) > 0 {
		missing = max(s.asked[0]-len(socks), 0)
		s.asked = s.asked[1:]
	}
	for len(socks) > 0 && len(s.wants) > 0 {
		w := &s.wants[0]
		n := min(w.n, len(socks))
		s.open = append(s.open, socks[:n]...)
		use, got := w.use, slices.Clone(socks[:n])
		socks = socks[n:]
		if w.n -= n; w.n == 0 {
			s.wants = s.wants[1:]
		}
		use(now, got)
	}
	s.closed = append(s.closed, socks...)
	for missing > 0 && len(s.wants) > 0 { // not asked for again
		n := min(s.wants[0].n, missing)
		missing -= n
		if s.wants[0].n -= n; s.wants[0].n == 0 {
			s.wants = s.wants[1:]
		}
	}
}
