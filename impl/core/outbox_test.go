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
