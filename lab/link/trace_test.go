package link

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseTrace(t *testing.T) {
	for in, want := range map[string]string{
		"1\n2\n2\n5\n":              "",
		"0\n7":                      "",
		"":                          "empty",
		"0\n0\n":                    "line 2: trace takes no time",
		"1\n\n3\n":                  "line 2",
		"1\n2\nx\n":                 `line 3: "x" is no time`,
		"1\n-2\n":                   "line 2",
		"5\n4\n":                    "line 2: 4 ms comes after 5 ms",
		"1\n2.5\n":                  "line 2",
		"1\n4294967296":             "line 2",
		strings.Repeat("9", 70_000): "line 1",
	} {
		tr, err := ParseTrace("my.trace", strings.NewReader(in))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "my.trace")) {
			t.Errorf("%.20q: error %v, want %q", in, err, want)
		}
		if (tr == nil) != (err != nil) {
			t.Errorf("%.20q: trace %v, error %v", in, tr, err)
		}
	}
	tr, _ := ParseTrace("x", strings.NewReader("1\r\n2\r\n"))
	if tr == nil || len(tr.Times) != 2 {
		t.Error("lines that end in CR LF were refused")
	}
}

func TestTraceProperties(t *testing.T) {
	tr := &Trace{Name: "a", Times: []uint32{0, 1, 1, 4}}
	if tr.Period() != 4*time.Millisecond || tr.Rate() != 12_000_000 {
		t.Errorf("period %v, rate %d", tr.Period(), tr.Rate())
	}
	other := &Trace{Name: "b", Times: []uint32{0, 1, 2, 4}}
	if d := tr.Digest(); len(d) != 64 || d == other.Digest() || d != (&Trace{Name: "c", Times: tr.Times}).Digest() {
		t.Errorf("digest %s: want that of the times alone", d)
	}
	text, _ := tr.AppendText(nil)
	again, err := ParseTrace("a", bytes.NewReader(text))
	if err != nil || !cmp.Equal(again, tr) {
		t.Errorf("%v, %v: want %v", again, err, tr)
	}
}

// mahimahi is link_queue.cc's idea, packet by packet: at each opportunity, what has arrived by then is sent, up to
// 1500 bytes, and a packet may need several.
func mahimahi(tr *Trace, origin time.Duration, arrived []time.Duration, sizes []int) []time.Duration {
	sent := make([]time.Duration, len(arrived))
	next, left := 0, sizes[0]
	for round := time.Duration(0); ; round++ {
		for _, v := range tr.Times {
			at := origin + round*tr.Period() + time.Duration(v)*time.Millisecond
			for room := OpportunityBytes; room > 0 && arrived[next] <= at; {
				n := min(room, left)
				room, left = room-n, left-n
				if left == 0 {
					sent[next] = at
					if next++; next == len(arrived) {
						return sent
					}
					left = sizes[next]
				}
			}
		}
	}
}

func drawTrace(t *rapid.T) *Trace {
	times := rapid.SliceOfN(rapid.Uint32Range(0, 50), 1, 40).Draw(t, "times")
	slices.Sort(times)
	if times[len(times)-1] == 0 {
		times = append(times, 1)
	}
	return &Trace{Name: "drawn", Times: times}
}

func TestTraceIsMahimahis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrace(t)
		var arrived []time.Duration
		var sizes []int
		start := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "start"))
		now := start
		for range rapid.IntRange(1, 100).Draw(t, "n") {
			arrived, sizes = append(arrived, now), append(sizes, rapid.IntRange(1, MaxMTU).Draw(t, "size"))
			now += time.Duration(rapid.SampledFrom([]int{0, 0, 1, 500_000, 1_000_000, 30_000_000}).Draw(t, "gap"))
		}
		want := mahimahi(tr, start, arrived, sizes)
		q := NewQueue(Impairment{Trace: tr, QueueBytes: MaxQueue, MTU: MaxMTU}, 1)
		for k := range arrived {
			if v := q.Next(arrived[k], 1, sizes[k]); v.Cause != Passed || v.Due != want[k] {
				t.Fatalf("packet %d of %d bytes at %v: %v at %v, want %v", k, sizes[k], arrived[k], v.Cause, v.Due, want[k])
			}
		}
	})
}

// TestTraceQueueIsBounded: what is accepted and not yet sent never exceeds the queue, and a packet is refused only
// where it would.
func TestTraceQueueIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrace(t)
		queue := rapid.IntRange(1500, 20_000).Draw(t, "queue")
		q := NewQueue(Impairment{Trace: tr, QueueBytes: queue}, 1)
		type packet struct {
			due  time.Duration
			size int
		}
		var accepted []packet
		var now time.Duration
		for range 200 {
			now += time.Duration(rapid.IntRange(0, 3_000_000).Draw(t, "gap"))
			size := rapid.IntRange(20, 1500).Draw(t, "size")
			least, most := 0, 0 // bytes of packets that wait, without and with one that is partly sent
			for _, p := range accepted {
				if p.due >= now {
					most += p.size
					if most > p.size {
						least += p.size
					}
				}
			}
			switch v := q.Next(now, 1, size); v.Cause {
			case Passed:
				if least > 0 && least+size > queue {
					t.Fatalf("at %v %d bytes waited, %d more passed, queue %d", now, least, size, queue)
				}
				accepted = append(accepted, packet{v.Due, size})
			case Full:
				if most+OpportunityBytes+size <= queue {
					t.Fatalf("at %v %d bytes waited, %d more were refused, queue %d", now, most, size, queue)
				}
			default:
				t.Fatal(v.Cause)
			}
		}
	})
}

