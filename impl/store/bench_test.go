package store

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var sizes = []int{1_000, 10_000, 100_000, 1_000_000}

// register makes a database as cameras do who come in any order: its pages are half full, and old copies stand about.
func register(b *testing.B, path string, n int) {
	b.Helper()
	d, err := openDatabase(path)
	if err != nil {
		b.Fatal(err)
	}
	d.bolt.NoSync = true
	for from := 0; from < n; {
		var some []keyed
		for range max(1000, n/20) {
			k, r := nth(from)
			some = append(some, keyed{k, change{record: r}})
			from++
		}
		if _, err := d.write(some); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRestart is the time from Open until the first record is read: it must not grow with the number of records.
func BenchmarkRestart(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			register(b, path, n)
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

// BenchmarkWrite is a second's work of the writer: 50 ms' changes of n cameras that come back within a minute.
func BenchmarkWrite(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			fill(b, path, n)
			d, err := openDatabase(path)
			if err != nil {
				b.Fatal(err)
			}
			some, at := make([]keyed, max(1, n/60/20)), 0
			for b.Loop() {
				for i := range some {
					k, r := nth(at * 7919 % n)
					some[i] = keyed{k, change{record: r}}
					at++
				}
				if _, err := d.write(some); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(at)/b.Elapsed().Seconds(), "records/s")
			if err := d.close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkSalvage is how long the server stands still when it finds its database damaged.
func BenchmarkSalvage(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "records.db")
			register(b, path, n)
			for b.Loop() {
				if f, err := scan(path); err != nil || len(f.records) < n {
					b.Fatal(err)
				}
			}
		})
	}
}
