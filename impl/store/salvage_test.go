package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Ways in which a page can be torn. Each is given the page, and what else may have been there.
var tears = map[string]func(page, other []byte){
	"zeros":             func(page, _ []byte) { clear(page) },
	"noise":             func(page, _ []byte) { rand.NewChaCha8([32]byte{1}).Read(page) },
	"lost end":          func(page, _ []byte) { clear(page[512:]) },
	"noise at the end":  func(page, _ []byte) { rand.NewChaCha8([32]byte{2}).Read(page[len(page)/2:]) },
	"noise in the head": func(page, _ []byte) { rand.NewChaCha8([32]byte{3}).Read(page[:512]) },
	"another page":      func(page, other []byte) { copy(page, other) },
	"another's end":     func(page, other []byte) { copy(page[1024:], other[1024:]) },
	"one bit":           func(page, _ []byte) { page[len(page)-100] ^= 4 },
}

// Whatever page of a database is torn, and however: it opens, nothing false is read, all records of other pages are there,
// the damaged file is kept as it was, and the next restart finds a sound database.
func TestTornPages(t *testing.T) {
	const n, pageSize = 120, 4096
	dir := t.TempDir()
	path := filepath.Join(dir, "records.db")
	fill(t, path, n)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := usedPages(sound, pageSize)
	for name, tear := range tears {
		for _, p := range used {
			t.Run(fmt.Sprintf("%s/page %d", name, p), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "records.db")
				torn := bytes.Clone(sound)
				page := torn[p*pageSize : (p+1)*pageSize]
				other := used[(p+1)%len(used)] * pageSize
				tear(page, sound[other:other+pageSize])
				lost := bytes.Count(sound[p*pageSize:(p+1)*pageSize], magic)
				testTorn(t, path, torn, n, n-lost)
			})
		}
	}
}

// usedPages lists the pages that are not empty.
func usedPages(file []byte, size int) (used []int) {
	for p := range len(file) / size {
		if len(bytes.Trim(file[p*size:(p+1)*size], "\x00")) > 0 {
			used = append(used, p)
		}
	}
	return used
}

func testTorn(t *testing.T, path string, torn []byte, n, least int) {
	t.Helper()
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &events{}
	s := mustOpen(t, path, e)
	there := holds(t, s, n)
	k, r := nth(n)
	s.Save(k, r)
	mustClose(t, s)
	if there < least {
		t.Errorf("%d of %d records are there, want at least %d", there, n, least)
	}
	if len(e.list()) > 0 {
		aside := asides(t, path)
		if len(aside) != 1 || e.salvaged(t).Aside != aside[0] {
			t.Fatalf("%+v; set aside %v", e.list(), aside)
		}
		if e.salvaged(t).Records < least || e.salvaged(t).Reason == "" {
			t.Errorf("told %+v, want at least %d records and a reason", e.salvaged(t), least)
		}
	} else if there < n {
		t.Error("records are lost, and nobody was told")
	}
	again := &events{}
	s = mustOpen(t, path, again)
	if got := holds(t, s, n+1); got != there+1 {
		t.Errorf("opened again: %d records, want %d and the new one", got, there)
	}
	mustClose(t, s)
	if len(again.list()) > 0 {
		t.Errorf("opened again: %+v", again.list())
	}
}

// bbolt has two first pages, and does with one. With neither, everything is rescued all the same.
func TestBothFirstPagesTorn(t *testing.T) {
	const n, pageSize, meta = 120, 4096, 16
	path := filepath.Join(t.TempDir(), "records.db")
	fill(t, path, n)
	sound := read(t, path)
	for name, at := range map[string]int{"magic": meta, "version": meta + 4, "root": meta + 20, "checksum": meta + 60} {
		torn := bytes.Clone(sound)
		torn[at] ^= 1
		torn[pageSize+at] ^= 1
		t.Run(name, func(t *testing.T) { testTorn(t, filepath.Join(t.TempDir(), "records.db"), torn, n, n) })
	}
}

// Who saves while the store finds its damage and mends it reads what he saved, then and after a restart.
func TestSavesWhileMending(t *testing.T) {
	const n = 3000
	path := filepath.Join(t.TempDir(), "records.db")
	fill(t, path, n)
	e := &events{}
	s := mustOpen(t, path, e)
	scribbleUnder(t, s, path)
	saved := map[key]record{}
	random := rand.New(rand.NewPCG(1, 2))
	for stamp := uint64(n); len(e.list()) == 0; stamp++ {
		k, r := nth(random.IntN(100))
		r.Stamp = stamp
		s.Save(k, r)
		saved[k] = r
		k, _ = nth(random.IntN(100))
		if want, ok := saved[k]; ok {
			if got, _ := s.Load(k); got != want {
				t.Fatalf("loaded %+v, saved %+v", got, want)
			}
		}
	}
	mustClose(t, s)
	s = mustOpen(t, path, nil)
	defer mustClose(t, s)
	for k, want := range saved {
		if got, _ := s.Load(k); got != want {
			t.Errorf("opened again: %+v, saved was %+v", got, want)
		}
	}
}

