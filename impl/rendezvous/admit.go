package rendezvous

import "time"

// Recheck asks Config.Standing about every camera that is online and sends those away that it does not want any more, with
// its code: after another revocation list was read, say, or the time has come for certificates to expire. It does so in
// steps, by HandleTimeout, so that nobody waits.
func (s *Server) Recheck(now time.Time) {}
