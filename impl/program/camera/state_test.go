package camera

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/source"
	"golang.org/x/sys/unix"
)

// provisioned makes a folder as a maker does.
func provisioned(t *testing.T) (dir string, l identity.Label) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "camera")
	key := must(identity.NewKey(rand.Reader))
	if err := New(dir, key.Public(), []string{"127.0.0.1:4479"}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	maker := must(identity.NewMakerKey(rand.Reader))
	l = must(identity.ParseLabel(string(must(os.ReadFile(filepath.Join(dir, LabelFile))))))
	writeCertificate(t, dir, maker, l.Key)
	return dir, l
}

func writeCertificate(t *testing.T, dir string, maker identity.MakerKey, device identity.PublicKey) {
	t.Helper()
	text := identity.CertificateText(maker.Certify(identity.Certificate{Maker: maker.Public(), Device: device, Serial: 1}))
	write(t, filepath.Join(dir, CertificateFile), text, 0o644)
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// Whatever is wrong with a folder or a flag is told before anything runs, with what to do, and without secrets.
func TestBadInput(t *testing.T) {
	maker := must(identity.NewMakerKey(rand.Reader))
	for name, tt := range map[string]struct {
		spoil func(dir string, o *Options)
		want  string
	}{
		"no folder":       {func(dir string, o *Options) { o.Dir += "-no" }, "'punchlab provision' makes"},
		"a file":          {func(dir string, o *Options) { o.Dir = filepath.Join(dir, LabelFile) }, "give the folder"},
		"no key":          {func(dir string, _ *Options) { os.Remove(filepath.Join(dir, KeyFile)) }, "the camera's key is not in"},
		"no label":        {func(dir string, _ *Options) { os.Remove(filepath.Join(dir, LabelFile)) }, "the camera's label is not in"},
		"a key for all":   {func(dir string, _ *Options) { os.Chmod(filepath.Join(dir, KeyFile), 0o644) }, "chmod 600"},
		"a damaged key":   {func(dir string, _ *Options) { write(t, filepath.Join(dir, KeyFile), "punchlab-key-1 zz", 0o600) }, "not a key file"},
		"a damaged label": {func(dir string, _ *Options) { write(t, filepath.Join(dir, LabelFile), "PL1/ABC", 0o600) }, "label.txt"},
		"another's label": {func(dir string, o *Options) { _, o.Label = provisioned(t) }, "folder of its own"},
		"an invitation":   {func(dir string, o *Options) { _, o.Label = provisioned(t); o.Label.Invited = true }, "invitation"},
		"another's certificate": {func(dir string, _ *Options) {
			_, l := provisioned(t)
			writeCertificate(t, dir, maker, l.Key)
		}, "folder of its own"},
		"a damaged certificate": {func(dir string, _ *Options) { write(t, filepath.Join(dir, CertificateFile), "PC1/XXXX", 0o644) }, "certificate"},
		"damaged pairings":      {func(dir string, _ *Options) { write(t, filepath.Join(dir, PairingsFile), "{", 0o600) }, "put a copy"},
		"pairings for all":      {func(dir string, _ *Options) { write(t, filepath.Join(dir, PairingsFile), "{}", 0o644) }, "chmod 600"},
		"no input":              {func(dir string, o *Options) { o.Input = filepath.Join(dir, "no.h264") }, "there is no file"},
		"an empty input":        {func(dir string, o *Options) { o.Input = filepath.Join(dir, "empty"); write(t, o.Input, "", 0o600) }, "is empty"},
		"a cut input": {func(dir string, o *Options) {
			o.Input = filepath.Join(dir, "cut.h264")
			write(t, o.Input, "\x00\x00\x00\x01\x67", 0o600)
		}, "no picture"},
		"no device":       {func(_ string, o *Options) { o.Input = "/dev/no-such-video" }, "plugged in"},
		"a wrong URL":     {func(_ string, o *Options) { o.Input = "gopher://user:s3cret@x/" }, "known protocols"},
		"no ffmpeg":       {func(_ string, o *Options) { o.Input, o.Source.FFmpeg = "rtsp://u:s3cret@x/", "no-such-ffmpeg" }, "apt install ffmpeg"},
		"a wrong bitrate": {func(_ string, o *Options) { o.Input, o.Source.Bitrate = "lavfi:testsrc2", 5 }, "bit/s"},
	} {
		dir, l := provisioned(t)
		o := Options{Dir: dir, Network: network(), NoLAN: true}
		tt.spoil(dir, &o)
		h, err := Start(t.Context(), o)
		if err == nil {
			h.Close()
			t.Errorf("%s: it runs", name)
			continue
		}
		if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, "s3cret") || strings.Contains(text, l.String()) {
			t.Errorf("%s: %v", name, err)
		}
		if lock, err := lockDir(dir); err != nil {
			t.Errorf("%s: the folder is left locked: %v", name, err)
		} else {
			lock.Close()
		}
	}
	if _, err := Start(t.Context(), Options{}); err == nil {
		t.Error("it runs without a folder and a key")
	}
	dir, _ := provisioned(t)
	o := Options{Dir: dir, Network: network(), Input: "rtsp://x/", Source: source.Config{FFmpeg: "no"}}
	if _, err := Start(t.Context(), o); !errors.Is(err, source.ErrNoFFmpeg) {
		t.Errorf("without ffmpeg: %v", err)
	}
}

