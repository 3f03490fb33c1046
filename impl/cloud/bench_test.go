package cloud

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/cloud/cloudtest"
	"github.com/punchlab/punchlab/impl/media"
)

// counted counts what is sent over the connections that it dials.
type counted struct{ sent atomic.Int64 }

type countedConn struct {
	net.Conn
	c *counted
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.c.sent.Add(int64(n))
	return n, err
}

func (c *counted) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return countedConn{conn, c}, err
}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sink is a store that takes everything and keeps nothing.
type sink struct{ *memory }

func (sink) Put(context.Context, string, string, []byte) error { return nil }

// BenchmarkRecorder records parts of ten minutes of 2 Mbit/s as fast as it can, by a clock that goes with the video. CPU is the
// process's own. The bound is the media's own bytes: sent/media is what goes out for each of them, with HTTP and TLS where there
// are any.
func BenchmarkRecorder(b *testing.B) {
	b.Run("spool", func(b *testing.B) {
		s := benchRecorder(b, sink{newMemory()})
		b.ReportMetric(float64(s.StoredBytes+s.ListedBytes)/float64(s.MediaBytes), "sent/media")
	})
	b.Run("versitygw", func(b *testing.B) {
		g := cloudtest.Start(b)
		var wire counted
		s := benchRecorder(b, open(b, g, func(s *S3) { s.Dial = wire.dial }))
		b.ReportMetric(float64(wire.sent.Load())/float64(s.MediaBytes), "sent/media")
	})
}

func benchRecorder(b *testing.B, store Store) (sum Stats) {
	const part = 600 * 25
	spool := b.TempDir()
	before := cpu(b)
	for b.Loop() {
		var fed atomic.Int64
		now := func() time.Time { return epoch.Add(time.Duration(fed.Load()) * 40 * time.Millisecond) }
		r, err := NewRecorder(Config{UID: testUID, Key: testKey, Store: store, Spool: spool, Now: now})
		if err != nil {
			b.Fatal(err)
		}
		for i := range part {
			for s := r.Stats(); s.Waiting > 1 || s.AccessUnits+100 < uint64(i); s = r.Stats() {
				time.Sleep(100 * time.Microsecond)
			}
			fed.Store(int64(i))
			if err := r.Write(media.EmbeddedClip().At(i)); err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		s := r.Stats()
		sum.MediaBytes += s.MediaBytes
		sum.StoredBytes += s.StoredBytes
		sum.ListedBytes += s.ListedBytes
		if s.Overrun > 0 || s.Lost > 0 {
			b.Fatalf("%+v, want all recorded", s)
		}
	}
	used := cpu(b) - before
	b.ReportMetric(used.Seconds()*6/float64(b.N), "cpu-s/video-hour")
	return sum
}
