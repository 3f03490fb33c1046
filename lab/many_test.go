package lab_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"golang.org/x/sys/unix"
)

// BenchmarkTopologies has so many topologies up at once, on either engine: how long it takes until all are up, and to reset
// all. Each one works: its camera reaches its rendezvous.
func BenchmarkTopologies(b *testing.B) {
	for _, engine := range lab.RouterEngines() {
		for _, n := range []int{1, 100, 500} {
			b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) {
				f, topo := startFabric(b), on(b, engine, "two-homes", "link", "lan")
				var setUp, reset time.Duration
				for range b.N {
					start := time.Now()
					labs := upMany(b, n, func() (*lab.Lab, error) { return lab.Up(f, topo, 1) })
					setUp += time.Since(start)
					for _, l := range labs {
						if _, err := ask(b, l, "camera", "rendezvous"); err != nil {
							b.Errorf("one of %d topologies does not work: %v", n, err)
						}
					}
					start = time.Now()
					for _, l := range labs {
						if err := l.Reset(2); err != nil {
							b.Error(err)
						}
					}
					reset += time.Since(start)
					b.StopTimer()
					for _, l := range labs {
						l.Close()
					}
					b.StartTimer()
				}
				all := float64(b.N * n)
				b.ReportMetric(float64(setUp.Milliseconds())/all, "ms/setup")
				b.ReportMetric(float64(reset.Microseconds())/1e3/all, "ms/reset")
				b.ReportMetric(setUp.Seconds()/float64(b.N), "s/all-up")
			})
		}
	}
}

// upMany makes n labs, four at a time. A machine that lets too few files be open is no failure.
func upMany(b *testing.B, n int, up func() (*lab.Lab, error)) []*lab.Lab {
	labs, errs := make([]*lab.Lab, n), make([]error, n)
	var wg sync.WaitGroup
	turns := make(chan struct{}, 4)
	for i := range n {
		wg.Go(func() {
			turns <- struct{}{}
			labs[i], errs[i] = up()
			<-turns
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		return labs
	}
	for _, l := range labs {
		if l != nil {
			l.Close()
		}
	}
	if errors.Is(err, unix.EMFILE) {
		b.Skipf("%d topologies need more open files than this machine allows", n)
	}
	b.Fatal(err)
	return nil
}
