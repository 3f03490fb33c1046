package uplink

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// watching is a link whose owner watches, and a rendezvous that answers as it is told to.
type watching struct {
	*pair
	mute     bool
	asked    []wire.Watch
	acks     []uint32
	sequence uint32
	news     []wire.Status
}

func uid(n int) identity.UID {
	var p identity.PublicKey
	binary.BigEndian.PutUint32(p[:], uint32(n+1))
	return p.UID()
}

func newWatching(t *testing.T) *watching {
	t.Helper()
	w := &watching{pair: newPair(t)}
	w.l.cfg.Presence = func(_ time.Time, cameras []wire.Status) { w.news = append(w.news, cameras...) }
	return w
}

func (w *watching) up() {
	w.t.Helper()
	w.must(w.l.Start(w.now))
	w.greet()
}

// greet answers the initiation that was just sent.
func (w *watching) greet() {
	w.t.Helper()
	for _, x := range w.accept(w.sent()[0].B, 40*time.Millisecond) {
		w.take(x.B)
	}
	w.flow()
}

// take is a datagram of the link.
func (w *watching) take(b []byte) {
	w.t.Helper()
	switch m := w.heard(b).(type) {
	case *wire.Ping:
		w.tell(first, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(me)})
	case *wire.Watch:
		w.asked = append(w.asked, *m)
		if w.mute {
			return
		}
		w.sequence++
		p := &wire.Presence{Sequence: w.sequence, Answers: m.Sequence}
		for _, u := range m.Cameras {
			if !m.End {
				p.Cameras = append(p.Cameras, wire.Status{UID: u})
			}
		}
		w.tell(first, p)
	case *wire.PresenceAck:
		w.acks = append(w.acks, m.Sequence)
	}
}

// flow has the rendezvous take what was sent, until nothing is.
func (w *watching) flow() {
	w.t.Helper()
	for ps := w.sent(); len(ps) > 0; ps = w.sent() {
		for _, x := range ps {
			w.take(x.B)
		}
	}
}

func (w *watching) live(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for at := w.l.Deadline(); !at.After(end); at = w.l.Deadline() {
		w.now = at
		w.l.HandleTimeout(at)
		w.flow()
	}
	w.now = end
}

// What is watched is asked as soon as there is a session, in questions whose answers fit, repeated until answered; each status reaches
// the owner once, and each presence is acknowledged, copies too.
func TestWatch(t *testing.T) {
	w := newWatching(t)
	for i := range 30 {
		w.l.Watch(w.now, uid(i), uid(0))
	}
	w.mute = true
	w.up()
	w.live(5 * time.Second)
	n := len(w.asked)
	if n < 4 || n > 8 || w.asked[n-1].Sequence != 1 || len(w.asked[0].Cameras) != wire.MaxStatuses {
		t.Fatalf("asked %d times", n)
	}
	w.l.HandleTimeout(w.now)
	if w.flow(); len(w.asked) != n {
		t.Error("asked before its time")
	}
	w.mute, w.asked = false, nil
	w.live(10 * time.Second)
	if len(w.asked) != 2 || w.asked[1].Sequence != 2 || len(w.asked[1].Cameras) != 6 || len(w.news) != 30 {
		t.Fatalf("asked %+v, heard of %d", w.asked, len(w.news))
	}
	w.live(time.Minute)
	w.l.Watch(w.now, uid(3))
	w.flow()
	if len(w.asked) != 2 || fmt.Sprint(w.acks) != "[1 2]" {
		t.Errorf("asked %d times, acknowledged %v", len(w.asked), w.acks)
	}
	w.news = nil
	change := &wire.Presence{Sequence: 9, Cameras: []wire.Status{{UID: uid(1), State: wire.StateOnline, Age: 3}, {UID: uid(99), State: wire.StateOnline}}}
	for range 2 {
		w.tell(first, change)
		w.flow()
	}
	w.tell(first, &wire.Presence{Sequence: 8, Cameras: []wire.Status{{UID: uid(1), State: wire.StateSilent}, {UID: uid(2), State: wire.StateLeft, Age: 7}}})
	w.flow()
	want := []wire.Status{change.Cameras[0], {UID: uid(2), State: wire.StateLeft, Age: 7}}
	if fmt.Sprint(w.news) != fmt.Sprint(want) || fmt.Sprint(w.acks) != "[1 2 9 9 8]" {
		t.Errorf("heard %v, want %v; acknowledged %v", w.news, want, w.acks)
	}
}

