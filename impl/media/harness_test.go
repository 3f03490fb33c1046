package media

import (
	"container/heap"
	"crypto/sha256"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

// testKeys stands for a session's exporter.
func testKeys(seed string) Keys {
	return NewKeys(func(label string, n int) []byte {
		sum := sha256.Sum256([]byte(seed + "\x00" + label))
		return sum[:n]
	})
}

func newPair(t testing.TB, sc SenderConfig, rc ReceiverConfig) (*Sender, *Receiver) {
	t.Helper()
	sc.Keys, rc.Keys = testKeys("pair"), testKeys("pair")
	s, err := NewSender(sc)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReceiver(rc)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

// impairment is what the test's link does to each packet.
type impairment struct {
	Loss, Duplicate float64
	Delay, Jitter   time.Duration // one way; each packet draws its own jitter, so packets overtake
}

// link carries packets both ways between a sender and a receiver in virtual time.
type link struct {
	t        *testing.T
	now      time.Time
	rng      *rand.Rand
	media    impairment // camera to viewer
	feedback impairment // viewer to camera
	drop     func(b []byte, at time.Duration) bool

	s      *Sender
	r      *Receiver
	queue  events
	order  uint64
	frames []Frame
	lost   int // media packets, repairs included
	sent   int
	plis   int
	fb     Feedback // last report

	arrivals func(*rtcp.TransportLayerCC)
}

type event struct {
	at    time.Time
	order uint64
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newLink(t *testing.T, seed uint64, s *Sender, r *Receiver) *link {
	return &link{t: t, now: epoch, rng: rand.New(rand.NewPCG(seed, 1)), s: s, r: r}
}

func (l *link) at(when time.Time, do func()) {
	l.order++
	heap.Push(&l.queue, event{when, l.order, do})
}

// carry schedules the delivery of a copy of b as often as the impairment says.
func (l *link) carry(imp impairment, b []byte, deliver func(b []byte)) (lost bool) {
	n := 1
	if l.rng.Float64() < imp.Duplicate {
		n = 2
	}
	if l.rng.Float64() < imp.Loss {
		n--
	}
	b = append([]byte(nil), b...)
	for range n {
		delay := imp.Delay
		if imp.Jitter > 0 {
			delay += time.Duration(l.rng.Int64N(int64(imp.Jitter)))
		}
		l.at(l.now.Add(delay), func() { deliver(b) })
	}
	return n == 0
}

func (l *link) toViewer(packets ...[]byte) {
	for _, b := range packets {
		l.sent++
		if l.drop != nil && l.drop(b, l.now.Sub(epoch)) {
			l.lost++
			continue
		}
		if l.carry(l.media, b, func(b []byte) {
			if err := l.r.HandlePacket(l.now, b); err != nil {
				l.t.Errorf("at %v: %v", l.now.Sub(epoch), err)
			}
			l.drain()
		}) {
			l.lost++
		}
	}
}

// drain takes the receiver's output.
func (l *link) drain() {
	out := l.r.Ready()
	l.frames = append(l.frames, out.Frames...)
	for _, b := range out.RTCP {
		l.carry(l.feedback, b, func(b []byte) {
			f, err := l.s.HandleRTCP(l.now, b)
			if err != nil {
				if l.feedback.Duplicate == 0 {
					l.t.Errorf("at %v: %v", l.now.Sub(epoch), err)
				}
				return
			}
			if f.KeyFrame {
				l.plis++
			}
			if f.Report {
				l.fb = f
			}
			for _, p := range f.Arrivals {
				l.arrivals(p)
			}
			l.toViewer(f.Resend...)
		})
	}
}

// stream sends n access units of the clip at their PTS.
func (l *link) stream(clip *Clip, n int) {
	for i := range n {
		au := clip.At(i)
		l.at(epoch.Add(au.PTS), func() {
			packets, err := l.s.Packetize(nil, l.now, au)
			if err != nil {
				l.t.Fatal(err)
			}
			l.toViewer(packets...)
			sr, err := l.s.Report(l.now)
			if err != nil {
				l.t.Fatal(err)
			}
			if sr != nil {
				l.carry(impairment{Delay: l.media.Delay}, sr, func(b []byte) {
					if err := l.r.HandlePacket(l.now, b); err != nil {
						l.t.Error(err)
					}
				})
			}
		})
	}
}

// run plays everything until nothing is left to do or the time is up.
func (l *link) run(until time.Duration) {
	for end := epoch.Add(until); ; {
		deadline := l.r.Deadline()
		switch {
		case len(l.queue) > 0 && (deadline.IsZero() || !deadline.Before(l.queue[0].at)):
			e := heap.Pop(&l.queue).(event)
			l.now = e.at
			e.do()
		case deadline.IsZero() || deadline.After(end):
			return
		default:
			if deadline.After(l.now) {
				l.now = deadline
			}
			l.r.HandleTimeout(l.now)
			if next := l.r.Deadline(); !next.IsZero() && !next.After(l.now) {
				l.t.Fatalf("at %v: the deadline does not move", l.now.Sub(epoch))
			}
			l.drain()
		}
	}
}

// intact checks that the frames are the clip's, in order, from index first on without a gap.
func (l *link) intact(clip *Clip, first, n int) {
	l.t.Helper()
	if len(l.frames) != n {
		l.t.Errorf("received %d frames, want %d", len(l.frames), n)
	}
	for i, f := range l.frames {
		want := clip.At(first + i)
		if f.Index != want.Index || f.PTS != want.PTS || f.Key != want.Key || f.Hash() != want.Hash || string(f.Data) != string(want.Data) {
			l.t.Fatalf("frame %d: index %d, PTS %v, key %v, %d bytes; want index %d, PTS %v, key %v, %d bytes, the same",
				i, f.Index, f.PTS, f.Key, len(f.Data), want.Index, want.PTS, want.Key, len(want.Data))
		}
		if want := epoch.Add(want.PTS); !f.Captured.Equal(want) {
			l.t.Fatalf("frame %d: captured %v, want %v", i, f.Captured, want)
		}
	}
}
