package rendezvous

import (
	"slices"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// report keeps what a device says about itself, for those that are introduced to it. None of it is checked, and no packet
// of the server's goes to a candidate; those that name the server itself are left out, lest peers be sent here.
func (s *Server) report(c *client, m *wire.Report) {
	if m.Sequence > c.reported { // else it is a copy, or an older one overtaken
		c.reported = m.Sequence
		c.class = m.Class
		c.candidates = pack(slices.DeleteFunc(m.Candidates, func(e wire.Endpoint) bool {
			_, bare := core.ProtoOf(e.AddrPort)
			return s.own(bare.Addr())
		}))
	}
	s.tell(c, core.Signal, &wire.Reported{Sequence: m.Sequence})
}
