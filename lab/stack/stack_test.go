package stack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/topologies"
)

func TestMain(m *testing.M) {
	live.Main()
	Main()
	netnstest.Main(m)
}

func newLab(t testing.TB, topology string, settings ...string) *lab.Lab {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	fabric, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fabric.Close() })
	topo, _, err := topologies.Load(topology)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := topo.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(fabric, topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestTryMeasuresWhatHappened(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		topology, camera, viewer, strategy string
		media                              time.Duration
		want                               record.Outcome
	}{
		{"two-homes", "full-cone", "symmetric", "direct", 400 * time.Millisecond, record.Direct},
		{"two-homes", "port-restricted-cone", "restricted-cone", "adaptive", 400 * time.Millisecond, record.Direct},
		{"two-homes", "port-restricted-cone", "symmetric", "adaptive", 400 * time.Millisecond, record.Direct},
		{"two-homes", "symmetric-sequential", "port-restricted-cone", "adaptive", 400 * time.Millisecond, record.Direct},
		{"two-homes", "symmetric", "symmetric", "adaptive", 400 * time.Millisecond, record.Relayed},
		{"two-homes", "port-restricted-cone", "symmetric", "direct", 400 * time.Millisecond, record.Failed},
		{"two-homes", "open", "open", "relay", 400 * time.Millisecond, record.Relayed},
		{"two-homes", "port-restricted-cone", "port-restricted-cone", "direct", 0, record.Direct},
		{"two-homes", "port-restricted-cone", "port-restricted-cone", "tcp", 400 * time.Millisecond, record.Direct},
		{"two-homes", "symmetric", "symmetric", "port-forward", 400 * time.Millisecond, record.Direct},
		{"two-homes", "full-cone", "full-cone", "tls443", 400 * time.Millisecond, record.Relayed},
		{"two-homes", "port-restricted-cone", "symmetric", "turn", 400 * time.Millisecond, record.Relayed},
		{"corporate", "", "", "adaptive", 400 * time.Millisecond, record.Relayed},
		{"same-lan", "", "", "direct", 400 * time.Millisecond, record.Direct},
		{"ipv6-only", "", "", "direct", 400 * time.Millisecond, record.Direct},
		{"ipv6-only", "", "", "relay", 400 * time.Millisecond, record.Relayed},
	} {
		t.Run(fmt.Sprintf("%s/%s×%s/%s/%v", tt.topology, tt.camera, tt.viewer, tt.strategy, tt.media), func(t *testing.T) {
			if tt.strategy == "turn" {
				netnstest.Require(t, "turnserver")
			}
			var set []string
			if tt.camera != "" {
				set = []string{"camera.nat", tt.camera, "viewer.nat", tt.viewer}
			}
			l := newLab(t, tt.topology, append(set, "link", "lan")...)
			o, err := Bundled{}.Try(t.Context(), l, Trial{Seed: 7, Strategy: tt.strategy, Media: tt.media, Timeout: 20 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			check(t, o, tt.want, tt.media)
		})
	}
}

func check(t *testing.T, o Observation, want record.Outcome, length time.Duration) {
	t.Helper()
	if o.Outcome != want {
		t.Fatalf("outcome %s (%s), want %s", o.Outcome, o.Cause, want)
	}
	if want == record.Failed {
		if o.Connect != 0 || o.FirstFrame != 0 || o.Cause == "" {
			t.Errorf("a failed trial connected after %v, had a frame after %v, cause %q", o.Connect, o.FirstFrame, o.Cause)
		}
		return
	}
	if o.Connect <= 0 || o.FirstPacket < o.Connect || o.FirstFrame < o.FirstPacket {
		t.Errorf("connect %v, first packet %v, first frame %v: want them in this order", o.Connect, o.FirstPacket, o.FirstFrame)
	}
	if (o.Cause == "") != (want == record.Direct) {
		t.Errorf("%s with cause %q", want, o.Cause)
	}
	frames := int(length * time.Duration(media.EmbeddedClip().FPS) / time.Second)
	switch m := o.Media; {
	case length == 0:
		if m != nil {
			t.Errorf("a connect-only trial has media %+v", m)
		}
	case m == nil || m.FramesSent != frames || m.FramesReceived != frames || m.FramesIntact != frames:
		t.Errorf("media %+v, want %d frames sent, received and intact", m, frames)
	case len(m.LatencyS) != frames:
		t.Errorf("%d latencies for %d frames", len(m.LatencyS), frames)
	}
}

func TestIdleCameraSendsKeepalivesAlone(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	o, err := Bundled{}.Try(t.Context(), l, Trial{Seed: 7, Strategy: "direct", Idle: time.Second, Timeout: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sent, ok := o.Bytes["camera_idle_up"]
	if !ok || sent > 200 { // one keepalive at most falls into a second
		t.Errorf("a camera without a viewer sent %d bytes in a second (counted: %v)", sent, ok)
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	l := newLab(t, "two-homes", "link", "lan")
	count := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(d)
	}
	try := func() {
		if err := l.Reset(1); err != nil {
			t.Fatal(err)
		}
		if _, err := (Bundled{}).Try(t.Context(), l, Trial{Seed: 7, Strategy: "direct", Timeout: 8 * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	try()
	before := count()
	for range 5 {
		try()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after five trials", before, after)
	}
}

// fast is the clip, played so many times faster.
type fast struct {
	media.Source
	speed int
	sent  *atomic.Int64
}

func (f *fast) Next() (media.AccessUnit, error) {
	au, err := f.Source.Next()
	au.PTS /= time.Duration(f.speed)
	f.sent.Add(int64(len(au.Data)))
	return au, err
}

// BenchmarkMediaGoodput streams the clip ever faster over an unimpaired direct path and reports the fastest goodput that
// arrives whole, beside a flood of plain UDP datagrams of the same size through the same lab.
func BenchmarkMediaGoodput(b *testing.B) {
	l := newLab(b, "two-homes", "camera.nat", "full-cone", "viewer.nat", "full-cone", "link", "perfect")
	raw := rawGoodput(b, l)
	var best float64
	for b.Loop() {
		for _, speed := range []int{100, 150, 200, 250, 300, 400} {
			if err := l.Reset(1); err != nil {
				b.Fatal(err)
			}
			bps, whole := streamFast(b, l, speed)
			if whole {
				best = max(best, bps)
			}
		}
	}
	b.ReportMetric(best/1e6, "Mbit/s")
	b.ReportMetric(raw/1e6, "raw-UDP-Mbit/s")
	b.ReportMetric(best/raw, "of-raw")
}

func streamFast(b *testing.B, l *lab.Lab, speed int) (bps float64, whole bool) {
	b.Helper()
	const length = time.Second
	var sent atomic.Int64
	policy, err := punch.Lookup("direct")
	if err != nil {
		b.Fatal(err)
	}
	x, err := newBundle(b.Context(), l, Trial{Seed: 1, Strategy: "direct", Media: length * time.Duration(speed), Timeout: 8 * time.Second}, policy)
	if err != nil {
		b.Fatal(err)
	}
	defer x.close()
	x.source = func() media.Source { return &limited{&fast{media.EmbeddedClip().Loop(), speed, &sent}, x.watch.frames} }
	if err := x.join(b.Context()); err != nil {
		b.Fatal(err)
	}
	x.viewerDevice.Node().Do(func(now time.Time) { err = x.viewer.Connect(now, x.label, "direct") })
	if err != nil {
		b.Fatal(err)
	}
	select {
	case <-x.watch.over:
	case <-time.After(4 * length):
	}
	o := x.observe()
	if o.Media == nil || o.Media.GoodputBps == nil {
		return 0, false
	}
	return *o.Media.GoodputBps, o.Media.FramesReceived == o.Media.FramesSent
}

// rawGoodput floods datagrams from the camera to the viewer for a second and returns what arrives, in bit/s.
func rawGoodput(b *testing.B, l *lab.Lab) float64 {
	b.Helper()
	const size = 1196
	camera, err := l.Host("camera").ListenUDP(netip.AddrPort{})
	if err != nil {
		b.Fatal(err)
	}
	defer camera.Close()
	viewer, err := l.Host("viewer").ListenUDP(netip.AddrPortFrom(l.Host("viewer").Addr(), 4000))
	if err != nil {
		b.Fatal(err)
	}
	defer viewer.Close()
	_ = viewer.SetReadBuffer(8 << 20)
	to := reflexive(b, l, viewer)
	stop := time.Now().Add(time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := make([]byte, size); time.Now().Before(stop); {
			_, _ = camera.WriteToUDPAddrPort(p, to)
		}
	}()
	var got int
	buf := make([]byte, 2048)
	_ = viewer.SetReadDeadline(stop)
	start := time.Now()
	for {
		n, err := viewer.Read(buf)
		if err != nil {
			break
		}
		got += n
	}
	<-done
	return 8 * float64(got) / time.Since(start).Seconds()
}

// reflexive has the viewer's socket open its full cone and returns how the outside sees it.
func reflexive(b *testing.B, l *lab.Lab, viewer *net.UDPConn) netip.AddrPort {
	b.Helper()
	at := netip.AddrPortFrom(l.Host("rendezvous").Addr(), 4000)
	server, err := l.Host("rendezvous").ListenUDP(at)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	if _, err := viewer.WriteToUDPAddrPort([]byte("open"), at); err != nil {
		b.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, from, err := server.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil {
		b.Fatal(err)
	}
	return from
}
