package stack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
)

// requireExternal loads a system of the program's own, and skips the test without its programs, or fails it if PUNCHLAB_REQUIRE
// names the system.
func requireExternal(t *testing.T, name string) *External {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	e, err := LoadExternal(name)
	if err != nil {
		t.Fatal(err)
	}
	if built, err := filepath.Abs("../../bin/" + name); err == nil && os.Getenv(programVariable(name)) == "" {
		if _, err := os.Stat(built); err == nil {
			t.Setenv(programVariable(name), built)
		}
	}
	if missing := e.Missing(); missing != "" {
		if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), name) {
			t.Fatalf("%s is required here: %s", name, missing)
		}
		t.Skip(missing)
	}
	return e
}

func tryExternal(t *testing.T, e *External, l *lab.Lab, x Trial) Observation {
	t.Helper()
	x.Seed, x.Strategy = 7, e.Name()
	o, err := e.Try(t.Context(), l, x)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestNebula(t *testing.T) {
	e := requireExternal(t, "nebula")
	// Nebula 1.6 does not look for a direct path once it relays, which it does sooner than it punches.
	for _, tt := range []struct {
		camera, viewer string
		want           record.Outcome
	}{{"full-cone", "port-restricted-cone", record.Direct}, {"port-restricted-cone", "symmetric", record.Relayed}} {
		t.Run(tt.camera+"×"+tt.viewer, func(t *testing.T) {
			l := newLab(t, "two-homes", "camera.nat", tt.camera, "viewer.nat", tt.viewer, "link", "lan")
			o := tryExternal(t, e, l, Trial{Timeout: 8 * time.Second})
			if o.Outcome != tt.want {
				t.Errorf("outcome %s (%s), want %s", o.Outcome, o.Cause, tt.want)
			}
			if o.Connect <= 0 {
				t.Error("no time of the connection")
			}
			if (o.FirstPacket > 0) != (tt.want == record.Direct) {
				t.Errorf("first direct packet after %v", o.FirstPacket)
			}
		})
	}
}

func TestDCUtR(t *testing.T) {
	e := requireExternal(t, "dcutr")
	for viewer, want := range map[string]record.Outcome{"port-restricted-cone": record.Direct, "symmetric": record.Relayed} {
		t.Run(viewer, func(t *testing.T) {
			timeout := 20 * time.Second
			if want == record.Relayed {
				timeout = 8 * time.Second // it would try for longer
			}
			l := newLab(t, "two-homes", "viewer.nat", viewer, "link", "lan")
			const length = 400 * time.Millisecond
			var moments []Moment
			reached := func(m Moment) { moments = append(moments, m) }
			o := tryExternal(t, e, l, Trial{Media: length, Timeout: timeout, Reached: reached})
			check(t, o, want, length)
			if o.FirstFrameWire < len(media.EmbeddedClip().At(0).Data) {
				t.Errorf("the first frame has %d bytes on the wire", o.FirstFrameWire)
			}
			if (o.PathChanges == 1) != (want == record.Direct) {
				t.Errorf("%d path changes", o.PathChanges)
			}
			if d := fmt.Sprint(moments); d != "[requested connected first-packet first-frame]" {
				t.Errorf("moments %s", d)
			}
		})
	}
}

// pinger is a system that every machine with ping can run: without NATs one host pings the other.
const pinger = `
name: pinger
programs: [{name: ping, package: iputils-ping}]
commands:
  - {name: other, host: camera, run: [ping, -n, -i, "0.2", -c, "15", '{{addr "viewer"}}']}
  - {name: ping, host: viewer, run: [ping, -n, -i, "0.2", -c, "5", '{{addr "camera"}}']}
request: {command: ping}
marks:
  connected: {log: 'bytes from', from: ping}
  success: {packets: 3}
  over: {exit: other} # so that nothing is under way at the end
`

// What the taps count is what the lab's own capture has.
func TestTapsAgreeWithCapture(t *testing.T) {
	netnstest.Require(t, "ping")
	l := newLab(t, "two-homes", "camera.nat", "open", "viewer.nat", "open", "link", "lan")
	name := filepath.Join(t.TempDir(), "trial.pcapng")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := l.Capture(f); err != nil {
		t.Fatal(err)
	}
	e := parseExternal(t, pinger)
	x, err := newExternalTrial(e, l, Trial{Seed: 7, Strategy: e.Name(), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	o, err := x.run(t.Context())
	ended := time.Now()
	if err := errors.Join(err, x.close(), l.StopCapture()); err != nil {
		t.Fatal(err)
	}
	asked := x.flows.begun // by the trial's own word: whoever is told of the request is told later, on a busy machine by much
	if o.Outcome != record.Direct {
		t.Fatalf("outcome %s (%s)", o.Outcome, o.Cause)
	}
	trace, err := capture.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	line, err := trace.Timeline(capture.View{Roles: l.Topology().Roles("viewer", "rendezvous", "camera")})
	if err != nil {
		t.Fatal(err)
	}
	// The capture has when the fabric gives a packet to the viewer's device, the taps when the device has it: on a busy machine the
	// fabric may lose the processor in between. It is half of what is between two pings.
	const late = 100 * time.Millisecond
	var camera, viewer int64
	var came []time.Duration // since the request, to the viewer, also what was sent before it
	for _, j := range line.Journeys {
		since := j.Start() - trace.At(asked)
		if at, ok := j.Delivered(); ok && j.Kind == capture.Echo && j.Src.Addr() == l.Host("camera").Addr() && at > trace.At(asked)-late {
			came = append(came, at-trace.At(asked))
		}
		switch {
		case since < -time.Millisecond || j.Start() > trace.At(ended) || j.Kind != capture.Echo:
		case j.Src.Addr() == l.Host("camera").Addr():
			camera += int64(j.Size)
		case j.Src.Addr() == l.Host("viewer").Addr():
			viewer += int64(j.Size)
		}
	}
	const ping = 84 // bytes: one more or less, for where the trial ends
	if d := o.Bytes["camera_up"] - camera; d < -2*ping || d > 2*ping {
		t.Errorf("camera sent %d bytes by the taps, %d by the capture", o.Bytes["camera_up"], camera)
	}
	if d := o.Bytes["viewer_up"] - viewer; d < -2*ping || d > 2*ping {
		t.Errorf("viewer sent %d bytes by the taps, %d by the capture", o.Bytes["viewer_up"], viewer)
	}
	if !slices.ContainsFunc(came, func(d time.Duration) bool { return d < o.FirstPacket+time.Millisecond && d > o.FirstPacket-late }) ||
		slices.ContainsFunc(came, func(d time.Duration) bool { return d > 0 && d < o.FirstPacket-late }) {
		t.Errorf("first packet after %v by the taps, after %v by the capture", o.FirstPacket, came)
	}
}

func parseExternal(t *testing.T, text string) *External {
	t.Helper()
	e, err := ParseExternal("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// shell is a system of shell commands: the camera's, and the viewer's, which makes the request.
func shell(t *testing.T, start time.Duration, camera, viewer string) *External {
	t.Helper()
	return parseExternal(t, fmt.Sprintf(`
name: shell
commands:
  - {name: camera, host: camera, run: [sh, -c, %q], ready: {log: ready}}
  - {name: viewer, host: viewer, run: [sh, -c, %q]}
request: {command: viewer}
marks:
  success: {log: reached, from: viewer}
start: %v
hold: 0s
`, camera, viewer, start))
}

func TestExternalFailures(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	for _, tt := range []struct {
		name, camera, viewer string
		want                 record.Outcome
		cause                string
	}{
		{"nothing flowed", "echo ready; sleep 60", "echo reached", record.Failed, "exchanged no packets"},
		{"never ready", "echo wait; sleep 60", "", record.Failed, "camera on host camera was not ready within 500ms"},
		{"ended early", "echo no such key; exit 3", "", record.Failed, "camera on host camera ended with exit code 3: no such key"},
		{"can't", "echo no kernel module; exit 127", "", record.Unsupported, "ended with exit code 127: no kernel module"},
		{"gave up", "echo ready; sleep 60", "echo no way; exit 1", record.Failed, "viewer on host viewer ended with exit code 1: no way"},
		{"took too long", "echo ready; sleep 60", "sleep 60", record.Failed, "did not succeed within the trial's time"},
		{"says nothing", "kill -9 $$", "", record.Failed, "ended with exit code 137 and said nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// What ends a trial by itself has all the time in the world: a machine may be slow to start a shell.
			start, timeout := 30*time.Second, 30*time.Second
			switch tt.name {
			case "never ready":
				start = 500 * time.Millisecond
			case "took too long":
				timeout = 300 * time.Millisecond
			}
			o := tryExternal(t, shell(t, start, tt.camera, tt.viewer), l, Trial{Timeout: timeout})
			if o.Outcome != tt.want || !strings.Contains(o.Cause, tt.cause) {
				t.Errorf("outcome %s: %s\nwant %s: %s", o.Outcome, o.Cause, tt.want, tt.cause)
			}
		})
	}
}

func TestMissingProgramIsUnsupported(t *testing.T) {
	more := "programs: [{name: no-such-program, package: nothing}, {name: not-built, make: peers}, "
	e := parseExternal(t, strings.Replace(pinger, "programs: [", more, 1))
	l := newLab(t, "two-homes", "link", "lan")
	o := tryExternal(t, e, l, Trial{Timeout: time.Second})
	want := "no-such-program is not installed: apt-get install nothing; " +
		"not-built is not built: make peers, or say where it is by PUNCHLAB_NOT_BUILT"
	if o.Outcome != record.Unsupported || o.Cause != want {
		t.Errorf("outcome %s: %s\nwant %s", o.Outcome, o.Cause, want)
	}
}

// A trial ends what its commands started: what ignores SIGTERM, what went into a group or session of its own, what was
// left by a parent that ended; and it removes its folder.
func TestNothingIsLeft(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	l := newLab(t, "two-homes", "link", "lan")
	scratch := filepath.Join(t.TempDir(), "scratch")
	e := shell(t, 30*time.Second, "pwd > "+scratch+`; trap "" TERM; setsid sleep 7001 & (setsid sleep 7002 &) & (sleep 7003 &)
		sleep 7004 & echo ready; wait`, "echo reached; sleep 7005")
	tryExternal(t, e, l, Trial{Timeout: 300 * time.Millisecond})
	var hosts []*lab.Machine
	for _, h := range externalHosts {
		hosts = append(hosts, l.Host(h))
	}
	now, err := newLeftover(hosts)
	if err != nil {
		t.Fatal(err)
	}
	alive, _ := survey(now.spaces, nil)
	for _, pid := range alive {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		t.Errorf("process %d is left: %q", pid, b)
	}
	for end := time.Now().Add(sweepPatience); len(zombies()) > 0; { // whoever waits for one may not have had its turn
		if time.Now().After(end) {
			t.Errorf("zombies %v are left", zombies())
			break
		}
	}
	b, _ := os.ReadFile(scratch)
	if dir := strings.TrimSpace(string(b)); dir == "" {
		t.Error("the command did not run")
	} else if _, err := os.Stat(dir); err == nil {
		t.Errorf("folder %s is left", dir)
	}
}

// zombies are this process's children that ended and are still there.
func zombies() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent, _, state := status(pid); state == "Z" && parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
