package rendezvous

import (
	"encoding/binary"
	"hash/fnv"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	minRTO       = 50 * time.Millisecond
	lastGap      = time.Second      // between repetitions of Introduce
	introGiveUp  = 5 * time.Second  // without the camera's acknowledgement
	introMemory  = 30 * time.Second // an acknowledged one is remembered, to answer a repeated Connect
	connectBurst = 10               // times Config.ConnectsPerSecond

	unknownPerSecond = 1 // connects of a viewer to cameras that are not online, with bursts of unknownBurst
	unknownBurst     = 30
	unknownOfSource  = 10 // of one source in the long run, however many viewers it is
)

// intro is a viewer's request to a camera.
type intro struct {
	id, viewerID   uint64
	viewer, camera *client
	noise1         []byte
	tie            *tie
	started        time.Time
	gap            time.Duration
	acked          bool
	timer          timer
}

// connect answers a viewer. Whether the camera exists or is merely offline shows neither in the answer nor in its time.
func (s *Server) connect(now time.Time, v *client, from netip.AddrPort, m *wire.Connect) {
	a := v.affairs()
	if in := a.intros[m.ID]; in != nil { // a repetition: its answer was lost, or is late
		s.sendPeer(in)
		return
	}
	cam := s.camera(m.Camera)
	code := wire.Code(0)
	switch {
	case a.proxy == nil && !a.connects.take(now, s.cfg.ConnectsPerSecond, connectBurst*s.cfg.ConnectsPerSecond, 1):
		code = wire.CodeRateLimited
	case cam == nil && !s.mayMiss(now, v):
		code = wire.CodeRateLimited
	case cam == nil && s.ask(now, v, from, m):
		return
	case cam == nil:
		code = wire.CodeUnavailable
	case len(s.intros) >= s.cfg.MaxIntroductions:
		code = wire.CodeRateLimited
	}
	if code != 0 {
		s.refuse(v, m.ID, code)
		return
	}
	id := s.newID()
	if id == 0 {
		s.refuse(v, m.ID, wire.CodeInternal)
		return
	}
	in := &intro{id: id, viewerID: m.ID, viewer: v, camera: cam, noise1: m.Noise1, started: now}
	in.timer.due = func(now time.Time) { s.reintroduce(now, in) }
	in.tie = s.newTie(now, v, cam, m.ID, id)
	if m.Relay {
		s.openRelay(now, in.tie)
	}
	if a.intros == nil {
		a.intros = map[uint64]*intro{}
	}
	a.intros[m.ID] = in
	s.intros[id] = in
	cam.affairs().asked = append(cam.busy.asked, in)
	s.stats.Introductions++
	in.gap = min(max(2*cam.trip(), minRTO), lastGap)
	s.introduce(now, in) // first: the first flight waits for it
	s.sendPeer(in)
}

// ask hands a message about what is not known here to the other nodes, if there are any. What comes from another node goes to
// no third one.
func (s *Server) ask(now time.Time, c *client, from netip.AddrPort, m wire.Message) bool {
	return s.cfg.Others != nil && c.proxy() == nil && s.cfg.Others.Ask(now, c.key, c.role, from, m)
}

// newID draws the id of an introduction; 0 where there is no randomness left.
func (s *Server) newID() uint64 {
	for {
		if id := s.random(); s.intros[id] == nil {
			return id
		}
	}
}

// random draws a number; 0 where there is no randomness left, which is dropped and counted.
func (s *Server) random() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		s.stats.Dropped.Count(err)
		return 0
	}
	return max(1, binary.LittleEndian.Uint64(b[:]))
}

func (s *Server) refuse(v *client, id uint64, code wire.Code) {
	s.stats.Refused++
	s.tell(v, core.Signal, &wire.Refused{ID: id, Code: code})
}

func (s *Server) sendPeer(in *intro) {
	v, c := in.viewer, in.camera
	if !v.online() || !c.online() {
		return
	}
	d := &in.tie.sides[0]
	d.told = c.endpoint()
	s.tell(v, core.Signal, &wire.Peer{ID: in.viewerID, Endpoint: wire.At(d.told), Channel: d.channel(), Class: c.class,
		Candidates: unpack(c.candidates)})
}

