package media

import (
	"runtime"
	"testing"
)

// A pooled trial has 4 MiB: its sender and receiver together take under 2, however long they stream.
func TestMemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	clip := EmbeddedClip()
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	var dst [][]byte
	for i := range 500 {
		var err error
		if dst, err = s.Packetize(dst[:0], epoch, clip.At(i)); err != nil {
			t.Fatal(err)
		}
		for _, b := range dst {
			if err := r.HandlePacket(epoch, b); err != nil {
				t.Fatal(err)
			}
		}
		r.Ready()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 2<<20 {
		t.Errorf("sender and receiver hold %d bytes", used)
	} else {
		t.Logf("sender and receiver hold %d bytes", used)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(r)
}