// A folder is free once it is given back, though a program that is being started has the lock's descriptor still.
func TestUnlockBesideAStart(t *testing.T) {
	dir := t.TempDir()
	lock := must(lockDir(dir))
	started := must(unix.Dup(int(lock.Fd())))
	defer unix.Close(started)
	unlock(lock)
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock(again)
}

// A folder that is there already stays as it is.
func TestNewKeepsWhatThereIs(t *testing.T) {
	dir, l := provisioned(t)
	other := must(identity.NewKey(rand.Reader))
	if err := New(dir, other.Public(), []string{"rv.example:1"}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if got := string(must(os.ReadFile(filepath.Join(dir, LabelFile)))); got != l.String()+"\n" {
		t.Error("the label is another")
	}
	info := must(os.Stat(filepath.Join(dir, LabelFile)))
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the label has mode %v", info.Mode())
	}
}

// Starts are counted upwards, whatever the clock and the file say.
func TestCountStart(t *testing.T) {
	s := &state{dir: t.TempDir()}
	y2026, y1970, y2100 := time.Unix(1_795_000_000, 0), time.Unix(5, 0), time.Unix(4_102_444_800, 0)
	var got []uint64
	for i, now := range []time.Time{y1970, y1970, y2026, y2026, y2100, y1970} {
		n, err := s.countStart(now)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
		if i == 3 {
			write(t, s.path(BootFile), "damaged", 0o644)
			if n, err := s.countStart(y2026.Add(time.Minute)); err != nil || n <= got[3] {
				t.Errorf("with a damaged file: %d after %d, %v", n, got[3], err)
			}
		}
	}
	if want := []uint64{1, 2, 95_000_000, 95_000_001, 95_000_061, 95_000_062}; !cmp.Equal(got, want) {
		t.Errorf("starts %v, want %v", got, want)
	}
}

// A reset takes what the owner left, and leaves what the maker made.
func TestReset(t *testing.T) {
	dir, _ := provisioned(t)
	s := &state{dir: dir}
	write(t, s.path(PairingsFile), "x", 0o600)
	write(t, s.path(RecordingKey), "x", 0o600)
	if err := os.MkdirAll(s.path(SpoolDir+"/a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.saveAddresses([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.countStart(time.Now()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Reset(dir); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, e := range must(os.ReadDir(dir)) {
		left = append(left, e.Name())
	}
	if want := []string{BootFile, CertificateFile, KeyFile, LabelFile, lockFile}; !cmp.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func TestAddresses(t *testing.T) {
	s := &state{dir: t.TempDir()}
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:2")}
	if err := s.saveAddresses(want); err != nil {
		t.Fatal(err)
	}
	got := s.loadAddresses()
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v", got)
	}
	write(t, s.path(AddressesFile), "[", 0o644)
	if got := s.loadAddresses(); got != nil {
		t.Errorf("of a damaged file: %v", got)
	}
}
