package uplink

import (
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// watched is a camera whose presence the owner wants to know.
type watched struct {
	uid      identity.UID
	asked    bool   // the rendezvous has answered for it in this session
	sequence uint32 // of the last presence with news of it
}

// watch is what the owner wants to know of cameras, and how far the rendezvous has heard it. One question is open at a time.
type watch struct {
	cameras  []watched
	ended    []identity.UID // the rendezvous is to be told that they are no longer watched
	sequence uint32         // of the last question in this session
	open     *wire.Watch
	tries    int
	next     time.Time // zero: nothing is open
}

// Watch has the rendezvous tell whether cameras are online, now and at each change, in this session and those after it,
// until Unwatch. What is watched already stays so.
func (l *Link) Watch(now time.Time, cameras ...identity.UID) {
	w := &l.watch
	for _, u := range cameras {
		w.ended = slices.DeleteFunc(w.ended, func(x identity.UID) bool { return x == u })
		if w.find(u) == nil {
			w.cameras = append(w.cameras, watched{uid: u})
		}
	}
	l.askWatch(now)
}

// Unwatch ends it for some cameras. Nothing more is told of them.
func (l *Link) Unwatch(now time.Time, cameras ...identity.UID) {
	w := &l.watch
	for _, u := range cameras {
		if w.find(u) != nil {
			w.cameras = slices.DeleteFunc(w.cameras, func(x watched) bool { return x.uid == u })
			w.ended = append(w.ended, u)
		}
	}
	l.askWatch(now)
}

func (w *watch) find(u identity.UID) *watched {
	for i := range w.cameras {
		if w.cameras[i].uid == u {
			return &w.cameras[i]
		}
	}
	return nil
}

// question is what the rendezvous is to be told next: of no more cameras than one answer has room for. nil: nothing.
func (w *watch) question() *wire.Watch {
	m := &wire.Watch{Sequence: w.sequence + 1}
	for i := range w.cameras {
		if c := &w.cameras[i]; !c.asked && len(m.Cameras) < wire.MaxStatuses {
			m.Cameras = append(m.Cameras, c.uid)
		}
	}
	if len(m.Cameras) == 0 && len(w.ended) > 0 {
		n := min(len(w.ended), wire.MaxWatched)
		m.Cameras, w.ended, m.End = slices.Clone(w.ended[:n]), w.ended[n:], true
	}
	if len(m.Cameras) == 0 {
		return nil
	}
	w.sequence++
	return m
}

// askWatch asks what has not been asked yet, unless a question is open.
func (l *Link) askWatch(now time.Time) {
	w := &l.watch
	if l.sess == nil || w.open != nil {
		return
	}
	if w.open = w.question(); w.open != nil {
		w.tries, w.next = 0, now
		l.repeatWatch(now)
	}
}

// repeatWatch sends an open question that is due.
func (l *Link) repeatWatch(now time.Time) {
	w := &l.watch
	if !core.Due(now, w.next) {
		return
	}
	l.Send(core.Signal, w.open)
	gap := min(l.RTO()<<min(w.tries, 10), lastRetry)
	w.tries++
	w.next = now.Add(gap + l.jitter(gap/4))
}

// forget takes back what was heard: the session is over.
func (w *watch) forget() {
	if w.open != nil && w.open.End {
		for _, u := range w.open.Cameras {
			if w.find(u) == nil {
				w.ended = append(w.ended, u)
			}
		}
	}
	w.open, w.sequence, w.next = nil, 0, time.Time{}
	for i := range w.cameras {
		w.cameras[i].asked, w.cameras[i].sequence = false, 0
	}
}

// restartWatch asks for everything again in a new session.
func (l *Link) restartWatch(now time.Time) {
	l.watch.forget()
	l.askWatch(now)
}

// presence acknowledges news and tells the owner those that are news to him: a late copy may have been overtaken by newer ones.
func (l *Link) presence(now time.Time, m *wire.Presence) {
	l.Send(core.Signal, &wire.PresenceAck{Sequence: m.Sequence})
	w := &l.watch
	var news []wire.Status
	for _, s := range m.Cameras {
		if c := w.find(s.UID); c != nil && m.Sequence > c.sequence {
			c.sequence = m.Sequence
			news = append(news, s)
		}
	}
	if w.open != nil && m.Answers == w.open.Sequence {
		if !w.open.End {
			for _, u := range w.open.Cameras {
				if c := w.find(u); c != nil {
					c.asked = true
				}
			}
		}
		w.open, w.next = nil, time.Time{}
		l.askWatch(now)
	}
	if len(news) > 0 && l.cfg.Presence != nil {
		l.cfg.Presence(now, news)
	}
}
