package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// decode counts the pictures that ffmpeg gets out of access units. It must find no fault.
func decode(t *testing.T, units []seen) int {
	t.Helper()
	require(t, "ffprobe")
	var in bytes.Buffer
	for _, u := range units {
		in.Write(u.Data)
	}
	cmd := exec.Command("ffprobe", "-v", "error", "-f", "h264", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames",
		"-of", "csv=p=0", "pipe:0")
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	var n int
	if _, e := fmt.Sscanf(string(out), "%d\n", &n); err != nil || e != nil {
		t.Errorf("ffprobe: %v: %s", err, out)
	}
	return n
}

// unbroken checks that a reader got every picture once, in order.
func unbroken(t *testing.T, h *Hub, units []seen) {
	t.Helper()
	missing, gaps := int64(0), ""
	for i, u := range units {
		if i == 0 {
			if !u.Key {
				t.Error("it does not begin with a key frame")
			}
			continue
		}
		was := units[i-1]
		if u.number <= was.number {
			t.Errorf("picture %d came after picture %d", u.number, was.number)
		}
		if n := u.number - was.number - 1; n > 0 {
			missing += n
			gaps += fmt.Sprintf(" %d before %d (key: %v)", n, u.number, u.Key)
		}
		if u.Index != was.Index+1 || u.PTS <= was.PTS {
			t.Errorf("picture %d has number %d, time %v, after %d and %v", i, u.Index, u.PTS, was.Index, was.PTS)
		}
	}
	if dropped := h.Stats().Dropped; missing > dropped { // a busy machine's encoders are too slow at times
		t.Errorf("%d pictures are missing, and the encoders left out %d:%s", missing, dropped, gaps)
	}
	if n := decode(t, units); n != len(units) {
		t.Errorf("of %d pictures %d can be decoded", len(units), n)
	}
}

// Nothing runs before somebody reads; two readers share a capture and an encoder; it ends when the last one has left.
func TestRunsWhileRead(t *testing.T) {
	t.Parallel()
	cfg := filter(t)
	cfg.Linger = 100 * time.Millisecond
	h, l := open(t, cfg)
	if s := h.Stats(); s.Captures != 0 {
		t.Fatalf("without a reader: %+v", s)
	}
	a := h.Open()
	read(t, a, 10)
	b := h.Open()
	late := read(t, b, 30)
	if !late[0].Key || late[0].PTS != 0 || late[0].Index != 0 {
		t.Errorf("the second reader begins with number %d at %v, key %v", late[0].Index, late[0].PTS, late[0].Key)
	}
	if early := read(t, a, 1)[0]; late[0].Captured.After(early.Captured) {
		t.Error("the second reader waited for a key frame, and did not get the running group")
	}
	unbroken(t, h, late)
	if s := h.Stats(); s.Captures != 1 || s.Encoders != 1 || s.Readers != 2 || s.Running != 1 {
		t.Errorf("with two readers: %+v", s)
	}
	a.Close()
	a.Close()
	if _, err := a.Next(); err != io.EOF {
		t.Errorf("a closed reader says %v", err)
	}
	b.Close()
	await[Stopped](t, l, nil)
	if s := h.Stats(); s.Readers != 0 || s.Running != 0 {
		t.Errorf("without readers: %+v", s)
	}
	if again := read(t, h.Open(), 1); !again[0].Key {
		t.Error("the next reader does not begin with a key frame")
	}
	h.Close()
	if _, err := h.Open().Next(); err != io.EOF {
		t.Errorf("a closed hub's reader says %v", err)
	}
}

// A key frame that is asked for is the next picture or so, out of the same encoder.
func TestKeyFrameOnRequest(t *testing.T) {
	t.Parallel()
	cfg := filter(t)
	cfg.Group = 30 * time.Second
	h, _ := open(t, cfg)
	r := h.Open()
	units := read(t, r, 20)
	for range 3 {
		r.RequestKeyFrame()
		asked := h.Stats() // what is captured later can be a key frame, whenever it comes
		from := len(units)
		for !units[len(units)-1].Key || len(units) == from {
			units = append(units, read(t, r, 1)...)
		}
		if n := units[len(units)-1].number - asked.Frames - (h.Stats().Dropped - asked.Dropped); n > 5 {
			t.Errorf("the key frame is picture %d of those that were captured after it was asked for", n)
		}
		units = append(units, read(t, r, 5)...)
	}
	unbroken(t, h, units)
	if s := h.Stats(); s.Encoders != 1 || s.KeyFrames != 3 {
		t.Errorf("%+v", s)
	}
}

