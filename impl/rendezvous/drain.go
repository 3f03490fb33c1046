package rendezvous

import "time"

// Drain begins to end: new handshakes are denied with retry, devices are sent away within a second or so, and relays go on
// until they are idle. It cannot be taken back.
func (s *Server) Drain(now time.Time) {}

// Drained says that nobody is served any more.
func (s *Server) Drained() bool { return false }
