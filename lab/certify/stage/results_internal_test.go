package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// folder is a program's folder with a result folder r.
func folder(t *testing.T) (dir string, r *results) {
	t.Helper()
	top := t.TempDir()
	root, err := os.OpenRoot(top)
	if err == nil {
		err = root.Mkdir("r", 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return filepath.Join(top, "r"), &results{root: root, name: "r"}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		err = orErr(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func orErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func line(n int) string {
	return fmt.Sprintf(`{"n": %d, "t": 1700000000.123456, "size": 5, "sha256": "%s"}`, n, strings.Repeat("Ab", 32))
}

// TestTails reads frames.jsonl as it grows, line by line however it is cut, and the next life's after it.
func TestTails(t *testing.T) {
	dir, r := folder(t)
	count := func(want int, over bool) []Frame {
		t.Helper()
		frames, err := r.read(over)
		if err != nil || len(frames) != want {
			t.Errorf("%d frames, %v; want %d", len(frames), err, want)
		}
		return frames
	}
	count(0, false)
	path := filepath.Join(dir, framesFile)
	put(t, path, line(1)+"\n"+line(2)[:20])
	f := count(1, false)[0]
	if f.N != 1 || f.Size != 5 || f.SHA256 != strings.Repeat("ab", 32) || f.T.UnixMicro() != 1700000000123456 {
		t.Errorf("%+v", f)
	}
	put(t, path, line(2)[20:]+"\n\n"+line(3))
	count(2, false)
	count(3, true)
	put(t, filepath.Join(dir, readyFile), "")
	if !r.ready() {
		t.Error("it is not ready")
	}
	if err := r.anew(); err != nil {
		t.Fatal(err)
	}
	if r.ready() {
		t.Error("it is ready before it lives again")
	}
	put(t, path, line(1)+"\n")
	if fs := count(4, false); fs[3].N != 1 {
		t.Errorf("%+v", fs)
	}
	if err := r.anew(); err != nil {
		t.Fatal(err)
	}
	put(t, path, strings.Repeat(line(1)+"\n", 5000)) // more than a read takes
	count(5004, false)
}

// TestHostileResults has everything in a result folder that a program could put there in place of what is asked for.
func TestHostileResults(t *testing.T) {
	for name, test := range map[string]struct {
		make func(path string) error
		want string
	}{
		"link out":   {func(p string) error { return os.Symlink("/etc/passwd", p) }, "escapes"},
		"pipe":       {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "no regular file"},
		"folder":     {func(p string) error { return os.Mkdir(p, 0o755) }, "no regular file"},
		"no JSON":    {text("frames\n"), "line 1"},
		"n":          {text(line(1) + "\n" + line(0) + "\n"), "line 2: n is 0"},
		"size":       {text(strings.Replace(line(1), ": 5", ": -5", 1) + "\n"), "size is -5"},
		"hash":       {text(strings.Replace(line(1), "AbAb", "", 1) + "\n"), "64 digits"},
		"time":       {text(strings.Replace(line(1), "1700000000.123456", "1e300", 1) + "\n"), "Unix time"},
		"no line":    {text(strings.Repeat("x", maxLine+1)), "more than 1024 bytes"},
		"long":       {text(strings.Repeat(" ", 200<<10)), "more than 1024 bytes"},
		"a line off": {text(line(1) + "\nx\n" + line(3) + "\n"), "line 2"},
	} {
		dir, r := folder(t)
		if err := test.make(filepath.Join(dir, framesFile)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the error stays
			if _, err := r.read(false); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v, want %q", name, err, test.want)
			}
		}
	}
	dir, r := folder(t)
	put(t, filepath.Join(dir, ticketFile), strings.Repeat("x", maxTicket))
	if b, err := r.whole(ticketFile, maxTicket); err != nil || len(b) != maxTicket {
		t.Errorf("a ticket of the greatest size: %d bytes, %v", len(b), err)
	}
	put(t, filepath.Join(dir, ticketFile), "x")
	if _, err := r.whole(ticketFile, maxTicket); err == nil {
		t.Error("a ticket beyond it was read")
	}
	if err := os.Symlink("/", filepath.Join(dir, readyFile)); err != nil {
		t.Fatal(err)
	}
	if r.ready() {
		t.Error("a link is taken for ready")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", dir); err != nil {
		t.Fatal(err)
	}
	if b, err := r.whole("passwd", 1<<20); err == nil {
		t.Errorf("a folder that leads out was followed: %.20q", b)
	}
	if err := r.anew(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Fatal(err)
	}
}

func text(s string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(s), 0o644) }
}
