package camera

import (
	"errors"
	"net/netip"
	"time"

	"github.com/pion/rtcp"
	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/source"
	"github.com/punchlab/punchlab/impl/wire"
)

// observe is given the core's events, on the goroutine that drives it.
func (h *Handle) observe(l *life, e any) {
	h.log(e)
	switch e := e.(type) {
	case camera.Registered:
		l.lost.Store(0)
		select {
		case l.seen <- e.Reflexive.Addr():
		default:
		}
	case camera.Unregistered:
		l.lost.Store(e.At.UnixNano())
	case camera.Denied:
		l.denied.Store(e.At.UnixNano())
	}
	if h.opt.Observe != nil {
		h.opt.Observe(e)
	}
}

// log writes an event of the core as one structured line.
func (h *Handle) log(e any) {
	log := h.opt.Log
	switch e := e.(type) {
	case camera.Registered:
		log.Info("registered", "reflexive", e.Reflexive.String())
	case camera.Unregistered:
		log.Warn("the session with the rendezvous has ended: trying again")
	case camera.Denied:
		if e.Code == wire.CodeShuttingDown || e.Code == wire.CodeOverloaded {
			log.Warn("the rendezvous asks to come later", "reason", e.Code.Sentence(), "retry", e.Retry.String())
			break
		}
		log.Error("the rendezvous does not serve this camera", "code", e.Code.String(), "reason", e.Code.Sentence(), "retry", e.Retry.String())
	case camera.Classified:
		log.Info("classified", "class", e.Class)
	case camera.Ready:
		log.Info("ready")
	case camera.ViewerAccepted:
		log.Info("viewer", "uid", e.Viewer.String(), "role", e.Role.String(), "lan", e.LAN, "policy", e.Policy)
	case camera.ViewerRefused:
		log.Warn("viewer refused", "uid", e.Viewer.String(), "code", e.Code.String(), "reason", e.Code.Sentence())
	case camera.StreamStarted:
		log.Info("stream started", "viewer", e.Viewer.String())
	case camera.StreamStopped:
		log.Info("stream stopped", "viewer", e.Viewer.String(), "code", e.Code.String(), "frames", e.Frames)
	case camera.PathChanged:
		log.Info("path changed", "viewer", e.Viewer.String(), "from", pathText(e.From), "to", pathText(e.To))
	case camera.QualityChanged:
		log.Info("quality changed", "viewer", e.Viewer.String(), "quality", e.Quality.String(), "target", e.Target)
	case camera.PairingsChanged:
		log.Info("pairings changed", "change", e.Change.String(), "by", e.By.String(), "viewer", e.Viewer.String())
	}
}

// pathText is a path as people read it.
func pathText(p punch.Path) string {
	if p.Route == punch.Relay {
		return "relay"
	}
	return "direct " + p.Addr.String()
}

// observeSource is given the source's events.
func (h *Handle) observeSource(e source.Event) {
	log := h.opt.Log
	switch e := e.(type) {
	case source.Started:
		log.Info("video", "input", e.Input.String(), "copied", e.Copy, "took", e.Took.String())
	case source.Failed:
		if e.Retry == 0 {
			log.Warn("no more video", "input", e.Input.String(), "error", e.Err.Error())
			break
		}
		log.Error("no video", "input", e.Input.String(), "error", e.Err.Error(), "retry", e.Retry.String())
	case source.Switched:
		log.Info("bit rate", "from", e.From, "to", e.To)
	case source.Stopped:
		log.Info("nobody watches: video ended", "input", e.Input.String())
	}
	if h.opt.Observe != nil {
		h.opt.Observe(e)
	}
}

// keep stores the pairings before the core relies on them.
func (h *Handle) keep(book []byte) error {
	err := h.state.savePairings(book)
	if err != nil {
		h.opt.Log.Error("pairings are as they were: free some room on the disk, or make the camera's folder writable", "error", err.Error())
	}
	return err
}

// tellSilence says that the rendezvous does not answer, once for each silence.
func (h *Handle) tellSilence() {
	told := int64(0)
	for pause(h.ctx, silentWhen) {
		l := h.life.Load()
		since := l.lost.Load()
		if since == 0 || since == told || l.denied.Load() >= since || time.Since(time.Unix(0, since)) < silentWhen {
			continue
		}
		told = since
		h.opt.Log.Error("no answer from the rendezvous: is there a network, does it let this camera out, and does the rendezvous run? Trying again",
			"addresses", h.known())
	}
}

// elsewhere looks the rendezvous' name up again when it has been silent for long, and goes where it leads now. Streams that run are not
// ended for it.
func (h *Handle) elsewhere() {
	for pause(h.ctx, h.opt.elsewhere) {
		l := h.life.Load()
		since := l.lost.Load()
		if since == 0 || time.Since(time.Unix(0, since)) < h.opt.elsewhere || h.busy() {
			continue
		}
		addrs, err := h.lookUp(h.ctx)
		if err != nil || sameAddrs(addrs, h.known()) {
			continue
		}
		h.opt.Log.Info("the rendezvous has other addresses now", "addresses", addrs)
		h.move(l, addrs)
	}
}

func (h *Handle) busy() (busy bool) {
	h.do(func(_ time.Time, core *camera.Camera) { busy = core.Stats().Viewers > 0 })
	return busy
}

// move begins another life.
func (h *Handle) move(from *life, addrs []netip.AddrPort) {
	err := from.close() // its port may be asked for again
	l, openErr := h.open(addrs)
	if err = errors.Join(err, openErr); openErr != nil {
		h.opt.Log.Error("cannot start again", "error", err.Error())
		return // tried again: the old one stays lost
	}
	h.life.Store(l)
	h.do(func(now time.Time, core *camera.Camera) { core.HandlePrivacy(now, h.Private()) }) // it may have been switched meanwhile
	h.remember(addrs)
}

// unknown is an estimator that knows nothing.
type unknown struct{}

func (unknown) Sent(time.Time, uint16, int)                {}
func (unknown) Feedback(time.Time, *rtcp.TransportLayerCC) {}
func (unknown) Lost(time.Time, float64)                    {}
func (unknown) Target() int                                { return 0 }
func (unknown) Close()                                     {}
