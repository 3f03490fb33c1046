package live_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

const (
	rounds    = 5 // of each path, in turn: both see the same machine
	floodTime = 400 * time.Millisecond
)

// BenchmarkFabricThroughput floods pairs of hosts through the fabric and, between its rounds, through the kernel's own
// forwarding between veth pairs. Each operation is a whole flood of all rounds.
func BenchmarkFabricThroughput(b *testing.B) {
	netnstest.Require(b, "netns")
	for _, o := range []live.Options{{}, {NoTUN: true}} {
		for _, pairs := range []int{1, 100} {
			for _, size := range []int{100, 1200} {
				b.Run(fmt.Sprintf("%s/pairs=%d/size=%d", map[bool]string{false: "tun", true: "veth"}[o.NoTUN], pairs, size), func(b *testing.B) {
					ours, kernels := fabricPath(b, o, pairs), forwardingPath(b, pairs)
					for b.Loop() {
						var fabric, kernel, cpu []float64
						for range rounds {
							before := ours.cpu(b)
							fabric = append(fabric, floodPath(b, ours, size))
							cpu = append(cpu, (ours.cpu(b)-before).Seconds()/floodTime.Seconds())
							kernel = append(kernel, floodPath(b, kernels, size))
						}
						f, k := median(fabric), median(kernel)
						b.ReportMetric(f, "kpps")
						b.ReportMetric(k, "kernel-kpps")
						b.ReportMetric(100*f/k, "%of-kernel")
						b.ReportMetric(median(cpu), "fabric-cpus")
						b.ReportMetric(0, "ns/op")
					}
				})
			}
		}
	}
}

// floodPath returns how many thousand packets of size bytes arrive a second when as many are sent as can be.
func floodPath(b *testing.B, p *path, size int) float64 {
	const d, headers = floodTime, 28
	from, to := p.sockets(b, 9000)
	defer closeAll(append(from, to...)...)
	s := newSink(b, to, false)
	defer s.end()
	send(from, size-headers, 32, 0, d, false)
	return float64(s.packets.Load()) / d.Seconds() / 1000
}

// BenchmarkFabricTCP sends a TCP stream through the fabric, where it passes unsplit, and between its rounds through a
// veth pair.
func BenchmarkFabricTCP(b *testing.B) {
	netnstest.Require(b, "netns")
	ours, cables := fabricPath(b, live.Options{}, 1), vethPath(b, 1)
	for b.Loop() {
		var fabric, veth []float64
		for range rounds {
			fabric = append(fabric, bulk(b, ours))
			veth = append(veth, bulk(b, cables))
		}
		b.ReportMetric(median(fabric), "Gbit/s")
		b.ReportMetric(median(veth), "veth-Gbit/s")
		b.ReportMetric(0, "ns/op")
	}
}

// bulk returns the Gbit/s of a TCP stream from a to b.
func bulk(b *testing.B, p *path) float64 {
	b.Helper()
	const d = 500 * time.Millisecond
	at := netip.AddrPortFrom(p.addrB[0], 9100)
	var l net.Listener
	if err := p.b[0].Do(func() (err error) { l, err = net.Listen("tcp4", at.String()); return err }); err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	received := make(chan float64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- 0
			return
		}
		defer c.Close()
		began := time.Now()
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<20))
		received <- float64(n) * 8 / time.Since(began).Seconds() / 1e9
	}()
	var c net.Conn
	if err := p.a[0].Do(func() (err error) { c, err = net.DialTimeout("tcp4", at.String(), patience); return err }); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	for began := time.Now(); time.Since(began) < d; {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	return <-received
}

