package identity

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "camera.key")
	first, second := testKey(t, 1), testKey(t, 2)
	for _, k := range []Key{first, second} { // the second replaces the first
		if err := SaveKey(path, k); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadKey(path); err != nil || got != k {
			t.Errorf("LoadKey = %v, %v; want %v", got, err, k)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files in the folder, %v; want 1", len(left), err)
	}
}

func TestLoadKeyRefusesLooseModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "camera.key")
	if err := SaveKey(path, testKey(t, 1)); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o610, 0o601, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v; want what to do", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestLoadKeyErrors(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty":  "",
		"pem":    "-----BEGIN PRIVATE KEY-----\n",
		"short":  devicePrefix + "00\n",
		"digits": devicePrefix + strings.Repeat("zz", 32) + "\n",
		"long":   devicePrefix + strings.Repeat("00", 500) + "\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "is not a key file") {
			t.Errorf("%s: %v; want that it is not a key file", name, err)
		}
	}
	if _, err := LoadKey(dir); err == nil {
		t.Error("a folder was read as a key")
	}
	if err := SaveKey(filepath.Join(dir, "no", "such", "key"), testKey(t, 1)); err == nil {
		t.Error("a key was saved in no folder")
	}
}

func TestSaveKeyFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "taken")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SaveKey(target, testKey(t, 1)); err == nil {
		t.Fatal("a key replaced a folder")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%d entries left, %v; want the folder alone", len(left), err)
	}
}

func TestLoadOrNewKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "camera.key")
	draws := 0
	draw := func() (Key, error) {
		draws++
		return testKey(t, uint64(draws)), nil
	}
	first, err := LoadOrNewKey(path, draw)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrNewKey(path, draw)
	if err != nil || again != first || draws != 1 {
		t.Errorf("second load: %v, %v after %d draws; want the same key from one", again, err, draws)
	}
}

// Programs that are started together and find no key yet have the same one afterwards, and it is the one in the file.
func TestLoadOrNewKeyTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	keys := make([]Key, 8)
	var drawn atomic.Int32
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			keys[i], err = LoadOrNewKey(path, func() (Key, error) {
				drawn.Add(1)
				for drawn.Load() < int32(len(keys)) { // all have found no file
					runtime.Gosched()
				}
				return NewKey(rand.Reader)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	saved, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		if k.Public() != saved.Public() {
			t.Errorf("program %d has another key than the file", i)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}