func TestTraceAnywhere(t *testing.T) {
	tr := &Trace{Times: []uint32{1000}, Anywhere: true}
	seen := map[time.Duration]bool{}
	for seed := range uint64(20) {
		q := NewQueue(Impairment{Trace: tr}, seed)
		v := q.Next(time.Hour, 1, 100)
		q.Reset(seed)
		if w := q.Next(2*time.Hour, 1, 100); w.Due-2*time.Hour != v.Due-time.Hour {
			t.Errorf("seed %d: first after %v, after a reset %v", seed, v.Due-time.Hour, w.Due-2*time.Hour)
		}
		if v.Due < time.Hour || v.Due > time.Hour+time.Second {
			t.Errorf("seed %d: first opportunity at %v", seed, v.Due)
		}
		seen[v.Due] = true
	}
	if len(seen) < 15 {
		t.Errorf("20 seeds enter at %d places", len(seen))
	}
}

func TestSetKeepsThePlaceInTheTrace(t *testing.T) {
	tr := &Trace{Times: []uint32{10, 1000}}
	same := &Trace{Name: "a copy", Times: []uint32{10, 1000}}
	q := NewQueue(Impairment{Trace: tr}, 1)
	q.Next(0, 1, 100)
	q.Set(Impairment{Trace: same, Delay: time.Millisecond})
	if v := q.Next(20*time.Millisecond, 1, 100); v.Due != 1001*time.Millisecond {
		t.Errorf("after a change of the delay: %v, want the opportunity at 1s", v.Due)
	}
	q.Set(Impairment{Trace: &Trace{Times: []uint32{10}}})
	if v := q.Next(1500*time.Millisecond, 1, 100); v.Due != 1510*time.Millisecond {
		t.Errorf("another trace: %v, want it to begin then", v.Due)
	}
	q.Set(Impairment{Rate: 8_000_000})
	if v := q.Next(1505*time.Millisecond, 1, 1000); v.Due != 1511*time.Millisecond {
		t.Errorf("a rate behind what waits for the trace: %v", v.Due)
	}
	q = NewQueue(Impairment{Rate: 8_000_000}, 1)
	q.Next(0, 1, 1500) // until 1.5 ms
	q.Set(Impairment{Trace: &Trace{Times: []uint32{1}}})
	if v := q.Next(0, 1, 1500); v.Due != 2*time.Millisecond {
		t.Errorf("a trace behind what waits for the rate: %v", v.Due)
	}
}

func TestShippedTraces(t *testing.T) {
	if len(Traces()) != 4 {
		t.Fatalf("%d traces", len(Traces()))
	}
	for _, tr := range Traces() {
		shape, up := strings.CutSuffix(tr.Name, "-up")
		want, err := Synthetic(strings.TrimSuffix(shape, "-down"), up, 1)
		if err != nil || !cmp.Equal(tr, want) {
			t.Errorf("%s is not what its generator makes (%v): run go generate ./lab/link", tr.Name, err)
		}
		if r := float64(tr.Rate()) / 1e6; r < 3 || r > 15 {
			t.Errorf("%s: mean rate %g Mbit/s", tr.Name, r)
		}
	}
	if _, err := Synthetic("tin-cans", true, 1); err == nil {
		t.Error("an unknown shape was made")
	}
	a, _ := Synthetic("lte-drive", true, 1)
	if b, _ := Synthetic("lte-drive", true, 2); cmp.Equal(a, b) {
		t.Error("two seeds, one trace")
	}
}

func TestPower(t *testing.T) {
	for v := -6000; v <= 6000; v += 37 {
		got, want := float64(power(v)), 1024*math.Exp2(float64(v)/1000)
		if got > want*1.01+1 || got < want*0.9-1 {
			t.Errorf("power(%d) = %v, want about %v", v, got, want)
		}
	}
}

func TestTraceBinary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrace(t)
		tr.Anywhere = rapid.Bool().Draw(t, "anywhere")
		b, err := tr.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got Trace
		if err := got.UnmarshalBinary(b); err != nil || !cmp.Equal(&got, tr) {
			t.Fatalf("%v, %v: want %v", got, err, tr)
		}
	})
	b, _ := Traces()[1].MarshalBinary()
	if n := len(Traces()[1].Times); len(b) > 2*n {
		t.Errorf("%d bytes for %d opportunities", len(b), n)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte("1\n2\n2\n"))
	f.Add([]byte("0\n9"))
	f.Add([]byte{1, 1, 'a', 0, 1, 1})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if tr, err := ParseTrace("f", bytes.NewReader(b)); err == nil {
			text, _ := tr.AppendText(nil)
			if again, err := ParseTrace("f", bytes.NewReader(text)); err != nil || !cmp.Equal(again, tr) {
				t.Errorf("%q is not what %q was read as: %v", text, b, err)
			}
			q := NewQueue(Impairment{Trace: tr}, 1)
			for k := range time.Duration(20) {
				if v := q.Next(k*k*time.Millisecond, 1, 1000); v.Cause == Passed && v.Due < k*k*time.Millisecond {
					t.Errorf("due %v", v.Due)
				}
			}
		}
		var tr Trace
		if tr.UnmarshalBinary(b) == nil {
			packed, _ := tr.MarshalBinary()
			var again Trace
			if err := again.UnmarshalBinary(packed); err != nil || !cmp.Equal(again, tr) {
				t.Errorf("%v, %v: want %v", again, err, tr)
			}
		}
	})
}
