package cloud

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/cloud/cloudtest"
)

// open opens a gateway's store, changed as a test wants it.
func open(t testing.TB, g *cloudtest.Gateway, change func(*S3)) Store {
	t.Helper()
	s, err := ParseURL(g.URL())
	if err != nil {
		t.Fatal(err)
	}
	if s.AccessKey, s.SecretKey, err = LoadCredentials(g.Credentials()); err != nil {
		t.Fatal(err)
	}
	if s.CA, err = LoadCA(g.CA()); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&s)
	}
	store, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// await waits for a condition that another goroutine brings about.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// pour writes the clip for d at once, as if it had been captured in its own time.
func (r *rig) pour(d time.Duration) {
	for _, au := range units(r.next, r.next+int(d/(40*time.Millisecond))) {
		au.Captured = epoch.Add(au.PTS)
		for len(r.in) == cap(r.in) {
			time.Sleep(time.Millisecond)
		}
		if err := r.Write(au); err != nil {
			r.t.Fatal(err)
		}
		r.next++
	}
}

// Killed and started again in the middle, the gateway has every picture once, and a player that has the key plays them.
func TestGatewayKilledAndRestarted(t *testing.T) {
	t.Parallel()
	g := cloudtest.Start(t)
	r := newRig(t, nil, func(c *Config) {
		c.Store, c.Part, c.RetryMin = open(t, g, nil), 40*time.Second, 50*time.Millisecond
	})
	r.pour(20 * time.Second)
	await(t, "the first segments to be stored", func() bool { return r.Stats().Stored >= 3 })
	g.Kill()
	r.pour(40 * time.Second)
	await(t, "the outage to be told", func() bool { return len(told[StoreFailed](r)) == 1 && r.Stats().Waiting >= 9 })
	if e := told[StoreFailed](r)[0]; e.Reason != Unreachable {
		t.Errorf("the outage is told as %v (%v), want %v", e.Reason, e.Err, Unreachable)
	}
	g.Restart()
	await(t, "the store to be back", func() bool { return len(told[StoreBack](r)) == 1 })
	r.pour(4 * time.Second)
	r.close()
	ts, reports := archived(t, open(t, g, nil))
	wantPictures(t, ts, units(0, r.next))
	if len(reports) != 2 {
		t.Errorf("%d parts, want 2", len(reports))
	}
	if s := r.Stats(); s.Stored != s.Segments || s.Lost != 0 {
		t.Errorf("stats %+v, want all segments stored", s)
	}
	wantEmpty(t, r.cfg.Spool)
	wantPlayed(t, open(t, g, nil))
}

// wantPlayed has ffprobe play each part as HLS, by the key that the store does not have.
func wantPlayed(t *testing.T, s Store) {
	ffprobe := cloudtest.Required(t, "ffprobe")
	a := Archive{Store: s, UID: testUID, Key: testKey}
	parts, err := a.Parts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		dir := t.TempDir()
		if rep, err := a.SaveHLS(context.Background(), p, dir); err != nil || len(rep.Problems) > 0 {
			t.Fatalf("save part %s: %v %v", p.Name, err, rep.Problems)
		}
		out, err := exec.Command(ffprobe, "-v", "warning", "-allowed_extensions", "ALL", "-count_frames", "-select_streams", "v",
			"-show_entries", "stream=nb_read_frames,width", "-of", "csv=p=0", filepath.Join(dir, playlistName)).CombinedOutput()
		want := []string{"1280,1000", "1280,600"}[i] // told of the stream, and of the stream in its program
		if got := strings.Fields(string(out)); err != nil || !slices.Equal(slices.Compact(got), []string{want}) {
			t.Errorf("ffprobe of part %s: %v\n%s\nwant %s and no warning", p.Name, err, out, want)
		}
	}
}
