package live

import (
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/fabric"
)

// stuck is a writer, and a pipe that stands for a disk that does not take anything.
func stuck(t testing.TB) (w *writer, out, in *os.File) {
	w, err := newWriter()
	if err != nil {
		t.Fatal(err)
	}
	if out, in, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	return w, out, in
}

func devNull(t testing.TB) *os.File {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return null
}

// unread is a capture that nobody reads.
func unread(t testing.TB) (*writer, *recorder) {
	w, err := newWriter()
	if err != nil {
		t.Fatal(err)
	}
	return w, w.record(devNull(t), 0, 0)
}

// TestSlowDisk writes into a pipe that nobody reads until packets are left out, and then reads a whole capture.
func TestSlowDisk(t *testing.T) {
	w, out, in := stuck(t)
	c := w.record(in, 0, 0)
	e := fabric.TapEvent{Name: "a", ID: 1, Packet: append([]byte{0x45}, make([]byte, 1499)...)}
	const more = 1000
	for c.lost < more {
		c.tap(e)
	}
	if inFile := c.packets * 1500; inFile > 2*maxChunks*chunkSize {
		t.Errorf("%d bytes are held in memory", inFile)
	}
	c.stop(7)
	var n uint64
	r, err := pcapng.NewReader(out)
	for ; err == nil; n++ {
		_, err = r.Next()
	}
	if n--; err != io.EOF || n != c.packets {
		t.Errorf("read %d packets of %d, then %v", n, c.packets, err)
	}
	for {
		if f := w.take(); len(f) > 0 {
			if f[0].request != 7 || f[0].c.err != nil {
				t.Errorf("the end of request %d, %v", f[0].request, f[0].c.err)
			}
			break
		}
		runtime.Gosched()
	}
	w.close()
}

// TestRecordAllocatesNothing: the loop's thread must not wait for the collector.
func TestRecordAllocatesNothing(t *testing.T) {
	w, c := unread(t)
	e := fabric.TapEvent{Name: "a", ID: 1, Packet: append([]byte{0x45}, make([]byte, 1499)...)}
	for range 100_000 {
		c.tap(e) // until the chunks are made
	}
	if n := testing.AllocsPerRun(1000, func() { c.tap(e) }); n > 0.1 {
		t.Errorf("%v allocations a packet", n)
	}
	c.stop(0)
	w.close()
}

func BenchmarkRecord(b *testing.B) {
	w, c := unread(b)
	e := fabric.TapEvent{Name: "a", ID: 1, Packet: append([]byte{0x45}, make([]byte, 1199)...)}
	b.SetBytes(1200)
	for b.Loop() {
		c.tap(e)
	}
	c.stop(0)
	w.close()
}

// TestCapturesShareTheirMemory: captures that begin while a disk is stuck do not lift the bound.
func TestCapturesShareTheirMemory(t *testing.T) {
	w, out, in := stuck(t)
	e := fabric.TapEvent{Name: "a", ID: 1, Packet: append([]byte{0x45}, make([]byte, 1499)...)}
	a := w.record(in, 0, 0)
	for a.lost == 0 {
		a.tap(e)
	}
	b := w.record(devNull(t), 0, 0)
	for range 10 * chunkSize / 1500 {
		a.tap(e)
		b.tap(e)
	}
	if w.made > maxChunks {
		t.Errorf("%d chunks were made, want %d at the most", w.made, maxChunks)
	}
	if b.lost == 0 {
		t.Error("the second capture found memory where there was none")
	}
	a.stop(0)
	b.stop(0)
	if _, err := io.Copy(io.Discard, io.LimitReader(out, 1<<20)); err != nil {
		t.Error(err)
	}
	out.Close()
	w.close()
	for range maxChunks {
		if k := w.chunk(); k != nil && cap(k) < chunkSize {
			t.Errorf("a chunk of %d bytes is in use", cap(k))
		}
	}
}
