package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/cloud"
	"github.com/punchlab/punchlab/impl/cloud/cloudtest"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestRecordings(t *testing.T) {
	g := cloudtest.Start(t)
	uid := identity.PublicKey{7}.UID()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/recordings",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GATEWAY", g.Dir)
			e.Setenv("UID", uid.String())
			e.Setenv("PUNCHLAB_STORE", g.URL())
			if err := os.WriteFile(filepath.Join(e.WorkDir, "wrong"), []byte("nobody:nothing\n"), 0o600); err != nil {
				return err
			}
			return recordClip(t, storeFlags{url: g.URL(), credentials: g.Credentials(), ca: g.CA()}, uid, e.WorkDir)
		},
	})
}

// recordClip stores 30 s of the clip in parts of 12 s.
func recordClip(t *testing.T, f storeFlags, uid identity.UID, dir string) error {
	key := cloud.Key{1, 2, 3}
	if err := cloud.SaveKey(filepath.Join(dir, "recording.key"), key); err != nil {
		return err
	}
	s, err := f.s3()
	if err != nil {
		return err
	}
	store, err := s.Open()
	if err != nil {
		return err
	}
	r, err := cloud.NewRecorder(cloud.Config{UID: uid, Key: key, Store: store, Spool: t.TempDir(), Part: 12 * time.Second})
	if err != nil {
		return err
	}
	for i := range 30 * 25 {
		au := media.EmbeddedClip().At(i)
		au.Captured = time.Date(2026, 11, 23, 2, 20, 0, 0, time.UTC).Add(au.PTS)
		for r.Stats().AccessUnits+200 < uint64(i) { // it is given more at once than it holds
			time.Sleep(time.Millisecond)
		}
		if err := r.Write(au); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return r.Close(ctx)
}
