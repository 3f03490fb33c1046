package runner_test

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// available is what the kernel could still hand out, in bytes: it counts this process, the fabric and the kernel's own
// structures, namespaces and rules among them.
func available(b *testing.B) float64 {
	b.Helper()
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var kib float64
		if n, _ := fmt.Sscanf(in.Text(), "MemAvailable: %f kB", &kib); n == 1 {
			return kib * 1024
		}
	}
	b.Fatal("/proc/meminfo has no MemAvailable")
	return 0
}

// BenchmarkMemory runs trials with a second of video, 64 at once, and reports what each costs of the machine's memory:
// namespaces, rules, sockets, nodes and all.
func BenchmarkMemory(b *testing.B) {
	netnstest.Require(b, "netns", "nftables")
	const jobs = 64
	for b.Loop() {
		before := available(b)
		fabric, err := live.Start(live.Options{})
		if err != nil {
			b.Fatal(err)
		}
		least, most := before, 0
		watch := func(_ record.Trial, p runner.Progress) {
			least, most = min(least, available(b)), max(most, p.Running+1)
		}
		var k tally
		c := runner.Config{Fabric: fabric, Jobs: jobs, Late: time.Hour, Sink: k.add, Watch: watch}
		if _, err := runner.Run(b.Context(), plan(b, 6*jobs, time.Second), c); err != nil {
			b.Log(err)
		}
		fabric.Close()
		b.ReportMetric((before-least)/float64(most)/(1<<20), "MiB/trial")
		b.ReportMetric(float64(most), "at-once")
	}
}
