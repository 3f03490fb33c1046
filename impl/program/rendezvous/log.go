package rendezvous

import (
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/store"
)

// log writes an event of the core as one structured line. Keys do not appear: a UID names a device.
func (h *Handle) log(e any) {
	log := h.opt.Log
	switch e := e.(type) {
	case rendezvous.Online:
		log.Info("camera online", "uid", e.UID.String(), "endpoint", e.Endpoint.String())
	case rendezvous.Offline:
		log.Info("camera offline", "uid", e.UID.String(), "cause", string(e.Cause))
	case rendezvous.Moved:
		log.Info("device moved", "uid", e.UID.String(), "from", e.From.String(), "to", e.To.String())
	case rendezvous.Introduced:
		log.Info("introduced", "camera", e.Camera.String(), "viewer", e.Viewer.String(), "relay", e.Relay)
	case rendezvous.Denied:
		log.Warn("device denied", "uid", e.UID.String(), "from", e.From.String(), "code", e.Code.String(), "told", e.Code.Sentence())
	case rendezvous.Duplicated:
		log.Error("two devices have one key: the one that was there first is served; one of them is a copy, and needs a key of its own",
			"uid", e.UID.String(), "holder", e.Holder.String(), "newcomer", e.Newcomer.String())
	}
}

// stored takes the database's events.
func (h *Handle) stored(e any) {
	log := h.opt.Log
	switch e := e.(type) {
	case store.Salvaged:
		log.Error("the database was damaged: what is whole in it was taken over; those of other devices register anew",
			"aside", e.Aside, "reason", e.Reason, "records", e.Records, "damaged", e.Damaged)
	case store.Failing:
		why := "the database cannot be written to: " + e.Err.Error()
		h.failing.Store(&why)
		log.Error("the database cannot be written to: what happens is kept in memory, and writing is tried again; make room on the disk",
			"error", e.Err, "pending", e.Pending)
	case store.Recovered:
		h.failing.Store(nil)
		log.Info("the database can be written to again", "written", e.Written, "dropped", e.Dropped)
	}
}
