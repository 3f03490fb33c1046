package rendezvous

import (
	"container/list"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	tiesOfViewer    = 64
	tiesOfCamera    = 256
	tieLife         = 24 * time.Hour // without being used: a session is no older
	tellPerSecond   = 2              // that one party of a tie is told where the other is, with bursts of tellBurst
	tellBurst       = 10
	samplePerSecond = 20 // of one tie, with bursts of sampleBurst
	sampleBurst     = 64
)

// tie is what the server remembers of a connection: who may ask about whom. It begins with the introduction, lives on when
// that is forgotten, and ends when
//
//	the introduction fails            the same two are introduced anew
//	a party says that it is over      it is not used for 24 h, or is the longest unused of too many
//	a party is forgotten
//
// A path that died, or could be bettered, is looked for anew by it:
//
//	Again ──► Located to both, each again until LocatedAck; with a relay, if one was wanted
//	endpoint moved ──► Located to the other party
//	Sample ──► Sampled to the other party
type tie struct {
	sides   [2]side // the viewer's, the camera's
	relay   *relay  // nil: none
	place   *list.Element
	timer   timer
	used    time.Time
	acked   bool // the camera took the introduction
	samples bucket
}

// side is one party's end of a tie.
type side struct {
	tie      *tie
	client   *client
	id       uint64         // the party's
	told     netip.AddrPort // the other's endpoint as this party was told last
	sequence uint32         // of the last Located to this party
	begun    time.Time      // when that was first sent
	gap      time.Duration
	timer    timer
	budget   bucket // of Located
	samples  uint32 // from this party
}

func (d *side) other() *side {
	if d == &d.tie.sides[0] {
		return &d.tie.sides[1]
	}
	return &d.tie.sides[0]
}

// channel is the party's of the tie's relay; 0: there is none.
func (d *side) channel() uint16 {
	switch r := d.tie.relay; {
	case r == nil:
		return 0
	case d == &d.tie.sides[0]:
		return r.ends[0].channel
	default:
		return r.ends[1].channel
	}
}

// names is the tie as another node understands it.
func (t *tie) names() Tie {
	v, c := &t.sides[0], &t.sides[1]
	return Tie{Viewer: v.client.key, Camera: c.client.key, ViewerID: v.id, CameraID: c.id}
}

// newTie ties a viewer to a camera by the ids that they know their connection by.
func (s *Server) newTie(now time.Time, v, c *client, viewerID, cameraID uint64) *tie {
	t := &tie{}
	t.sides = [2]side{{tie: t, client: v, id: viewerID}, {tie: t, client: c, id: cameraID}}
	for i := range t.sides {
		d := &t.sides[i]
		d.timer.due = func(now time.Time) { s.relocate(now, d) }
	}
	t.timer.due = func(now time.Time) { s.expire(now, t) }
	s.keep(now, t)
	return t
}

// keep remembers a tie and makes room for it.
func (s *Server) keep(now time.Time, t *tie) {
	for i, most := range []int{tiesOfViewer, tiesOfCamera} {
		for c := t.sides[i].client; len(c.ties()) >= most; {
			s.untie(c.leastTie())
		}
	}
	for s.ties.Len() >= s.cfg.MaxTies && s.ties.Len() > 0 {
		s.untie(s.ties.Front().Value.(*tie))
	}
	for i := range t.sides {
		d := &t.sides[i]
		d.client.affairs().ties = append(d.client.busy.ties, d)
	}
	t.used = now
	s.timers.set(&t.timer, now.Add(tieLife))
	t.place = s.ties.PushBack(t)
}

// leastTie is the one that makes room: the longest unused one whose introduction the camera has not taken, so that requests
// alone push nobody's connection out; else the longest unused one.
func (c *client) leastTie() *tie {
	for _, d := range c.ties() {
		if !d.tie.acked {
			return d.tie
		}
	}
	return c.ties()[0].tie
}

// find is the side of a tie that a party knows by an id, which counts as used.
func (s *Server) find(now time.Time, c *client, id uint64) *side {
	at := slices.IndexFunc(c.ties(), func(d *side) bool { return d.id == id })
	if at < 0 {
		return nil
	}
	d := c.ties()[at]
	d.tie.used = now
	s.ties.MoveToBack(d.tie.place)
	for i := range d.tie.sides {
		e := &d.tie.sides[i]
		a := e.client.affairs()
		at := slices.Index(a.ties, e)
		a.ties = append(slices.Delete(a.ties, at, at+1), e)
	}
	return d
}

// expire is the tie's timer.
func (s *Server) expire(now time.Time, t *tie) {
	if due := t.used.Add(tieLife); now.Before(due) {
		s.timers.set(&t.timer, due)
		return
	}
	s.untie(t)
}

