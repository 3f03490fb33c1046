package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/vishvananda/netlink"
)

// lines counts a file's lines; there are none while there is no file.
func lines(name string) int {
	b, _ := os.ReadFile(name)
	return strings.Count(string(b), "\n")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not within 30s: %s", what)
			return
		}
	}
}

// Events kill a system's programs, start them again, and let them sleep.
func TestEventsReachPrograms(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	dir := t.TempDir()
	starts, ticks := filepath.Join(dir, "starts"), filepath.Join(dir, "ticks")
	e := parseExternal(t, fmt.Sprintf(`
name: stubborn
commands:
  - {name: camera, host: camera, ready: {log: ready},
     run: [sh, -c, 'echo >> %[1]s; echo ready; wc -l < %[1]s; (while echo >> %[2]s; do sleep 0.01; done) & wait']}
  - {name: viewer, host: viewer, run: [sleep, "60"]}
request: {command: viewer}
marks: {success: {log: '^2$', from: camera}}  # of its second life: that it was killed was no exit of its own
hold: 0s
`, starts, ticks))
	stage := func() {
		asleep, err := l.Do(lab.Event{Do: lab.DoSleep, Host: "camera"})
		if err != nil {
			t.Error(err)
			return
		}
		before := lines(ticks)
		time.Sleep(60 * time.Millisecond) // a program that runs would tick meanwhile
		if n := lines(ticks) - before; n != 0 {
			t.Errorf("a program that sleeps ticked %d times", n)
		}
		if err := asleep(); err != nil {
			t.Error(err)
		}
		eventually(t, "awake it ticks again", func() bool { return lines(ticks) > before })
		undo, err := l.Do(lab.Event{Do: lab.DoKill, Host: "camera"})
		if err != nil {
			t.Error(err)
			return
		}
		eventually(t, "killed it ticks no more", func() bool {
			before := lines(ticks)
			time.Sleep(60 * time.Millisecond)
			return lines(ticks) == before
		})
		if err := undo(); err != nil {
			t.Error(err)
		}
		eventually(t, "it is started again", func() bool { return lines(starts) == 2 })
	}
	staged := make(chan struct{})
	o := tryExternal(t, e, l, Trial{Timeout: time.Minute, Reached: func(m Moment) {
		if m == Requested {
			go func() { defer close(staged); stage() }()
		}
	}})
	<-staged
	if !strings.Contains(o.Cause, "exchanged no packets") { // it succeeded
		t.Errorf("outcome %s: %s", o.Outcome, o.Cause)
	}
}

// Probes tell that something is ready, and that something has come to pass.
func TestProbes(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	e := parseExternal(t, `
name: probed
files: {sub/file: 'media {{seconds .Media}} of {{.Seed}}'}
prepare: [[sh, -c, 'echo prepared > log']]
commands:
  - {name: camera, host: camera, env: {NAME: 'at {{addr "camera"}}'}, ready: {probe: [grep, -q, media, log], every: 10ms},
     run: [sh, -c, 'echo "$NAME $PUNCHLAB_ADDR $PUNCHLAB_HOST $PUNCHLAB_SEED" >> log; cat sub/file >> log; sleep 60']}
  - {name: viewer, host: viewer, run: [sh, -c, 'read line; echo "$line" >> log; sleep 60']}
request: {command: viewer, line: 'connect {{.Seed}}'}
marks:
  connected: {log: never, from: viewer}
  success: {probe: [sh, -c, 'grep -q "connect 7" log && { tr "\n" "," < log > "$KEEP"; }'], host: viewer, every: 10ms}
hold: 0s
`)
	kept := filepath.Join(t.TempDir(), "log")
	t.Setenv("KEEP", kept)
	o := tryExternal(t, e, l, Trial{Media: 0, Timeout: 30 * time.Second})
	if o.Outcome != record.Failed || !strings.Contains(o.Cause, "exchanged no packets") {
		t.Errorf("outcome %s: %s", o.Outcome, o.Cause)
	}
	b, _ := os.ReadFile(kept)
	addr := l.Host("camera").Addr()
	if want := fmt.Sprintf("prepared,at %v %v camera 7,media 0 of 7connect 7,", addr, addr); string(b) != want {
		t.Errorf("the commands saw %q, want %q", b, want)
	}
}

