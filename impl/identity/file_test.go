package identity

import (
	"os"
	"path/filepath"
	"strings"
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
