package rtsp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/plug"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/live"
)

// plugged is a camera whose port its owner has forwarded, in a lab where all is watched.
func plugged(t *testing.T, settings ...string) (b *box, x *plug.Box, tp *tape.Tape, external netip.AddrPort, view func(seconds int) (*exec.Cmd, string)) {
	t.Helper()
	require(t)
	f, err := live.Start(live.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	l := home(t, f, settings...)
	b = newBox(t)
	x, err = plug.Attach(t.Context(), l, "camera", plug.Options{Interface: "eth7", From: b.machine})
	must(t, err)
	t.Cleanup(func() { must(t, x.Close()) })
	tp = tape.New()
	t.Cleanup(func() { must(t, tp.Close()) })
	must(t, tp.Watch(l.Host("viewer")))
	must(t, tp.WatchOutlet(x.Outlet(), "camera"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = x.Await(ctx)
	must(t, err)
	external, err = x.Forward(port)
	must(t, err)
	return b, x, tp, external, func(seconds int) (*exec.Cmd, string) { return viewer(t, l, "viewer", external, seconds) }
}

// some is how many frames of 25 a second come in two, of two packets each and more, however busy the machine is.
const some = 20

// A viewer outside gets the camera's pictures through the port that was forwarded, and its packets are seen on its cable.
func TestViewerOutside(t *testing.T) {
	t.Parallel()
	b, x, tp, external, view := plugged(t)
	mark := tp.Mark()
	cmd, file := view(2)
	must(t, cmd.Wait())
	frames := read(t, file)
	if n := len(frames); n < some || n > 10*some { // nor all that it has at once
		t.Errorf("%d frames came in two seconds of 25 each", n)
	}
	for i, f := range frames {
		if f.N != i+1 || f.Size < 100 || len(f.SHA256) != 64 || i > 0 && f.T < frames[i-1].T {
			t.Fatalf("frame %d is %+v", i, f)
		}
	}
	lease := x.Leases()[0]
	if lease.Hostname != "frontdoor" || lease.Vendor != "traditional camera" {
		t.Errorf("the box calls itself %q %q", lease.Hostname, lease.Vendor)
	}
	media := tp.Packets(mark, tape.At("camera"), tape.Out, tape.Media)
	if len(media) < 2*some {
		t.Fatalf("%d media packets were seen on the cable", len(media))
	}
	for _, p := range media {
		if p.Src != netip.AddrPortFrom(lease.Addr, port) {
			t.Fatalf("media came from %v", p.Src)
		}
	}
	came := tape.Match(func(p *tape.Packet) bool { return p.Src == external })
	if n := tp.Count(mark, tape.At("viewer"), tape.In, tape.Media, came); n < 2*some {
		t.Errorf("%d media packets came to the viewer from %v", n, external)
	}

	at := time.Now()
	must(t, b.hook("power"))
	if d := time.Since(at); d < time.Second {
		t.Errorf("the power was cut for %v", d)
	}
	await(t, "the RTSP server after the power was cut", func() bool { return listens(t, x) })
	cmd, file = view(1)
	must(t, cmd.Wait())
	if n := len(read(t, file)); n < some/2 {
		t.Errorf("%d frames came after the power was cut", n)
	}
}

// What the adapter does not know it answers as CONTRACT.md says.
func TestAdapterIsHonest(t *testing.T) {
	require(t)
	for _, env := range [][]string{
		{"PUNCHLAB_CASE=QXZ-17", "PUNCHLAB_ROLE=viewer", "PUNCHLAB_ACTION=run"},
		{"PUNCHLAB_CASE=MED-2", "PUNCHLAB_ROLE=relay", "PUNCHLAB_ACTION=run"},
		{"PUNCHLAB_CASE=MED-2", "PUNCHLAB_ROLE=camera", "PUNCHLAB_ACTION=reset"},
	} {
		cmd := exec.Command("testdata/adapter.py")
		cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
		_ = cmd.Run()
		if c := cmd.ProcessState.ExitCode(); c != 127 {
			t.Errorf("%v: exit code %d", env, c)
		}
	}
}

// listens reports whether the camera takes connections, as its router sees it.
func listens(t *testing.T, x *plug.Box) bool {
	t.Helper()
	at := netip.AddrPortFrom(x.Leases()[0].Addr, port)
	return x.Outlet().Do(func() error {
		c, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", at.String())
		if err == nil {
			c.Close()
		}
		return err
	}) == nil
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

type frame struct {
	N      int     `json:"n"`
	T      float64 `json:"t"`
	Size   int     `json:"size"`
	SHA256 string  `json:"sha256"`
}

func read(t *testing.T, file string) (all []frame) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	for _, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
		var f frame
		must(t, json.Unmarshal(line, &f))
		all = append(all, f)
	}
	return all
}
