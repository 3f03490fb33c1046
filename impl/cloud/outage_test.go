package cloud

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wantOrder says that the store got segments in the order of their numbers, each name once.
func wantOrder(t *testing.T, m *memory) {
	t.Helper()
	var seqs []uint64
	for _, o := range m.order {
		n, err := parseSegmentName(filepath.Base(o))
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, n.Seq)
	}
	if !slices.IsSorted(seqs) || len(slices.Compact(slices.Clone(seqs))) != len(seqs) {
		t.Errorf("segments came to the store in the order %v", seqs)
	}
}

// wantNothingMissing says that the parts follow each other, and returns what the camera says it dropped between them.
func wantNothingMissing(t *testing.T, s Store) (dropped int) {
	t.Helper()
	a := Archive{Store: s, UID: testUID, Key: testKey}
	parts, err := a.Parts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	dropped, problems, err := a.Missing(context.Background(), parts)
	if err != nil || len(problems) > 0 {
		t.Fatalf("missing: %v %v", err, problems)
	}
	return dropped
}

func TestOutage(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"refused": false, "stored, but the answer was lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.late = late
				r := newRig(t, m, func(c *Config) { c.Part = 20 * time.Second })
				r.feed(6 * time.Second)
				m.setFail(errDown)
				r.feed(50 * time.Second)
				calls := m.calls
				m.setFail(nil)
				r.feed(14 * time.Second)
				if s := r.Stats(); s.Waiting > 1 {
					t.Errorf("14s after the outage %d segments wait", s.Waiting)
				}
				r.close()
				ts, _ := archived(t, m)
				wantPictures(t, ts, units(0, r.next))
				wantOrder(t, m)
				wantNothingMissing(t, m)
				wantEmpty(t, r.cfg.Spool)
				if calls > 14 {
					t.Errorf("%d calls in an outage of 50s, want them to back off", calls)
				}
				if f, b := told[StoreFailed](r), told[StoreBack](r); len(f) != 1 || f[0].Reason != Unreachable || len(b) != 1 || b[0].After < 40*time.Second {
					t.Errorf("told %+v and %+v, want one outage of about 50s", f, b)
				}
			})
		})
	}
}

func TestOldestGoPastTheBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Bound = 4 << 20; c.Part = time.Minute })
		r.feed(10 * time.Second) // two segments stored
		m.setFail(errDown)
		r.feed(38 * time.Second)
		if s := r.Stats(); s.WaitBytes > 4<<20 || s.WaitBytes < 2<<20 {
			t.Errorf("%d bytes wait, want up to the bound of 4 MiB", s.WaitBytes)
		}
		m.setFail(nil)
		r.feed(20 * time.Second)
		r.close()
		s := r.Stats()
		ts, reports := archived(t, m)
		if len(reports) != 2 || reports[0].Dropped != int(s.Lost) || s.Lost < 5 || s.Lost > 7 {
			t.Errorf("parts %+v and stats %+v, want them to agree on 5 to 7 dropped segments", reports, s)
		}
		lost := int(s.Lost) * 100 // pictures
		wantPictures(t, ts, append(units(0, 200), units(200+lost, r.next)...))
		list := string(m.objects[m.find(t, "-00000000/"+playlistName)])
		if got := strings.Count(list, "#EXT-X-GAP\n"); got != int(s.Lost) {
			t.Errorf("the playlist has %d gaps, want %d:\n%s", got, s.Lost, list)
		}
		var dropped int
		for _, e := range told[Lost](r) {
			dropped += e.Segments
		}
		if dropped != int(s.Lost) {
			t.Errorf("%d segments told as lost, want %d", dropped, s.Lost)
		}
		wantEmpty(t, r.cfg.Spool)
	})
}