// Another bit rate is another encoder's, that takes over without a picture lost or shown twice; the first one ends.
func TestBitrateChanges(t *testing.T) {
	t.Parallel()
	cfg := filter(t)
	cfg.Group = 30 * time.Second
	h, l := open(t, cfg)
	r := h.Open()
	units := read(t, r, 25)
	r.SetTarget(60_000)
	e := await[Switched](t, l, nil)
	if e.From != 400_000 || e.To >= 60_000 || e.To < cfg.Floor {
		t.Errorf("switched from %d to %d", e.From, e.To)
	}
	from := len(units)
	for !units[len(units)-1].Key {
		units = append(units, read(t, r, 1)...)
	}
	if n := len(units) - from; n > 375 { // an encoder has to start: that takes its time, but no group's, of 750
		t.Errorf("it took %d pictures", n)
	}
	at := len(units)
	units = append(units, read(t, r, 50)...)
	unbroken(t, h, units)
	size, last := 0, units[at+25:]
	for _, u := range last {
		size += len(u.Data)
	}
	// A second's pictures, which last longer where an encoder leaves some out.
	seconds := max((last[len(last)-1].PTS - last[0].PTS + 40*time.Millisecond).Seconds(), 1)
	if rate := float64(size*8) / seconds; rate > 70_000 {
		t.Errorf("it has %.0f bit/s", rate)
	}
	if s := h.Stats(); s.Running != 1 || s.Encoders != 2 || s.Captures != 1 {
		t.Errorf("%+v", s)
	}
}

// A reader that is too slow goes on at the newest key frame; it holds up nobody.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	cfg := filter(t)
	cfg.Group = 400 * time.Millisecond
	h, _ := open(t, cfg)
	slow, fast := h.Open(), h.Open()
	read(t, slow, 1)
	others := read(t, fast, 80)
	unbroken(t, h, others)
	u := read(t, slow, 1)[0]
	for len(others) > 1 && !others[len(others)-1].Key {
		others = others[:len(others)-1]
	}
	if key := others[len(others)-1].number; !u.Key || u.number < key || u.Index != 1 {
		t.Errorf("the slow reader got number %d, picture %d, key %v, after the other one had key frame %d", u.Index, u.number, u.Key, key)
	}
	if s := h.Stats(); s.Skipped < 50 {
		t.Errorf("%d pictures were left out", s.Skipped)
	}
}