// The end of watching is told until it is acknowledged, and nothing more is heard of the camera.
func TestUnwatch(t *testing.T) {
	w := newWatching(t)
	w.up()
	w.l.Watch(w.now, uid(1), uid(2))
	w.flow()
	w.mute, w.news = true, nil
	w.l.Unwatch(w.now, uid(1), uid(7))
	w.flow()
	w.tell(first, &wire.Presence{Sequence: 5, Cameras: []wire.Status{{UID: uid(1), State: wire.StateOnline}}})
	w.live(time.Second)
	n := len(w.asked)
	if last := w.asked[n-1]; n < 3 || !last.End || len(last.Cameras) != 1 || last.Cameras[0] != uid(1) || len(w.news) != 0 {
		t.Fatalf("asked %+v, heard %v", w.asked, w.news)
	}
	w.l.Watch(w.now, uid(1)) // before the end was acknowledged: it is asked for behind it
	w.mute = false
	w.live(10 * time.Second)
	if last := w.asked[len(w.asked)-1]; last.End || last.Sequence != 3 || len(last.Cameras) != 1 || len(w.news) != 1 {
		t.Errorf("then asked %+v, heard %v", last, w.news)
	}
	n = len(w.asked)
	if w.live(time.Minute); len(w.asked) != n {
		t.Errorf("%d more questions", len(w.asked)-n)
	}
}

// What is watched again before its end was told is not ended, in this session or, where the end was under way, in the next.
func TestWatchAgain(t *testing.T) {
	w := newWatching(t)
	w.up()
	w.l.Watch(w.now, uid(1), uid(2))
	w.flow()
	w.mute, w.asked = true, nil
	w.l.Unwatch(w.now, uid(1))
	w.l.Unwatch(w.now, uid(2)) // behind the question that is open
	w.l.Watch(w.now, uid(2))
	w.mute = false
	w.live(5 * time.Second)
	for _, m := range w.asked {
		if m.End && m.Cameras[0] != uid(1) {
			t.Errorf("asked %+v", m)
		}
	}
	w.mute = true
	w.l.Unwatch(w.now, uid(2))
	w.flow()
	w.l.Watch(w.now, uid(2))
	w.tell(first, &wire.Goodbye{})
	w.mute, w.asked, w.sequence = false, nil, 0
	w.greet()
	if w.live(time.Minute); len(w.asked) != 1 || w.asked[0].End || w.asked[0].Cameras[0] != uid(2) {
		t.Errorf("in the next session asked %+v", w.asked)
	}
}

// Each session begins with everything that is watched, from number 1, and with what is not any more.
func TestWatchInTheNextSession(t *testing.T) {
	w := newWatching(t)
	w.up()
	w.l.Watch(w.now, uid(1), uid(2))
	w.flow()
	w.mute = true
	w.l.Unwatch(w.now, uid(1))
	w.flow()
	w.tell(first, &wire.Presence{Sequence: 40, Cameras: []wire.Status{{UID: uid(2), State: wire.StateOnline}}})
	w.flow()
	w.tell(first, &wire.Goodbye{})
	w.l.Watch(w.now, uid(3)) // without a session it waits
	w.mute, w.asked, w.news, w.sequence = false, nil, nil, 0
	w.greet()
	if len(w.asked) != 2 || w.asked[0].Sequence != 1 || len(w.asked[0].Cameras) != 2 || !w.asked[1].End || w.asked[1].Cameras[0] != uid(1) ||
		len(w.news) != 2 {
		t.Errorf("asked %+v, heard %v", w.asked, w.news)
	}
}