// BenchmarkFabricLatency sends single packets through an otherwise idle path without delay, and reports what the fabric
// adds to the time that the kernel's forwarding takes. Measured by the kernel's stamp at the receiver.
func BenchmarkFabricLatency(b *testing.B) {
	netnstest.Require(b, "netns")
	for _, o := range []live.Options{{}, {Precise: true}, {NoTUN: true}} {
		b.Run(variant(o), func(b *testing.B) {
			ours, kernels := fabricPath(b, o, 1), forwardingPath(b, 1)
			for b.Loop() {
				var fabric, kernel []time.Duration
				for range rounds {
					fabric = append(fabric, delays(b, ours, 1000, 300*time.Millisecond)...)
					kernel = append(kernel, delays(b, kernels, 1000, 300*time.Millisecond)...)
				}
				for _, q := range []struct {
					p    float64
					name string
				}{{.5, "p50"}, {.99, "p99"}} {
					f, k := quantile(fabric, q.p), quantile(kernel, q.p)
					b.ReportMetric(micro(f-k), "µs-added-"+q.name)
					b.ReportMetric(micro(k), "µs-kernel-"+q.name)
				}
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

func variant(o live.Options) string {
	switch {
	case o.NoTUN:
		return "veth"
	case o.Precise:
		return "precise"
	}
	return "tun"
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// delays sends stamped packets at the rate, and returns how long each was on its way.
func delays(b *testing.B, p *path, rate float64, d time.Duration) []time.Duration {
	from, to := p.sockets(b, 9200)
	defer closeAll(append(from, to...)...)
	s := newSink(b, to, true)
	sent := send(from, 72, 1, rate, d, true)
	for deadline := time.Now().Add(time.Second); int(s.packets.Load()) < sent && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	s.end()
	return s.delays
}

// BenchmarkFabricDelay sends stamped packets over links with a delay while 100 Mbit/s pass beside them, and reports by
// how much each delay was off: as the receiver's kernel saw it, with the wake-ups of both ends, and as the fabric counts
// its lateness. The bound is 0.
func BenchmarkFabricDelay(b *testing.B) {
	netnstest.Require(b, "netns")
	steps := []time.Duration{5, 20, 50, 100}
	var profiles []link.Profile
	for i := range steps {
		steps[i] *= time.Millisecond
		profiles = append(profiles, link.Profile{Up: link.Impairment{Delay: steps[i]}})
	}
	for _, o := range []live.Options{{}, {Precise: true}, {NoTUN: true}} {
		for _, load := range []float64{0, 100e6} {
			b.Run(fmt.Sprintf("%s/load=%gMbit", variant(o), load/1e6), func(b *testing.B) {
				p := fabricPath(b, o, len(steps), profiles...)
				for b.Loop() {
					reportDelays(b, p, steps, load)
				}
			})
		}
	}
}

func reportDelays(b *testing.B, p *path, steps []time.Duration, load float64) {
	const d, size = 1500 * time.Millisecond, 1200
	if err := p.net.Reset(1); err != nil {
		b.Fatal(err)
	}
	if load > 0 {
		from, to := p.sockets(b, 9300)
		s := newSink(b, to, false)
		loaded := make(chan struct{})
		go func() {
			defer close(loaded)
			send(from, size-28, 8, load/8/size, d, false)
		}()
		defer func() {
			<-loaded
			s.end()
			closeAll(append(from, to...)...)
		}()
	}
	var all []time.Duration
	results := make(chan []time.Duration)
	for i, delay := range steps {
		go func() {
			one := &path{a: p.a[i : i+1], b: p.b[i : i+1], addrA: p.addrA[i : i+1], addrB: p.addrB[i : i+1]}
			errors := delays(b, one, 250, d)
			for k := range errors {
				errors[k] -= delay
			}
			results <- errors
		}()
	}
	for range steps {
		all = append(all, <-results...)
	}
	s, err := p.net.Stats()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(micro(quantile(all, .5)), "µs-error-p50")
	b.ReportMetric(micro(quantile(all, .99)), "µs-error-p99")
	b.ReportMetric(micro(s.Lateness.P50), "µs-late-p50")
	b.ReportMetric(micro(s.Lateness.P99), "µs-late-p99")
	b.ReportMetric(0, "ns/op")
}
