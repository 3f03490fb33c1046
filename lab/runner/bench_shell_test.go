package runner_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"golang.org/x/sys/unix"
)

// BenchmarkShell has trials of one cell by the runner, and by a shell script with iproute2 and nft (testdata/cell.sh): the same
// rendezvous, camera and viewer, each behind a Linux router that masquerades, from registration to the first key frame. One at a
// time, and as many at once as either can use. An operation is a round of them.
func BenchmarkShell(b *testing.B) {
	netnstest.Require(b, "netns", "nftables", "go", "ip", "nft", "bash", "unshare")
	binary := filepath.Join(b.TempDir(), "punchlab")
	if out, err := exec.Command("go", "build", "-o", binary, "../punchlab").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	b.Run("script", func(b *testing.B) { scripted(b, binary, 1, 5) })
	b.Run("script×8", func(b *testing.B) { scripted(b, binary, 8, 5) })
	b.Run("runner,jobs=1", func(b *testing.B) { byRunner(b, 1, 50) })
	b.Run("runner", func(b *testing.B) { byRunner(b, 0, 1000) })
}

// scripted has so many scripts at once do so many trials each.
func scripted(b *testing.B, binary string, scripts, trials int) {
	cpu, done := childrensSeconds(b), 0
	for b.Loop() {
		var all sync.WaitGroup
		outs := make([]bytes.Buffer, scripts)
		for i := range scripts {
			cmd := exec.CommandContext(b.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
				"bash", "testdata/cell.sh", binary, b.TempDir(), strconv.Itoa(trials))
			cmd.Stdout, cmd.Stderr = &outs[i], os.Stderr
			all.Go(func() {
				if err := cmd.Run(); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		for _, out := range outs {
			n := bytes.Count(out.Bytes(), []byte(`"path":"direct"`))
			if done += n; n != trials {
				b.Logf("%d of %d trials went direct", n, trials)
			}
		}
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "trials/s")
	b.ReportMetric((childrensSeconds(b)-cpu)*1e3/float64(done), "cpu-ms/trial")
}

// byRunner has so many trials, as many at once as jobs says.
func byRunner(b *testing.B, jobs, trials int) {
	fabric, err := live.Start(live.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer fabric.Close()
	var cpu, done = cpuSeconds(b, fabric.PID()), 0
	for b.Loop() {
		var k tally
		p := plan(b, trials, 0, "camera.nat", "linux", "viewer.nat", "linux", "link", "lan")
		if _, err := runner.Run(b.Context(), p, runner.Config{Fabric: fabric, Jobs: jobs, Sink: k.add}); err != nil {
			b.Log(err)
		}
		for _, r := range k.records {
			if r.Outcome == record.Direct {
				done++
			}
		}
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "trials/s")
	b.ReportMetric((cpuSeconds(b, fabric.PID())-cpu)*1e3/float64(done), "cpu-ms/trial")
}

// childrensSeconds is what processes that have ended have used.
func childrensSeconds(b *testing.B) float64 {
	b.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &ru); err != nil {
		b.Fatal(err)
	}
	return (time.Duration(ru.Utime.Nano()) + time.Duration(ru.Stime.Nano())).Seconds()
}