// However long an outage is, what is kept of it is bounded; and the store can tell what was dropped from what it lost.
func TestWholePartsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, func(c *Config) { c.Bound = 3 << 20; c.Part = 8 * time.Second })
		r.feed(9 * time.Second)
		m.setFail(errDown)
		r.feed(90 * time.Second)
		r.sp.mu.Lock()
		if n, q := len(r.sp.parts), len(r.sp.queue); n > 5 || q > 8 {
			t.Errorf("%d parts and %d segments are kept in a long outage", n, q)
		}
		r.sp.mu.Unlock()
		m.setFail(nil)
		r.feed(10 * time.Second)
		r.close()
		_, reports := archived(t, m)
		dropped := wantNothingMissing(t, m)
		for _, rep := range reports {
			dropped += rep.Dropped
		}
		if lost := int(r.Stats().Lost); dropped != lost || lost < 15 {
			t.Errorf("the archive tells of %d dropped segments, the recorder of %d", dropped, lost)
		}
		wantEmpty(t, r.cfg.Spool)
	})
}

// again runs another recorder on an earlier one's spool.
func (r *rig) again(change func(*Config)) *rig {
	n := newRig(r.t, r.store, func(c *Config) {
		c.Spool, c.Part = r.cfg.Spool, r.cfg.Part
		if change != nil {
			change(c)
		}
	})
	n.next = r.next
	return n
}

// abandon closes a recorder whose store takes nothing.
func (r *rig) abandon() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.Close(ctx); err == nil || !strings.Contains(err.Error(), "are not stored") {
		r.t.Fatalf("closing in an outage says %v", err)
	}
}

// spooled returns the spool's files whose names match.
func (r *rig) spooled(pattern string) []string {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.cfg.Spool, "*", pattern))
	if err != nil || len(files) == 0 {
		r.t.Fatalf("the spool has no %s: %v", pattern, err)
	}
	slices.Sort(files)
	return files
}

func TestRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage func(*testing.T, *rig)
		lost   int // segments
		at, n  int // pictures in them
		aside  bool
	}{
		{name: "in an outage", damage: func(*testing.T, *rig) {}},
		{name: "without the playlist", damage: func(t *testing.T, r *rig) { remove(t, r.spooled(playlistName)[0]) }},
		{name: "with a torn playlist", aside: true, damage: func(t *testing.T, r *rig) { truncate(t, r.spooled(playlistName)[0], 100) }},
		{name: "with an older playlist", damage: func(t *testing.T, r *rig) {
			p := r.sp.parts[0]
			p.list.Entries = p.list.Entries[:1]
			if err := os.WriteFile(r.spooled(playlistName)[0], p.list.encode(&p.keys), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "without the state", damage: func(t *testing.T, r *rig) { remove(t, filepath.Join(r.cfg.Spool, stateName)) }},
		{name: "with half a file", damage: func(t *testing.T, r *rig) {
			if err := os.WriteFile(filepath.Join(filepath.Dir(r.spooled("*.ts")[0]), temporary+"1"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "with a damaged segment", lost: 1, at: 100, n: 100, aside: true, damage: func(t *testing.T, r *rig) {
			truncate(t, r.spooled("*.ts")[0], 1000)
		}},
		{name: "without a segment", lost: 1, at: 100, n: 100, damage: func(t *testing.T, r *rig) { remove(t, r.spooled("*.ts")[0]) }},
		{name: "without a part's last segment", lost: 1, at: 300, n: 100, damage: func(t *testing.T, r *rig) { remove(t, r.spooled("*.ts")[2]) }},
		{name: "without the last segment", lost: 1, at: 500, n: 50, damage: func(t *testing.T, r *rig) { remove(t, r.spooled("*.ts")[4]) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				first := newRig(t, m, func(c *Config) { c.Part = 16 * time.Second })
				first.feed(8 * time.Second)
				m.setFail(errDown)
				first.feed(14 * time.Second)
				first.abandon()
				tt.damage(t, first)

				second := first.again(nil)
				second.feed(6 * time.Second)
				m.setFail(nil)
				second.feed(8 * time.Second)
				second.close()
				ts, reports := archived(t, m)
				wantPictures(t, ts, append(units(0, tt.at), units(tt.at+tt.n, second.next)...))
				wantOrder(t, m)
				dropped := wantNothingMissing(t, m)
				for _, rep := range reports {
					dropped += rep.Dropped
				}
				if dropped != tt.lost || int(second.Stats().Lost) != 0 && tt.lost == 0 {
					t.Errorf("%d segments are told as dropped, want %d", dropped, tt.lost)
				}
				if f := told[Found](second); len(f) != 1 || f[0].Segments == 0 || (f[0].Damaged == 1) != strings.Contains(tt.name, "torn playlist") {
					t.Errorf("told %+v, want what the first run left", f)
				}
				aside, _ := filepath.Glob(filepath.Join(second.cfg.Spool, "*"+damaged))
				if (len(aside) == 1) != tt.aside {
					t.Errorf("set aside: %q", aside)
				}
			})
		})
	}
}

// The power fails when the last segment is stored and the list that names it is not written.
func TestRestartAfterAListThatWasNotWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, nil)
		r.feed(9 * time.Second)
		p := r.sp.parts[0]
		p.list.Entries = p.list.Entries[:1]
		older, spool := p.list.encode(&p.keys), t.TempDir()
		r.close() // its last segment ends the part
		dir := filepath.Join(spool, p.name.String())
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, playlistName), older, 0o600),
			os.WriteFile(filepath.Join(spool, stateName), []byte(`{"series":"`+p.name.Series+`","next":3}`), 0o600)); err != nil {
			t.Fatal(err)
		}
		again := newRig(t, m, func(c *Config) { c.Spool = spool })
		again.next = r.next
		again.feed(4 * time.Second)
		again.close()
		ts, _ := archived(t, m)
		wantPictures(t, ts, units(0, again.next))
		wantNothingMissing(t, m)
		list := string(m.objects[m.find(t, "-00000000/"+playlistName)])
		if n := strings.Count(list, ".ts\n"); n != 3 {
			t.Errorf("the playlist names %d segments, want 3:\n%s", n, list)
		}
	})
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func TestOneRecorderASpool(t *testing.T) {
	t.Parallel()
	r := newRig(t, newMemory(), nil)
	defer r.close()
	c := r.cfg
	if _, err := NewRecorder(c); err == nil || !strings.Contains(err.Error(), "in use by another recorder") {
		t.Errorf("a second recorder on the same spool: %v", err)
	}
	info, err := os.Stat(filepath.Join(c.Spool, lockName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the lock: %v %v", info, err)
	}
}

// A spool is free when its recorder has ended, also while a program that is just being started has its descriptors.
func TestSpoolIsGivenFree(t *testing.T) {
	t.Parallel()
	c := &Config{Spool: t.TempDir()}
	s, err := openSpool(c, func(any) {}, func(Stats) {})
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(s.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openSpool(c, func(any) {}, func(Stats) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// Nothing that is in the spool or the store holds the video in the clear.
func TestNothingIsInTheClear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := newRig(t, m, nil)
		r.feed(5 * time.Second)
		m.setFail(errDown)
		r.feed(6 * time.Second)
		clear := func(where string, b []byte) {
			for _, au := range units(0, 100) {
				if piece := au.Data[len(au.Data)/2:]; len(piece) > 64 && bytes.Contains(b, piece[:64]) {
					t.Fatalf("%s holds a picture in the clear", where)
				}
			}
		}
		for n, b := range m.objects {
			clear(n, b)
		}
		err := filepath.WalkDir(r.cfg.Spool, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm() != 0o600 {
				err = errors.New(path + " can be read by others")
			}
			b, e := os.ReadFile(path)
			clear(path, b)
			return errors.Join(err, e)
		})
		if err != nil {
			t.Error(err)
		}
		m.setFail(nil)
		r.close()
	})
}