// untie forgets a connection. Its relay lives on, until it is idle.
func (s *Server) untie(t *tie) {
	if t.place == nil {
		return
	}
	if s.cfg.Others != nil && t.acked {
		s.box.Emit(Untied{Tie: t.names()})
	}
	s.ties.Remove(t.place)
	t.place = nil
	s.timers.set(&t.timer, time.Time{})
	for i := range t.sides {
		d := &t.sides[i]
		s.timers.set(&d.timer, time.Time{})
		a := d.client.affairs()
		at := slices.Index(a.ties, d)
		a.ties = slices.Delete(a.ties, at, at+1)
		d.client.settle()
	}
}

// supersede ends the older ties between the same two: a newer connection of a viewer's to a camera ends the older one.
func (s *Server) supersede(t *tie) {
	v, c := t.sides[0].client, t.sides[1].client
	for _, d := range slices.Clone(v.ties()) {
		if d.tie != t && d.tie.sides[1].client == c && d.tie.acked {
			s.untie(d.tie)
		}
	}
}

// sample passes on where a device's mapping lies that it has just made. From another address than the device's it would
// have the other party punch somebody who has no part in this.
func (s *Server) sample(now time.Time, c *client, from netip.AddrPort, m *wire.Sample) error {
	if _, home := core.ProtoOf(c.endpoint()); from.Addr() != home.Addr() { // a stream's address is none of these
		return errSample
	}
	d := s.find(now, c, m.ID)
	if d == nil && s.ask(now, c, from, m) {
		return nil
	}
	if d == nil {
		return errTie
	}
	if !d.tie.samples.take(now, samplePerSecond, sampleBurst, 1) {
		return errRate
	}
	other := d.other()
	if !other.client.online() {
		return errNotReady
	}
	d.samples++
	s.stats.Samples++
	s.tell(other.client, core.Signal, &wire.Sampled{ID: other.id, Endpoint: wire.At(from), Count: d.samples})
	return nil
}

// again tells both parties where the other is.
func (s *Server) again(now time.Time, c *client, from netip.AddrPort, m *wire.Again) {
	d := s.find(now, c, m.ID)
	if (d == nil || !d.other().client.online()) && s.ask(now, c, from, m) {
		return
	}
	if d == nil || !d.other().client.online() {
		s.refuse(c, m.ID, wire.CodeUnavailable)
		return
	}
	if m.Relay {
		s.openRelay(now, d.tie)
	}
	s.locate(now, d.other())
	s.locate(now, d)
}

// moved tells the other parties of a device's ties where it is now, the latest used first, and the device what it has
// missed.
func (s *Server) moved(now time.Time, c *client) {
	for _, d := range slices.Backward(c.ties()) {
		for _, e := range []*side{d.other(), d} {
			if at := e.other().client.endpoint(); at.IsValid() && e.told != at {
				s.locate(now, e)
			}
		}
	}
}

// locate tells a party where the other one is, until it acknowledges. Where it was told too often of late, whatever the other
// one does, it is told later. A camera that has not acknowledged the introduction may not know of the connection yet: what
// is repeated until then is Introduce, which says as much.
func (s *Server) locate(now time.Time, d *side) {
	if !d.client.online() || d == &d.tie.sides[1] && !d.tie.acked {
		return
	}
	d.sequence++
	d.begun, d.gap = now, min(max(2*d.client.trip(), minRTO), lastGap)
	if !d.budget.take(now, tellPerSecond, tellBurst, 1) {
		s.timers.set(&d.timer, now.Add(time.Second/tellPerSecond))
		return
	}
	s.relocate(now, d)
}

// relocate sends Located and arms the repetition. It is the side's timer.
func (s *Server) relocate(now time.Time, d *side) {
	other := d.other().client
	if !d.client.online() || !other.online() || now.Sub(d.begun) >= introGiveUp {
		d.told = netip.AddrPort{} // as far as is known
		s.timers.set(&d.timer, time.Time{})
		return
	}
	d.told = other.endpoint()
	s.tell(d.client, core.Signal, &wire.Located{ID: d.id, Sequence: d.sequence, Endpoint: wire.At(d.told),
		Channel: d.channel(), Class: other.class, Candidates: unpack(other.candidates)})
	s.timers.set(&d.timer, now.Add(d.gap))
	d.gap = min(2*d.gap, lastGap)
}

// located ends the repetition, and the tie if the party says that the connection is over.
func (s *Server) located(now time.Time, c *client, from netip.AddrPort, m *wire.LocatedAck) error {
	at := slices.IndexFunc(c.ties(), func(d *side) bool { return d.id == m.ID })
	if at < 0 && s.ask(now, c, from, m) {
		return nil
	}
	if at < 0 {
		return errTie
	}
	d := c.ties()[at]
	if m.Sequence != d.sequence {
		return nil // of an older one
	}
	s.timers.set(&d.timer, time.Time{})
	if m.Code != 0 {
		s.untie(d.tie)
	}
	return nil
}