// introduce sends Introduce and arms the repetition.
func (s *Server) introduce(now time.Time, in *intro) {
	v, c := in.viewer, in.camera
	if !v.online() || !c.online() {
		s.end(in)
		return
	}
	d := &in.tie.sides[1]
	d.told = v.endpoint()
	s.tell(c, core.Signal, &wire.Introduce{ID: in.id, Endpoint: wire.At(d.told), Noise1: in.noise1, Channel: d.channel()})
	s.timers.set(&in.timer, now.Add(in.gap))
	in.gap = min(2*in.gap, lastGap)
}

// reintroduce is the introduction's timer.
func (s *Server) reintroduce(now time.Time, in *intro) {
	switch {
	case in.acked:
		s.end(in)
	case now.Sub(in.started) >= introGiveUp:
		if r := in.tie.relay; r != nil && r.last.Equal(in.started) { // not in use
			s.closeRelay(r)
		}
		s.refuse(in.viewer, in.viewerID, wire.CodeUnavailable)
		s.end(in)
	default:
		s.introduce(now, in)
	}
}

// acknowledged ends the repetition.
func (s *Server) acknowledged(now time.Time, c *client, m *wire.IntroduceAck) error {
	in := s.intros[m.ID]
	if in == nil || in.camera != c {
		return errIntro
	}
	if in.acked {
		return nil
	}
	in.acked = true
	s.timers.set(&in.timer, now.Add(introMemory))
	if m.Code != 0 {
		if in.tie.relay != nil {
			s.closeRelay(in.tie.relay)
		}
		s.refuse(in.viewer, in.viewerID, m.Code)
		s.end(in)
		return nil
	}
	s.box.Emit(Introduced{Camera: c.uid(), Viewer: in.viewer.uid(), Relay: in.tie.relay != nil, At: now})
	s.supersede(in.tie)
	in.tie.acked = true
	if s.cfg.Others != nil {
		s.box.Emit(Tied{Tie: in.tie.names(), At: now})
	}
	if in.tie.place == nil { // others' requests have pushed it out
		s.keep(now, in.tie)
	}
	if d := &in.tie.sides[1]; in.viewer.online() && d.told != in.viewer.endpoint() {
		s.locate(now, d) // it has moved since the last Introduce
	}
	return nil
}

// end forgets an introduction. Its relay lives on, until it is idle; its tie does where the camera took the introduction.
func (s *Server) end(in *intro) {
	if !in.tie.acked {
		s.untie(in.tie)
	}
	s.timers.set(&in.timer, time.Time{})
	delete(s.intros, in.id)
	delete(in.viewer.affairs().intros, in.viewerID)
	a := in.camera.affairs()
	at := slices.Index(a.asked, in)
	a.asked = slices.Delete(a.asked, at, at+1)
	in.viewer.settle()
	in.camera.settle()
}

// endIntros forgets the introductions that a device is part of.
func (s *Server) endIntros(c *client) {
	for c.busy != nil && len(c.busy.asked) > 0 {
		s.end(c.busy.asked[0])
	}
	if c.busy == nil {
		return
	}
	for _, in := range c.busy.intros {
		s.end(in)
	}
}

// mayMiss counts a viewer's question for a camera that is not online: whoever guesses names has few guesses, however many keys he
// has, and leaves room for those of others.
func (s *Server) mayMiss(now time.Time, v *client) bool {
	a, all := v.affairs(), float64(s.cfg.UnknownPerSecond)
	share := max(1, all/sourceShare)
	return a.proxy != nil || a.unknown.take(now, unknownPerSecond, unknownBurst, 1) &&
		s.misses.of(v.remote).take(now, min(share, unknownOfSource), share, 1) && s.unknown.take(now, all, all, 1)
}

// shares are buckets of sources: so many that few sources share one, whose seed keeps them from choosing with whom.
type shares struct {
	seed    [8]byte
	buckets [1024]bucket
}

func (h *shares) of(from netip.AddrPort) *bucket {
	f := fnv.New64a()
	address := source(from).Addr().As16()
	_, _ = f.Write(append(h.seed[:], address[:]...)) // never fails
	return &h.buckets[f.Sum64()%uint64(len(h.buckets))]
}