// What is passed on as it is becomes an encoder's where the path is too narrow, and again what it is where it is wide.
func TestTooMuchForThePath(t *testing.T) {
	t.Parallel()
	require(t, "ffmpeg")
	dir := t.TempDir()
	file := filepath.Join(dir, "door.mkv")
	run(t, "ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25,noise=alls=20", "-t", "4", "-c:v", "libx264",
		"-bf", "0",
		"-g", "25", "-b:v", "600k", "-profile:v", "baseline", "-pix_fmt", "yuv420p", file)
	h, l := open(t, Config{Input: Input{File, file}, Bitrate: 400_000, Floor: 50_000})
	r := h.Open()
	units := read(t, r, 60)
	if e := await[Started](t, l, nil); !e.Copy {
		t.Fatal("H.264 was encoded anew")
	}
	if rate := h.Stats().Bitrate; rate < 400_000 {
		t.Fatalf("the input has %d bit/s", rate)
	}
	r.SetTarget(400_000)
	units = append(units, read(t, r, 25)...)
	await(t, l, func(e Switched) bool { return e.From == 0 && e.To < 400_000 })
	r.SetTarget(5_000_000)
	for asIs := false; !asIs; {
		h.mu.Lock()
		asIs = r.now == h.session.asIs && r.next == r.now // it still is, with an encoder next, until a slow one has begun
		h.mu.Unlock()
		if units = append(units, read(t, r, 1)...); len(units) > 500 {
			t.Fatal("it stays encoded")
		}
	}
	units = append(units, read(t, r, 25)...)
	await(t, l, func(e Switched) bool { return e.To == 0 })
	unbroken(t, h, units)
	for end := time.Now().Add(patience); h.Stats().Running > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if s := h.Stats(); s.Running != 0 || s.Captures != 1 {
		t.Errorf("%+v", s)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// What viewers could not show is encoded at once, without a failure.
func TestEncodesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	require(t, "ffmpeg")
	for name, args := range map[string]string{"mpeg4": "-c:v mpeg4", "b-frames": "-c:v libx264 -bf 3 -pix_fmt yuv420p", "mjpeg": "-c:v mjpeg"} {
		file := filepath.Join(t.TempDir(), "door.mkv")
		pictures := "-loglevel error -f lavfi -i testsrc2=size=160x90:rate=25 -t 2 " + args
		run(t, "ffmpeg", append(strings.Fields(pictures), file)...)
		h, l := open(t, Config{Input: Input{File, file}, Bitrate: 200_000, Floor: 50_000})
		unbroken(t, h, read(t, h.Open(), 30))
		if e := await[Started](t, l, func(e Started) bool { return !e.Copy }); e.Input.Name != file {
			t.Errorf("%s: %+v", name, e)
		}
		h.Close() // nothing is told any more
		for _, e := range l.events {
			if e, ok := e.(Failed); ok {
				t.Errorf("%s: %v", name, e.Err)
			}
		}
	}
}

// A stream that comes by itself plays at its own pace, and ends.
func TestPipe(t *testing.T) {
	t.Parallel()
	clip := media.EmbeddedClip()
	var in bytes.Buffer
	for _, u := range clip.AccessUnits[:30] {
		in.Write(u.Data)
	}
	h, l := open(t, Config{Input: Input{Pipe, "-"}, Pipe: &in, FPS: 25})
	begun := time.Now()
	r := h.Open()
	for i, u := range read(t, r, 30) {
		if want := clip.AccessUnits[i]; !bytes.Equal(u.Data, want.Data) || u.Key != want.Key {
			t.Fatalf("access unit %d differs", i)
		}
	}
	if d := time.Since(begun); d < 29*40*time.Millisecond {
		t.Errorf("30 pictures took %v", d)
	}
	if _, err := r.Read(t.Context()); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	await(t, l, func(e Failed) bool { return e.Retry == 0 && errors.Is(e.Err, errInputOver) })
}

// script is an ffmpeg of the test's own.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	// A child that another test starts meanwhile would have the file open for writing until it is a program, and nobody could run it (ETXTBSY).
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// An ffmpeg that fails is told with what it says and what to do, and tried again, less and less often.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, want string }{
		"says why":  {"echo x: Permission denied >&2; exit 1", "usermod -aG video"},
		"is silent": {"exit 3", "exit status 3"},
		"ends well": {"exit 0", "it has ended"},
		"nonsense":  {"echo this is no video at all, not any", "something else than FLV"},
	} {
		h, l := open(t, Config{Input: Input{URL, "rtsp://camera/1"}, FFmpeg: script(t, tt.script)})
		h.Open()
		first := await(t, l, func(e Failed) bool { return e.Retry == backoffFirst })
		await(t, l, func(e Failed) bool { return e.Retry == 2*backoffFirst })
		if !strings.Contains(first.Err.Error(), tt.want) || !strings.Contains(first.Err.Error(), "rtsp://camera/1") {
			t.Errorf("%s: %v", name, first.Err)
		}
		h.Close()
	}
	h, l := open(t, Config{Input: Input{URL, "rtsp://camera/1"}, FFmpeg: "no-such-ffmpeg"})
	h.Open()
	if e := await[Failed](t, l, nil); !errors.Is(e.Err, ErrNoFFmpeg) {
		t.Errorf("without ffmpeg: %v", e.Err)
	}
}

// An ffmpeg that hangs is ended, with its children, and started again. It is asked first, and killed where it does not listen.
func TestHangs(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	h, l := open(t, Config{
		Input: Input{URL, "rtsp://camera/1"}, Stall: time.Second,
		FFmpeg: script(t, "trap '' TERM; echo $$ >>"+pids+"; sleep 1000 & echo $! >>"+pids+"; wait; sleep 1000\n"),
	})
	h.Open()
	e := await[Failed](t, l, nil)
	if !errors.Is(e.Err, errStall) {
		t.Errorf("it failed by %v", e.Err)
	}
	gone(t, pids)
	h.Close()
	gone(t, pids)
}

// An encoder that takes pictures and gives none is ended, and told.
func TestEncoderHangs(t *testing.T) {
	t.Parallel()
	require(t, "ffmpeg")
	pids := filepath.Join(t.TempDir(), "pids")
	in, err := ParseInput("lavfi:testsrc2=size=64x48:rate=25")
	if err != nil {
		t.Fatal(err)
	}
	h, l := open(t, Config{
		Input: in, Stall: 5 * time.Second, // the capture, which does not hang, begins within that
		FFmpeg: script(t, `case "$*" in *matroska*) echo $$ >>`+pids+`; sleep 1000 & echo $! >>`+pids+"; wait;; esac; exec ffmpeg \"$@\"\n"),
	})
	h.Open()
	if e := await[Failed](t, l, nil); !errors.Is(e.Err, errStall) {
		t.Errorf("it failed by %v", e.Err)
	}
	gone(t, pids)
}

