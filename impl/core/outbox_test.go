package core

import (
	"net/netip"
	"testing"
)

func TestReadyReturnsEachOutputOnce(t *testing.T) {
	var o Outbox
	o.Begin()
	o.Send(netip.AddrPort{}, netip.AddrPort{}, Punch, []byte("x"))
	o.Emit("event")
	if out := o.Ready(); len(out.Packets) != 1 || len(out.Events) != 1 {
		t.Fatalf("first Ready returned %d packets and %d events, want 1 and 1", len(out.Packets), len(out.Events))
	}
	// A driver that only looked at the core's statistics asks again: nothing may be sent or told twice.
	if out := o.Ready(); len(out.Packets) != 0 || len(out.Events) != 0 {
		t.Fatalf("second Ready returned %d packets and %d events, want none", len(out.Packets), len(out.Events))
	}
	o.Begin()
	o.Emit("next")
	if out := o.Ready(); len(out.Events) != 1 {
		t.Fatalf("after the next call Ready returned %d events, want 1", len(out.Events))
	}
}

func TestSocketsAreAskedForOnce(t *testing.T) {
	var o Outbox
	a := netip.MustParseAddrPort("0.0.0.0:5")
	o.Begin()
	o.Open(2)
	o.Open(1)
	o.Close(a)
	o.SendTTL(a, a, 3, Punch, nil)
	if out := o.Ready(); out.Open != 3 || len(out.Close) != 1 || out.Close[0] != a || out.Packets[0].TTL != 3 {
		t.Fatalf("%+v", out)
	}
	if out := o.Ready(); out.Open != 0 || len(out.Close) != 0 {
		t.Fatalf("again: %+v", out)
	}
	o.Begin()
	o.Send(a, a, Punch, nil)
	if out := o.Ready(); out.Open != 0 || len(out.Close) != 0 || out.Packets[0].TTL != 0 {
		t.Fatalf("after the next call: %+v", out)
	}
}

// Batches of a size need no memory after some of them, and what a batch got does not overlap.
func TestRoomIsKept(t *testing.T) {
	var o Outbox
	const packets, size = 80, 1200
	batch := func() {
		o.Begin()
		var all [packets][]byte
		for i := range all {
			all[i] = o.Room(size)[:size]
			all[i][0], all[i][size-1] = byte(i), byte(i)
			o.Send(netip.AddrPort{}, netip.AddrPort{}, Media, all[i])
		}
		for i, b := range all {
			if b[0] != byte(i) || b[size-1] != byte(i) || cap(b) != size {
				t.Fatalf("slice %d of %d bytes holds %d and %d", i, cap(b), b[0], b[size-1])
			}
		}
		o.Ready()
	}
	for range 8 {
		batch()
	}
	if n := testing.AllocsPerRun(50, batch); n > 0 {
		t.Errorf("%v allocations for a batch of %d packets", n, packets)
	}
}
