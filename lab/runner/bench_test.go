package runner_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/topologies"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	live.Main()
	stack.Main()
	if dir := os.Getenv(killedDir); dir != "" {
		if err := runKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	netnstest.Main(m)
}

// plan is one cell, connect-only unless media is asked for.
func plan(t testing.TB, trials int, media time.Duration, settings ...string) runner.Plan {
	t.Helper()
	topo, _, err := topologies.Load("two-homes")
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
	system, err := stack.ForStrategy("direct")
	if err != nil {
		t.Fatal(err)
	}
	cell := runner.Cell{Params: map[string]string{"strategy": "direct"}, System: system, Strategy: "direct", Topology: topo}
	return runner.Plan{Cells: []runner.Cell{cell}, Trials: trials, Seed: 1, Media: media, Timeout: 8 * time.Second}
}

// tally keeps records.
type tally struct {
	mu      sync.Mutex
	records []record.Trial
}

func (k *tally) add(r record.Trial) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, r)
	return nil
}

func (k *tally) sample(f func(record.Trial) *float64) (xs []float64) {
	for _, r := range k.records {
		if v := f(r); v != nil && r.Outcome.HasVerdict() {
			xs = append(xs, *v)
		}
	}
	slices.Sort(xs)
	return xs
}

func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	return xs[int(q*float64(len(xs)-1))]
}

// cpuSeconds is what this process and the fabric have used.
func cpuSeconds(b *testing.B, fabric int) float64 {
	b.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	own := time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", fabric))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	const ticks = 100 // USER_HZ
	return own.Seconds() + float64(user+sys)/ticks
}

// BenchmarkTrials runs connect-only trials (registration, login, punch, one key frame) between two port-restricted cones
// over broadband links, so many at once.
func BenchmarkTrials(b *testing.B) {
	netnstest.Require(b, "netns", "nftables")
	for _, jobs := range []int{1, 32, 128} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			fabric, err := live.Start(live.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer fabric.Close()
			var k tally
			cpu := cpuSeconds(b, fabric.PID())
			b.ResetTimer()
			n := max(1, b.N*min(jobs, 32)/32) // one at a time takes its time
			got, err := runner.Run(b.Context(), plan(b, n, 0), runner.Config{Fabric: fabric, Jobs: jobs, Sink: k.add})
			b.StopTimer()
			if err != nil {
				b.Log(err)
			}
			done := float64(got.Done)
			b.ReportMetric(done/got.Elapsed.Seconds(), "trials/s")
			b.ReportMetric((cpuSeconds(b, fabric.PID())-cpu)*1e3/done, "cpu-ms/trial")
			b.ReportMetric(100*float64(got.Void)/(done+float64(got.Void)), "%void")
			late := k.sample(func(r record.Trial) *float64 {
				if r.Lateness == nil {
					return nil
				}
				return &r.Lateness.P99
			})
			b.ReportMetric(1e6*quantile(late, 0.5), "late-p99-µs")
			ratio := k.sample(record.Trial.FirstPacketRatio)
			b.ReportMetric(quantile(ratio, 0.5), "packet/bound-p50")
		})
	}
}

// BenchmarkFirstFrame is the time to the first packet and frame against their bounds, one trial at a time, for
// endpoint-independent pairs over broadband links (about 50 ms round trip).
func BenchmarkFirstFrame(b *testing.B) {
	netnstest.Require(b, "netns", "nftables")
	for _, pair := range [][2]string{{"full-cone", "full-cone"}, {"port-restricted-cone", "port-restricted-cone"}, {"restricted-cone", "open"}} {
		b.Run(pair[0]+"×"+pair[1], func(b *testing.B) {
			fabric, err := live.Start(live.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer fabric.Close()
			var k tally
			p := plan(b, b.N, 0, "camera.nat", pair[0], "viewer.nat", pair[1])
			if _, err := runner.Run(b.Context(), p, runner.Config{Fabric: fabric, Jobs: 1, Sink: k.add}); err != nil {
				b.Log(err)
			}
			packet, frame := k.sample(record.Trial.FirstPacketRatio), k.sample(record.Trial.FirstFrameRatio)
			b.ReportMetric(quantile(packet, 0.5), "packet/bound-p50")
			b.ReportMetric(quantile(packet, 0.95), "packet/bound-p95")
			b.ReportMetric(quantile(frame, 0.5), "frame/bound-p50")
			b.ReportMetric(quantile(frame, 0.95), "frame/bound-p95")
		})
	}
}