// gone checks that the first two processes in a file end: they have been killed.
func gone(t *testing.T, file string) {
	t.Helper()
	var pids []string
	for deadline := time.Now().Add(patience); len(pids) < 2; time.Sleep(10 * time.Millisecond) { // it may have been ended before it began
		b, err := os.ReadFile(file)
		if pids = strings.Fields(string(b)); len(pids) < 2 && time.Now().After(deadline) {
			t.Fatalf("%s: %d processes, %v", file, len(pids), err)
		}
	}
	ended(t, pids[:2])
}

// ended waits until processes have ended.
func ended(t *testing.T, pids []string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		alive := slices.DeleteFunc(slices.Clone(pids), func(pid string) bool {
			state, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(state), ") Z ")
		})
		if len(alive) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %v still run", len(alive), pids)
		}
	}
}

// Closing a hub ends its processes, also one that has just been started, and its goroutines.
func TestCloseEndsProcesses(t *testing.T) {
	t.Parallel()
	cfg := filter(t)
	for i := range 4 {
		h, _ := open(t, cfg)
		r := h.Open()
		if i > 1 {
			read(t, r, 2)
		}
		h.Close()
		if _, err := r.Read(t.Context()); err != io.EOF {
			t.Errorf("a reader of a closed hub says %v", err)
		}
	}
}

// With Always the first picture is there before anybody reads.
func TestAlways(t *testing.T) {
	t.Parallel()
	cfg := filter(t)
	cfg.Always = true
	h, l := open(t, cfg)
	await[Started](t, l, nil)
	deadline := time.Now().Add(patience)
	for {
		r := h.Open()
		u, err := r.Next()
		r.Close()
		if err == nil {
			if !u.Key {
				t.Error("it is no key frame")
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no picture without a reader")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Processes end with the program, however that ends.
func TestProcessesEndWithTheProgram(t *testing.T) {
	if os.Getenv("SOURCE_TEST_VICTIM") != "" {
		h, err := New(Config{Input: Input{URL, "rtsp://camera/1"}, FFmpeg: os.Getenv("SOURCE_TEST_VICTIM")})
		if err != nil {
			t.Fatal(err)
		}
		h.Open()
		select {}
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcessesEndWithTheProgram$")
	cmd.Env = append(os.Environ(), "SOURCE_TEST_VICTIM="+script(t, "exec sleep 100")) // whom a closed pipe does not end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children := descendants(t, cmd.Process.Pid)
	for deadline := time.Now().Add(patience); len(children) == 0; children = descendants(t, cmd.Process.Pid) {
		if time.Now().After(deadline) {
			t.Fatal("it starts no process")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	ended(t, children)
}

// descendants lists the processes that a process has started.
func descendants(t *testing.T, pid int) (pids []string) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

// A reader that is to go on elsewhere stops before the picture that the next encoder makes a key frame of, and goes on with that; where
// the encoder has ended it goes on as it was.
func TestTakeover(t *testing.T) {
	h := &Hub{}
	was, next := newRendition(0), newRendition(1000)
	h.session = &session{hub: h, asIs: was, ctx: t.Context()}
	e := &encoder{rendition: next, joined: true}
	h.session.encoders = []*encoder{e}
	for n := range int64(10) {
		was.add(unit{number: n + 1, key: n == 0, data: []byte{1}})
	}
	r := &Reader{hub: h, place: place{now: was, next: was}}
	h.readers = []*Reader{r}
	expect := func(what string, want int64, from byte) {
		t.Helper()
		au, err := r.Next()
		if want == 0 {
			if !errors.Is(err, media.ErrPending) {
				t.Errorf("%s: picture %d, %v", what, r.last, err)
			}
		} else if err != nil || r.last != want || au.Data[0] != from {
			t.Errorf("%s: picture %d of %v, %v; want %d of %d", what, r.last, au.Data, err, want, from)
		}
	}
	expect("before", 1, 1)
	r.next = next
	expect("the encoder is asked for a key frame", 2, 1)
	if !e.force {
		t.Error("it is not asked")
	}
	e.force, e.forced = false, 5
	next.add(unit{number: 3, data: []byte{2}})
	expect("up to there", 3, 1)
	expect("up to there", 4, 1)
	expect("it is to come", 0, 0)
	next.add(unit{number: 4, data: []byte{2}})
	expect("it is to come", 0, 0)
	next.add(unit{number: 5, key: true, data: []byte{2}})
	expect("it is there", 5, 2)
	if r.now != next {
		t.Error("it has not gone on")
	}

	r.now, r.next, r.pos, r.last = was, next, 5, 5
	e.forced = 7
	expect("once more, up to there", 6, 1)
	expect("it is to come", 0, 0)
	h.session.encoders = nil // it has failed
	expect("and does not come", 7, 1)
}
