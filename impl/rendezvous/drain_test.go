package rendezvous

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// A server that ends sends its devices away one after the other, takes no others, and relays on until nobody does.
func TestDrain(t *testing.T) {
	r := newRig(t, nil)
	p := r.pair(true)
	var more []*device
	for range 150 {
		more = append(more, r.camera())
	}
	r.out = nil
	began := r.now
	r.s.Drain(r.now)
	r.drain()
	for range 20 {
		r.advance(drainEvery)
		if gone := 152 - r.online(); r.now.Sub(began) < drainTime/2 && gone > 76 {
			t.Fatalf("%d of 152 gone after %v", gone, r.now.Sub(began))
		}
	}
	r.advance(drainTime)
	for _, d := range append(more, p.v, p.c) {
		if m, _ := d.read().(*wire.Goodbye); m == nil || m.Code != wire.CodeShuttingDown {
			t.Fatalf("%v got %+v", d.addr, m)
		}
	}
	if m := r.device().refused(register, 1); m == nil || m.Code != wire.CodeShuttingDown || m.Retry == 0 {
		t.Errorf("a newcomer got %+v", m)
	}
	for range 10 {
		r.give(p.v.addr, frame(t, wire.MinChannel, 100))
		r.advance(drainIdle - time.Second)
		if p.c.take() == nil || r.s.Drained() {
			t.Fatalf("the relay has ended: %v", r.s.Stats().Dropped)
		}
	}
	r.advance(drainIdle)
	if !r.s.Drained() || r.s.Stats().Relays != 0 || r.online() != 0 {
		t.Errorf("%d relays, %d online", r.s.Stats().Relays, r.online())
	}
	r.s.Drain(r.now)
	if !r.s.Drained() {
		t.Error("drains again")
	}
}

func (r *rig) online() int { return r.s.queues[queueQuiet].n + r.s.queues[queueAsked].n }

func TestDrainOfNobody(t *testing.T) {
	r := newRig(t, nil)
	if r.s.Drained() {
		t.Error("drained before it began")
	}
	r.s.Drain(r.now)
	if !r.s.Drained() {
		t.Error("not drained")
	}
}
