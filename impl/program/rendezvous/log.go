package rendezvous

import "github.com/punchlab/punchlab/impl/rendezvous"

// log writes an event of the core as one structured line.
func (h *Handle) log(e any) {
	log := h.opt.Log
	switch e := e.(type) {
	case rendezvous.Online:
		log.Info("camera online", "uid", e.UID.String(), "endpoint", e.Endpoint.String())
	case rendezvous.Offline:
		log.Info("camera offline", "uid", e.UID.String(), "cause", e.Cause)
	case rendezvous.Moved:
		log.Info("device moved", "uid", e.UID.String(), "from", e.From.String(), "to", e.To.String())
	case rendezvous.Introduced:
		log.Info("introduced", "camera", e.Camera.String(), "viewer", e.Viewer.String(), "relay", e.Relay)
	}
}
