package rendezvous

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// copyOf is another device with the same key.
func (d *device) copyOf() *device {
	c := *d
	c.addr = addr("198.51.100.99:9")
	return &c
}

// A copy does not displace a camera that answers, and is told why; a minute long it is not even asked.
func TestCopyIsSentAway(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	thief := c.copyOf()
	thief.join(register, 2) // gets its pong
	ping, _ := c.read().(*wire.Ping)
	if ping == nil {
		t.Fatal("the holder is not asked")
	}
	thief.send(&wire.Report{Sequence: 1, Class: random})
	if thief.take() != nil || r.dropped(errContest.Error()) != 1 {
		t.Errorf("the newcomer is served before the holder is asked: %v", r.s.Stats().Dropped)
	}
	c.send(&wire.Pong{Sequence: ping.Sequence})
	if m, _ := thief.read().(*wire.Goodbye); m == nil || m.Code != wire.CodeDuplicateKey {
		t.Errorf("the newcomer got %+v", m)
	}
	if e := all[Duplicated](r.said); len(e) != 1 || e[0] != (Duplicated{UID: c.key.Public().UID(), Holder: c.addr, Newcomer: thief.addr, At: r.now}) {
		t.Errorf("events %+v", e)
	}
	if m := thief.refused(register, 3); m == nil || m.Code != wire.CodeDuplicateKey || m.Retry != 60 {
		t.Errorf("again: %+v", m)
	}
	r.introduce(v, c, 7, false)
	c.join(register, 4) // where it is, it may renew its session
	if s := r.s.Stats(); len(all[Moved](r.said)) != 0 || s.Online != 1 || s.Duplicates != 2 {
		t.Errorf("moved %+v, %+v", all[Moved](r.said), s)
	}
	r.advance(25 * time.Second)
	c.send(&wire.Ping{Sequence: 3})
	r.advance(25 * time.Second)
	c.send(&wire.Ping{Sequence: 4})
	r.advance(15 * time.Second)
	r.out = nil
	thief.join(register, 5) // the minute is over: the holder is asked again
	r.advance(10 * time.Second)
	if m := all[Moved](r.said); len(m) != 1 || m[0].To != thief.addr {
		t.Errorf("a holder that is silent: %+v", m)
	}
}

// A holder that does not answer makes room after two pings; until then others go to it.
func TestSilentHolderMakesRoom(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.viewer()
	r.s.known(c.key.Public(), Camera).setTrip(80 * time.Millisecond)
	mover := c.copyOf()
	mover.join(register, 2)
	v.send(connect(7, c))
	if _, ok := c.read().(*wire.Ping); !ok {
		t.Error("the holder is not asked")
	}
	if _, ok := c.read().(*wire.Introduce); !ok {
		t.Error("the holder is not served while it is asked")
	}
	r.advance(holderPings*160*time.Millisecond - 1)
	pings := 0
	for m := c.read(); m != nil; m = c.read() {
		if _, ok := m.(*wire.Ping); ok {
			pings++
		}
	}
	if pings != 1 || len(all[Moved](r.said)) != 0 {
		t.Errorf("%d more pings, moved %+v", pings, all[Moved](r.said))
	}
	r.advance(1)
	if m := all[Moved](r.said); len(m) != 1 || m[0].To != mover.addr || len(all[Offline](r.said)) != 0 {
		t.Errorf("moved %+v", m)
	}
	r.advance(time.Second)
	if in, _ := mover.read().(*wire.Introduce); in == nil {
		t.Error("the introduction does not follow it")
	}
	mover.send(&wire.Report{Sequence: 1})
	for m := mover.read(); m != nil; m = mover.read() {
		if _, ok := m.(*wire.Reported); ok {
			return
		}
	}
	t.Error("it is not served")
}

// Any sign of life but the answer is no answer: it may have been on its way for long.
func TestOldWordsOfTheHolderAreNoAnswer(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	late := c.sealed(&wire.Ping{Sequence: 9})
	mover := c.copyOf()
	mover.join(register, 2)
	r.give(c.addr, late)
	r.advance(holderPings * holderRTO)
	if m := all[Moved](r.said); len(m) != 1 {
		t.Errorf("moved %+v", m)
	}
}

// Of a viewer the newest session counts: it may run twice.
func TestViewersMayMoveAtOnce(t *testing.T) {
	r := newRig(t, nil)
	v := r.viewer()
	other := v.copyOf()
	other.join(login, 2)
	if m := all[Moved](r.said); len(m) != 1 {
		t.Errorf("moved %+v", m)
	}
}

// A newcomer that goes before the holder was silent long enough leaves nothing behind.
func TestContestEnds(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	thief := c.copyOf()
	thief.join(register, 2)
	c.send(&wire.Goodbye{})
	r.advance(holderRTO)
	if r.s.Stats().Online != 1 || r.s.camera(c.key.Public().UID()).remote != thief.addr {
		t.Error("the holder has gone, and the newcomer is not served")
	}
	thief.send(&wire.Goodbye{})
	r.advance(time.Minute)
	if len(r.s.byIndex) != 0 || len(r.s.timers) != 0 || r.s.known(c.key.Public(), Camera).busy != nil {
		t.Errorf("left: %d sessions, %d timers", len(r.s.byIndex), len(r.s.timers))
	}
}

// Who copied a key cannot lock its device out by timestamps that nothing follows: what was never confirmed does not count, and
// from where the device is it may renew its session all the same.
func TestTimestampsOfACopyDoNotCount(t *testing.T) {
	const greatest = 1<<64 - 1
	book := notebook{}
	r := newRig(t, func(c *Config) { c.Store = book })
	c := r.camera()
	thief := c.copyOf()
	r.give(thief.addr, thief.initiation(register, greatest-1)) // and never confirms it
	r.discard(thief.addr)
	c.join(register, 2)
	thief.join(register, greatest)
	ping, _ := c.read().(*wire.Ping)
	if ping == nil {
		t.Fatal("the holder is not asked")
	}
	c.send(&wire.Pong{Sequence: ping.Sequence})
	if m, _ := thief.read().(*wire.Goodbye); m == nil || m.Code != wire.CodeDuplicateKey {
		t.Fatalf("the copy got %+v", m)
	}
	c.send(&wire.Goodbye{})
	if got := book[c.key.Public()].Stamp; got != 2 {
		t.Errorf("timestamp %d is kept, want 2", got)
	}
	c.addr = port(c.addr, 5001)
	c.join(register, 3)
	if s := r.s.Stats(); s.Online != 1 {
		t.Errorf("%+v", s)
	}
}

// The true camera may start anew, behind another port, in the minute after a copy was sent away.
func TestHolderMayStartAnewAfterADuel(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	thief := c.copyOf()
	thief.join(register, 2)
	ping, _ := c.read().(*wire.Ping)
	c.send(&wire.Pong{Sequence: ping.Sequence})
	c.addr = port(c.addr, 5001) // and the session is forgotten
	c.join(register, 3)
	r.advance(holderPings * holderRTO)
	if m := all[Moved](r.said); len(m) != 1 || m[0].To != c.addr {
		t.Errorf("moved %+v", m)
	}
}

// A holder whose round trip is not known well is not waited for longer than holderMost.
func TestContestDoesNotLast(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	r.s.known(c.key.Public(), Camera).setTrip(9 * time.Second)
	mover := c.copyOf()
	mover.join(register, 2)
	r.advance(holderPings * holderMost)
	if m := all[Moved](r.said); len(m) != 1 {
		t.Errorf("moved %+v", m)
	}
}