// A file cut short anywhere keeps what it has, and that is noticed when it is opened.
func TestCutShort(t *testing.T) {
	const n, pageSize = 120, 4096
	path := filepath.Join(t.TempDir(), "records.db")
	fill(t, path, n)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := usedPages(sound, pageSize)
	for cut := 100; cut < (used[len(used)-1]+1)*pageSize; cut += 3000 {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			f := sound[:cut]
			if cut < 3*pageSize { // before its first bucket: it cannot be told from another's file
				path := filepath.Join(t.TempDir(), "records.db")
				if err := os.WriteFile(path, f, 0o600); err != nil {
					t.Fatal(err)
				}
				if s, err := Open(path, Options{}); err == nil {
					mustClose(t, s)
				}
				return
			}
			testTorn(t, filepath.Join(t.TempDir(), "records.db"), f, n, distinct(f))
			path := filepath.Join(t.TempDir(), "records.db")
			if err := os.WriteFile(path, f, 0o600); err != nil {
				t.Fatal(err)
			}
			e := &events{}
			mustClose(t, mustOpen(t, path, e))
			e.salvaged(t)
		})
	}
}

// distinct counts the records in a file by their keys.
func distinct(file []byte) int {
	s := scanner{found: found{records: map[key]copied{}}, broken: map[key]bool{}}
	s.scan(file)
	return len(s.records)
}

func TestBlankFile(t *testing.T) {
	testTorn(t, filepath.Join(t.TempDir(), "records.db"), make([]byte, 64<<10), 10, 0)
}

// Of several copies in a file the last written counts, wherever it stands; those across the border of what is read at a time
// are found too, and one that is broken is counted only if there is no whole one.
func TestScan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	k, r := nth(1)
	older, newest := r, r
	older.Stamp, newest.Stamp = 3, 9
	whole, lost := encode(k, older, 4), encode(key{7}, r, 1)
	lost[60] ^= 1
	last := encode(k, newest, 8)
	stale := encode(k, r, 2)
	for shift := range recordSize + 2 {
		file := bytes.Repeat([]byte{0xaa}, 2<<20)
		copy(file[100:], whole[:])
		copy(file[1<<20-shift:], last[:])
		copy(file[1<<20+500:], stale[:])
		copy(file[700:], lost[:])
		copy(file[len(file)-20:], whole[:20]) // cut off at the end
		broken := last
		broken[40] ^= 1
		copy(file[900:], broken[:])
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := scan(path)
		if err != nil || len(f.records) != 1 || f.records[k].record != newest || f.damaged != 1 || !f.ours() {
			t.Fatalf("shift %d: %+v, %v", shift, f, err)
		}
	}
}

// Damage that comes while the store is open is noticed when it is read, written or verified, and mended.
func TestDamageWhileOpen(t *testing.T) {
	const n = 2000
	for name, touch := range map[string]func(t *testing.T, s *Store){
		"verified": func(_ *testing.T, s *Store) {
			for from := (key{}); s.verifySome(&from); {
			}
		},
		"loaded": func(t *testing.T, s *Store) { holds(t, s, n) },
		"written": func(_ *testing.T, s *Store) {
			for i := range n {
				k, r := nth(i)
				s.Save(k, r)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records.db")
			fill(t, path, n)
			e := &events{}
			s := mustOpen(t, path, e)
			scribbleUnder(t, s, path)
			touch(t, s)
			await(t, "salvage", func() bool { return len(e.list()) > 0 })
			if got := e.salvaged(t); got.Records < n*9/10 {
				t.Errorf("%+v, want nine tenths of the records", got)
			}
			there := holds(t, s, n)
			k, r := nth(n)
			s.Save(k, r)
			mustClose(t, s)
			s = mustOpen(t, path, e)
			if got := holds(t, s, n+1); got != there+1 || got < n*9/10 {
				t.Errorf("opened again: %d records, want %d", got, there+1)
			}
			mustClose(t, s)
		})
	}
}

// scribble destroys a few pages of records.
func scribble(t *testing.T, path string) {
	t.Helper()
	b := read(t, path)
	done := 0
	for p := 2; p*4096 < len(b) && done < 3; p++ {
		if bytes.Count(b[p*4096:(p+1)*4096], magic) >= 10 {
			overwrite(t, path, int64(p*4096), bytes.Repeat([]byte{0x5a}, 4096))
			done++
		}
	}
}

// scribbleUnder destroys them in the file of a store that is open, which sees all of it at once: it would else find the first page while
// the others are being destroyed, and mend what is damaged then, or have the new database damaged.
func scribbleUnder(t *testing.T, s *Store, path string) {
	t.Helper()
	s.use.Lock()
	defer s.use.Unlock()
	scribble(t, path)
}

func overwrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// A process that dies while it mends loses nothing: the new database takes the old one's name only when it is whole.
func TestDeathWhileMending(t *testing.T) {
	const n = 50
	t.Run("new one whole", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "records.db")
		fill(t, path+salvageSuffix, n)
		s := mustOpen(t, path, nil)
		if got := holds(t, s, n); got != n {
			t.Errorf("%d of %d records", got, n)
		}
		mustClose(t, s)
	})
	t.Run("new one begun", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "records.db")
		fill(t, path, n)
		fill(t, path+salvageSuffix, 2)
		scribble(t, path)
		s := mustOpen(t, path, nil)
		holds(t, s, n)
		mustClose(t, s)
		if _, err := os.Stat(path + salvageSuffix); err == nil && len(asides(t, path)) > 0 {
			t.Error("what was begun is left")
		}
	})
}
