package node

import (
	"runtime"
	"slices"
	"testing"
)

// A few large rooms outlive collections, of which two empty a pool; no more are kept, and no small one among them.
func TestKeepsLargeRooms(t *testing.T) {
	take := func(n int, gro bool) (rooms []*inbound) {
		for range n {
			rooms = append(rooms, takeInbound(gro))
		}
		return rooms
	}
	before := take(cap(kept)+1, true)
	for _, b := range before {
		b.free()
	}
	if len(kept) != cap(kept) {
		t.Fatalf("%d rooms are kept of %d that were given back, %d may be", len(kept), len(before), cap(kept))
	}
	runtime.GC()
	runtime.GC()
	after := take(cap(kept), true)
	for i, b := range after {
		if !slices.Contains(before, b) {
			t.Errorf("room %d of %d was made anew after two collections", i+1, len(after))
		}
		if slices.Contains(after[:i], b) {
			t.Errorf("room %d is in use twice", i+1)
		}
	}
	takeInbound(false).free()
	if len(kept) != 0 {
		t.Error("a small room is kept among the large ones")
	}
	for _, b := range after {
		b.free()
	}
}
