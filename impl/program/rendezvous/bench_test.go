package rendezvous

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// The benchmarks show what a camera, a keepalive, an introduction and a registration cost a whole server: a process with real
// sockets, its database and its log, of whose processor time everything counts, the kernel's work for it included. What is reported
// for a second is what a core can do, however busy the machine is. What the protocol takes of it alone, impl/rendezvous measures.
//
//	go test ./impl/program/rendezvous -run '^$' -bench Fleet -benchtime 1s -count 5
//
// PUNCHLAB_FLEET names other numbers of cameras, by commas: 10^6 take minutes to come online, most of them for the cameras' sides
// of the handshakes. PUNCHLAB_RENDEZVOUS_PROFILE names a folder for profiles of the server.

// fleetEnv names numbers of cameras.
const fleetEnv = "PUNCHLAB_FLEET"

// fleetSizes are the numbers of cameras.
func fleetSizes(b *testing.B, usual ...int) (all []int) {
	b.Helper()
	text := os.Getenv(fleetEnv)
	if text == "" {
		return usual
	}
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			b.Fatalf("%s: %q is no number of cameras", fleetEnv, s)
		}
		all = append(all, n)
	}
	return all
}

// fleet is a server with cameras online.
type fleet struct {
	*crowd
	n      int
	round  int   // of keepalives and introductions
	atRest int64 // anonymous bytes before the first camera
}

var (
	registerHello = &wire.Register{Version: wire.ProtocolVersion}
	loginHello    = &wire.Login{Version: wire.ProtocolVersion}
)

// step is how much is done between two looks at the time.
const step = 4096

// viewers is how many of them share the introductions.
const viewers = 256

// The server and its cameras are made once for all that is measured with so many of them.
func BenchmarkFleet(b *testing.B) {
	for _, n := range fleetSizes(b, 1_000, 10_000, 100_000) {
		b.Run(fmt.Sprint("cameras=", n), func(b *testing.B) {
			f := newFleet(b, n)
			for _, m := range []struct {
				name string
				run  func(b *testing.B, f *fleet)
			}{{"memory", memory}, {"keepalive", keepalives}, {"single", singles}, {"introduction", introductions}, {"registration", registrations}} {
				b.Run(m.name, func(b *testing.B) {
					f.tb, f.p.tb = b, b
					f.p.profiled(fmt.Sprintf("%s-%d", m.name, n), func() { m.run(b, f) })
					b.ReportMetric(0, "ns/op") // is of both sides
				})
			}
			f.tb, f.p.tb = b, b
			if s := f.p.stats(); len(s.Core.Dropped) > 0 || s.Core.Refused > 0 {
				b.Errorf("%d refused, dropped: %v", s.Core.Refused, s.Core.Dropped)
			}
		})
	}
}

// newFleet puts cameras online, and viewers.
func newFleet(b *testing.B, n int) *fleet {
	b.Helper()
	p := newProcess(b, b.TempDir(), true)
	b.Cleanup(func() { p.tb = b; p.kill() })
	f := &fleet{crowd: newCrowd(p), n: n}
	_, f.atRest = p.resident()
	f.enrol(n, registerHello)
	f.enrol(viewers, loginHello)
	p.written(n + viewers)
	return f
}

// order is the k-th of a round through all cameras in which neighbours are far apart.
func (f *fleet) order(k int) int { return int(uint64(k) * 7_919_777 % uint64(f.n)) }

// memory is of the whole process as it stands, garbage included.
func memory(b *testing.B, f *fleet) {
	var all, anonymous int64
	for b.Loop() {
		all, anonymous = f.p.resident()
	}
	b.ReportMetric(float64(all)/float64(f.n), "B/camera")
	b.ReportMetric(float64(anonymous-f.atRest)/float64(f.n), "more-B/camera") // than at rest, files aside
	b.ReportMetric(float64(all)/(1<<20), "MiB")
	if dir := os.Getenv(profileEnv); dir != "" {
		f.p.ask(&struct{}{}, "heap", filepath.Join(dir, fmt.Sprintf("memory-%d.heap", f.n)))
	}
}

// keepalives are pings in turn, so many under way that the server finds some whenever it looks.
func keepalives(b *testing.B, f *fleet) { f.pings(b, window, step) }

// singles are pings of which each finds a server that has nothing else to do: what it takes where there are few.
func singles(b *testing.B, f *fleet) { f.pings(b, 1, step/8) }

func (f *fleet) pings(b *testing.B, window, step int) {
	var spent time.Duration
	done := 0
	for b.Loop() {
		begun := f.p.used()
		f.exchange(step, window, func(k int) {
			i := f.order(f.round + k)
			f.send(i, f.devices[i].sess.Seal(nil, f.ping))
		}, func(i int, b []byte) bool {
			_, pong := f.open(i, b).(*wire.Pong)
			return pong
		})
		spent += f.p.used() - begun
		f.round += step
		done += step
	}
	b.ReportMetric(float64(done)/spent.Seconds(), "keepalives/s")
	b.ReportMetric(float64(done), "n")
}

// introductions are viewers' requests that cameras take.
func introductions(b *testing.B, f *fleet) {
	var spent time.Duration
	done, introduced := 0, 0
	noise1 := make([]byte, 256)
	for b.Loop() {
		begun := f.p.used()
		f.exchange(step, window, func(k int) {
			v := f.n + k%viewers
			f.send(v, f.devices[v].sess.Seal(nil, f.marshal(&wire.Connect{
				ID: uint64(f.round + k + 1), Camera: f.devices[f.order(f.round+k)].uid, Noise1: noise1, Relay: true,
			})))
		}, func(i int, b []byte) bool {
			switch m := f.open(i, b).(type) {
			case *wire.Introduce:
				introduced++
				f.send(i, f.devices[i].sess.Seal(nil, f.marshal(&wire.IntroduceAck{ID: m.ID})))
			case *wire.Peer:
				return true
			}
			return false
		})
		spent += f.p.used() - begun
		f.round += step
		done += step
	}
	if introduced < done {
		b.Errorf("%d of %d cameras were told", introduced, done)
	}
	b.ReportMetric(float64(done)/spent.Seconds(), "introductions/s")
	b.ReportMetric(float64(done), "n")
}

// registrations are cameras that come online for the first time, and leave afterwards.
func registrations(b *testing.B, f *fleet) {
	bye := f.marshal(&wire.Goodbye{})
	var spent time.Duration
	done := 0
	for b.Loop() {
		first := len(f.devices)
		spent += f.enrol(prepared, registerHello)
		done += prepared
		for i := first; i < len(f.devices); i++ {
			f.send(i, f.devices[i].sess.Seal(nil, bye))
			delete(f.byIndex, f.devices[i].sess.LocalIndex())
		}
		f.flush()
		f.devices = f.devices[:first]
	}
	begun := f.p.used()
	f.p.written(f.p.stats().Core.Registrations)
	spent += f.p.used() - begun // what was written behind
	b.ReportMetric(float64(done)/spent.Seconds(), "registrations/s")
	b.ReportMetric(float64(done), "n")
}
