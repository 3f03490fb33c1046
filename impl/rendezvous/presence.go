package rendezvous

import (
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Presence takes how a camera is that is served at another node, for those who watch it here.
func (s *Server) Presence(now time.Time, camera identity.UID, state wire.State, since time.Time) {}
