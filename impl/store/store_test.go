package store

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestRecordsOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	e := &events{}
	s := mustOpen(t, path, e)
	const n = 1000
	for i := range n {
		k, r := nth(i)
		s.Save(k, r)
		if i%10 == 3 {
			s.Forget(k)
		}
	}
	check := func(when string) {
		for i := range n + 5 {
			k, want := nth(i)
			there := i < n && i%10 != 3
			if got, ok := s.Load(k); ok != there || ok && got != want {
				t.Fatalf("%s: record %d is %+v, %v; want %+v, %v", when, i, got, ok, want, there)
			}
		}
	}
	check("at once")
	await(t, "writing", func() bool { return s.Count() == n-n/10 })
	check("written")
	mustClose(t, s)
	s = mustOpen(t, path, e)
	check("opened again")
	if s.Count() != n-n/10 {
		t.Errorf("counts %d records, want %d", s.Count(), n-n/10)
	}
	k, r := nth(0)
	r.Stamp = 99
	s.Save(k, r)
	s.Forget(key{}) // never known
	mustClose(t, s)
	s = mustOpen(t, path, e)
	if got, ok := s.Load(k); !ok || got != r || s.Count() != n-n/10 {
		t.Errorf("changed: %+v, %v, %d records; want %+v", got, ok, s.Count(), r)
	}
	mustClose(t, s)
	if len(e.list()) != 0 {
		t.Errorf("events %+v, want none", e.list())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// What Load returns while others save and the writer writes is always what was last saved.
func TestLoadSeesTheLastSave(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "records.db"), nil)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				k, r := nth(g + 10*(i%7))
				r.Stamp = uint64(i)
				s.Save(k, r)
				if got, ok := s.Load(k); !ok || got != r {
					t.Errorf("saved %+v, loaded %+v, %v", r, got, ok)
					return
				}
				if i%100 == 99 {
					time.Sleep(time.Millisecond) // for the writer to write in between
				}
			}
		})
	}
	wg.Wait()
	mustClose(t, s)
}

func TestGreatest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.db")
	s := mustOpen(t, path, nil)
	for _, n := range []uint64{3, 7, 5} {
		s.Raise("list of A", n)
	}
	s.Raise("list of B", 2)
	for range 2 {
		if a, b, c := s.Greatest("list of A"), s.Greatest("list of B"), s.Greatest("list of C"); a != 7 || b != 2 || c != 0 {
			t.Errorf("greatest numbers are %d, %d and %d; want 7, 2 and 0", a, b, c)
		}
		mustClose(t, s)
		s = mustOpen(t, path, nil)
	}
	mustClose(t, s)
}

func TestRecordDetectsEveryChange(t *testing.T) {
	k, r := nth(5)
	b := encode(k, r, 77)
	gotKey, got, write, ok := decode(b[:])
	if !ok || gotKey != k || got != r || write != 77 {
		t.Fatalf("decode = %v, %+v, %d, %v", gotKey, got, write, ok)
	}
	for i := range len(b) * 8 {
		bad := b
		bad[i/8] ^= 1 << (i % 8)
		if _, _, _, ok := decode(bad[:]); ok {
			t.Fatalf("bit %d changed: accepted", i)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	held := mustOpen(t, at("held"), nil)
	defer mustClose(t, held)
	fill(t, at("newer"), 3)
	setSchema(t, at("newer"), schema+1)
	junk := strings.Repeat("somebody's letter\n", 5000)
	if err := os.WriteFile(at("letter"), []byte(junk), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := bbolt.Open(at("other"), 0o600, nil)
	if err == nil {
		err = other.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
	}
	if err != nil || other.Close() != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"held":    "in use by another process",
		"newer":   "update this program",
		"letter":  "name another file",
		"other":   "name another file",
		"none/db": "no such file or directory",
		".":       "is a directory",
	} {
		if s, err := Open(at(name), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", name, s, err, want)
		}
	}
	if b, err := os.ReadFile(at("letter")); err != nil || string(b) != junk {
		t.Errorf("the letter was changed: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 4 {
		t.Errorf("left %v, %v; want the four files", left, err)
	}
}

func setSchema(t *testing.T, path string, version uint32) {
	t.Helper()
	d, err := openDatabase(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(schemaKey, binary.BigEndian.AppendUint32(nil, version))
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}

// Who asks after the end gets an answer: a server may have a packet in hand still.
func TestLoadAfterClose(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Save(key{1}, record{Stamp: 1})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		s.Load(key{1})
		s.Save(key{1}, record{Stamp: 2})
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("no answer")
	}
}
