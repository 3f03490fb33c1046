package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var sizes = []int{1_000, 10_000, 100_000, 1_000_000}

// BenchmarkRestart is the time from Open until the first record is read: it must not grow with the number of records.
func BenchmarkRestart(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			fill(b, path, n)
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				s := mustOpen(b, path, nil)
				k, _ := nth(i % n)
				if _, ok := s.Load(k); !ok {
					b.Fatal("a record is missing")
				}
				b.StopTimer()
				mustClose(b, s)
				b.StartTimer()
			}
			b.ReportMetric(float64(info.Size())/float64(n), "file-bytes/record")
		})
	}
}

// BenchmarkLoad is the first contact with a camera after a restart.
func BenchmarkLoad(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			fill(b, path, n)
			s := mustOpen(b, path, nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k, _ := nth(i * 7919 % n)
				if _, ok := s.Load(k); !ok {
					b.Fatal("a record is missing")
				}
			}
			b.StopTimer()
			mustClose(b, s)
		})
	}
}

// BenchmarkSave is what the server waits for; written/s is what the disk takes of records in random order, behind it.
func BenchmarkSave(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			fill(b, path, n)
			s, err := Open(path, Options{})
			if err != nil {
				b.Fatal(err)
			}
			begin, saved := time.Now(), 0
			for i := 0; b.Loop(); i++ {
				k, r := nth(i * 7919 % n)
				r.Stamp++
				s.Save(k, r)
				saved = min(i+1, n)
			}
			b.StopTimer()
			mustClose(b, s)
			b.ReportMetric(float64(saved)/time.Since(begin).Seconds(), "written/s")
		})
	}
}

// BenchmarkSalvage is how long the server stands still when it finds its database damaged.
func BenchmarkSalvage(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			fill(b, path, n)
			for b.Loop() {
				if f, err := scan(path); err != nil || len(f.records) < n {
					b.Fatal(err)
				}
			}
		})
	}
}