func TestExternalLeavesNoDescriptor(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	e := shell(t, 5*time.Second, "echo ready; sleep 9", "echo reached; sleep 9")
	count := func() (descriptors, goroutines int) {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d), runtime.NumGoroutine()
	}
	try := func() { tryExternal(t, e, l, Trial{Timeout: time.Second}) }
	try()
	d, g := count()
	for range 3 {
		try()
	}
	if d2, _ := count(); d2 > d {
		t.Errorf("%d descriptors before, %d after three trials", d, d2)
	}
	eventually(t, fmt.Sprintf("%d goroutines, as before", g), func() bool {
		_, g2 := count()
		return g2 <= g
	})
}

// A device that a program makes and leaves is removed; those of the host stay.
func TestDevicesAreRemoved(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	m := l.Host("camera")
	left, err := newLeftover([]*lab.Machine{m})
	if err != nil {
		t.Fatal(err)
	}
	links := func() (names []string) {
		err := m.Do(func() error {
			h, err := netlink.NewHandle()
			if err != nil {
				return err
			}
			defer h.Close()
			list, err := h.LinkList()
			for _, link := range list {
				names = append(names, link.Attrs().Name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	before := links()
	err = m.Do(func() error {
		h, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		return h.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "left0"}, Mode: netlink.TUNTAP_MODE_TUN})
	})
	if err != nil {
		t.Skipf("make a device: %v", err)
	}
	if len(links()) != len(before)+1 {
		t.Fatalf("devices %v", links())
	}
	if err := left.sweep(nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := links(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("devices %v after the sweep, %v before", got, before)
	}
}

func TestLinesAreReadAsTheyAre(t *testing.T) {
	var got []string
	p := &process{name: "p", line: func(_, line string, _ time.Time) { got = append(got, line) }}
	long := strings.Repeat("x", 3*maxLine)
	p.read(strings.NewReader("one\r\n" + long + "\ntwo\nthree"))
	if len(got) != 4 || got[0] != "one" || !strings.HasPrefix(long, got[1]) || got[2] != "two" || got[3] != "three" {
		t.Errorf("%d lines: %.20q", len(got), got)
	}
	if p.said() != "three" {
		t.Errorf("last words %q", p.said())
	}
}

func TestTimesAndCountsOfLines(t *testing.T) {
	e := parseExternal(t, `
name: x
commands: [{name: a, host: viewer, run: [a]}]
request: {command: a}
marks:
  connected: {log: 'at=(?P<at>\S+) up', from: a}
  success: {log: 'done', from: a}
counts:
  - {log: 'got=(?P<frames_received>\S+) of=(?P<frames_sent>\d+)', from: a}
  - {log: 'late=(?P<latency_s>\S+)', from: a}
`)
	start := time.Unix(1000, 0)
	x := &externalTrial{
		spec: &e.spec, flows: &externalFlows{begun: start}, marks: map[Moment]time.Time{Requested: start}, ready: map[string]bool{},
		changed: make(chan struct{}),
	}
	read := start.Add(time.Second)
	for _, s := range []string{
		"at=999.5 up", // before the request
		"at=1000.25 up", "at=1000.75 up", "at=1970-01-01T00:16:41Z up",
		"got=1 of=3", "got=2 of=4", "got=many of=5", "late=0.5", "late=0.25", "done", "other",
	} {
		x.line("a", s, read)
		x.line("b", "at=1000.1 up", read) // another command's
	}
	if got := x.since(Connected); got != 250*time.Millisecond {
		t.Errorf("connected after %v", got)
	}
	if got := x.since(markSuccess); got != time.Second {
		t.Errorf("success after %v", got)
	}
	m := x.tally.media()
	if m.FramesReceived != 2 || m.FramesSent != 5 || fmt.Sprint(m.LatencyS) != "[0.5 0.25]" {
		t.Errorf("media %+v", m)
	}
	if (&tally{}).media() != nil {
		t.Error("media of nothing")
	}
}
