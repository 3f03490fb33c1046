package rendezvous

import (
	"container/heap"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
)

// herd is cameras as they are, without a viewer: each has its uplink, which finds a server that was killed and is back.
//
//	desk ── herd ─┬─ uplink of camera 0, at 127.16.0.0
//	              ├─ uplink of camera 1, at 127.16.0.1
//	              └─ …
type herd struct {
	*desk
	box     core.Outbox
	cameras []*cam
	byIndex map[uint32]*cam
	due     byDeadline
	begun   int
	up      int
	since   time.Time       // of the server that kills
	back    []time.Duration // when cameras came up, since then
}

// cam is one of a herd.
type cam struct {
	link  *uplink.Link
	i     int
	at    time.Time // its deadline
	place int       // in the heap, from 1; 0: it waits for nothing
}

func newHerd(p *process, n int) *herd {
	h := &herd{desk: newDesk(p.tb, p.at), byIndex: map[uint32]*cam{}, since: time.Now()}
	for i := range n {
		h.cameras = append(h.cameras, h.newCamera(i, p))
	}
	return h
}

func (h *herd) newCamera(i int, p *process) *cam {
	h.tb.Helper()
	key, err := identity.NewKey(rand.Reader)
	if err != nil {
		h.tb.Fatal(err)
	}
	c := &cam{i: i}
	c.link, err = uplink.New(uplink.Config{
		Session: session.Config{Static: key, Rand: rand.Reader, Taken: func(index uint32) bool {
			if h.byIndex[index] != nil {
				return true
			}
			h.byIndex[index] = c // who asks uses it
			return false
		}},
		Rendezvous: p.key, Addrs: []netip.AddrPort{p.at}, Keepalive: 15 * time.Second, Hello: registerHello,
		Up: func(now time.Time, _ wire.Message) {
			h.up++
			h.back = append(h.back, now.Sub(h.since))
		},
		Down: func(time.Time) { h.up-- },
	}, &h.box)
	if err != nil {
		h.tb.Fatal(err)
	}
	return c
}

// did sends what a camera has to say, and arms its timer.
func (h *herd) did(c *cam) {
	for _, p := range h.box.Ready().Packets {
		h.send(c.i, slices.Clone(p.B))
	}
	c.at = c.link.Deadline()
	switch {
	case c.at.IsZero() && c.place > 0:
		heap.Remove(&h.due, c.place-1)
	case c.at.IsZero():
	case c.place > 0:
		heap.Fix(&h.due, c.place-1)
	default:
		heap.Push(&h.due, c)
	}
}

// live has the cameras do what they do until it is enough.
func (h *herd) live(most time.Duration, enough func() bool) {
	h.tb.Helper()
	const look = 10 * time.Millisecond
	for end := time.Now().Add(most); !enough(); {
		now := time.Now()
		if now.After(end) {
			h.tb.Fatalf("%d of %d cameras are served after %v", h.up, len(h.cameras), most)
		}
		for ; h.begun < len(h.cameras) && h.begun-h.up < window; h.begun++ {
			h.box.Begin()
			if err := h.cameras[h.begun].link.Start(now); err != nil {
				h.tb.Fatal(err)
			}
			h.did(h.cameras[h.begun])
		}
		for n := 0; n < deskBatch && len(h.due) > 0 && core.Due(now, h.due[0].at); n++ {
			c := h.due[0]
			h.box.Begin()
			c.link.HandleTimeout(now)
			h.did(c)
		}
		h.flush()
		until := now.Add(look)
		if len(h.due) > 0 && h.due[0].at.Before(until) {
			until = h.due[0].at
		}
		if !until.After(now) {
			until = now.Add(100 * time.Microsecond) // what has come is read in any case
		}
		h.read(until, h.take)
		h.flush()
	}
}

// take hands a datagram to its camera.
func (h *herd) take(b []byte) {
	index, _ := session.ReceiverIndex(b)
	c := h.byIndex[index]
	if c == nil || !c.link.Owns(index) {
		return
	}
	h.box.Begin()
	_, _ = c.link.Handle(time.Now(), c.link.Remote(), b) // what is too late is dropped, as it should be
	h.did(c)
}

// A server is killed and started again with its limits in force: cookies from 1,000 handshakes a second on, and 2,000 of them at
// most. How soon do the cameras, which ping every 15 s, have a session again? These are seconds that pass, since what they wait for
// is mostly their timers: on a busy machine some more.
func BenchmarkFleetRestart(b *testing.B) {
	for _, n := range fleetSizes(b, 1_000, 10_000, 30_000) {
		b.Run(fmt.Sprint("cameras=", n), func(b *testing.B) {
			var ready, half, most, all, spent []float64
			var cookies, late int64
			for b.Loop() {
				p := newProcess(b, b.TempDir(), true)
				h := newHerd(p, n)
				h.live(5*time.Minute, func() bool { return h.up == n })
				p.written(n)
				p.kill()
				p.o.Unbounded = false
				h.since, h.back = time.Now(), nil
				p.start()
				ready = append(ready, time.Since(h.since).Seconds())
				p.profiled(fmt.Sprint("restart-", n), func() {
					h.live(5*time.Minute, func() bool { return len(h.back) >= n && h.up == n })
				})
				all = append(all, h.back[len(h.back)-1].Seconds())
				half = append(half, h.back[n/2].Seconds())
				most = append(most, h.back[n*99/100].Seconds())
				spent = append(spent, p.used().Seconds())
				s := p.stats()
				cookies, late = s.Core.Cookies, s.Core.Dropped["more handshakes than are taken in a second"]
				p.kill()
			}
			b.ReportMetric(0, "ns/op")
			for _, m := range []struct {
				of   []float64
				unit string
			}{{ready, "s-ready"}, {half, "s-half"}, {most, "s-99%"}, {all, "s-all"}, {spent, "cpu-s"}} {
				b.ReportMetric(middle(m.of), m.unit)
			}
			b.ReportMetric(float64(cookies), "cookies")
			b.ReportMetric(float64(late), "dropped")
			b.ReportMetric(float64(len(all)), "n")
		})
	}
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// byDeadline is a heap.
type byDeadline []*cam

func (h *byDeadline) Len() int           { return len(*h) }
func (h *byDeadline) Less(i, j int) bool { return (*h)[i].at.Before((*h)[j].at) }
func (h *byDeadline) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i+1, j+1
}
func (h *byDeadline) Push(x any) {
	c := x.(*cam)
	*h = append(*h, c)
	c.place = len(*h)
}
func (h *byDeadline) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	c.place = 0
	return c
}
