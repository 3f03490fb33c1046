package store

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/rendezvous"
	"golang.org/x/crypto/blake2s"
)

// nth returns the nth of a fixed series of keys, and its record.
func nth(n int) (key, record) {
	k := key(blake2s.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))))
	return k, record{Stamp: uint64(n) + 1, Boot: uint64(n) * 3, LastSeen: int64(n) - 5, Role: rendezvous.Role(n % 3)}
}

// fill makes a database of n records, and closes it.
func fill(t testing.TB, path string, n int) {
	t.Helper()
	d, err := openDatabase(path)
	if err != nil {
		t.Fatal(err)
	}
	changes := make([]keyed, n)
	for i := range changes {
		k, r := nth(i)
		changes[i] = keyed{k, change{record: r}}
	}
	if err := d.fill(changes); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}

// events collects what a store reports.
type events struct {
	mu  sync.Mutex
	all []any
}

func (e *events) add(event any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) list() []any {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]any(nil), e.all...)
}

// salvaged returns the only event, which must be that.
func (e *events) salvaged(t *testing.T) Salvaged {
	t.Helper()
	all := e.list()
	if len(all) != 1 {
		t.Fatalf("events %+v, want Salvaged alone", all)
	}
	s, ok := all[0].(Salvaged)
	if !ok {
		t.Fatalf("event %+v, want Salvaged", all[0])
	}
	return s
}

func mustOpen(t testing.TB, path string, e *events) *Store {
	t.Helper()
	o := Options{Delay: time.Millisecond}
	if e != nil {
		o.Report = e.add
	}
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// await waits for a condition.
func await(t testing.TB, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// holds counts the first n records that are there; one that is there with another content is an error.
func holds(t testing.TB, s *Store, n int) (there int) {
	t.Helper()
	for i := range n {
		k, want := nth(i)
		got, ok := s.Load(k)
		if ok && got != want {
			t.Fatalf("record %d is %+v, want %+v", i, got, want)
		}
		if ok {
			there++
		}
	}
	return there
}

// asides lists the files that were set aside.
func asides(t testing.TB, path string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+".damaged-") {
			all = append(all, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return all
}
