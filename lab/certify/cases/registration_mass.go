package cases

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// Bounds of REG-6.
const (
	outage     = time.Minute
	allBackIn  = 2 * time.Minute
	sameTry    = 100 * time.Millisecond // packets within it are one try
	fewestWait = 4                      // distances of tries of which it can be told whether they grow
	farApart   = 5 * time.Second        // in brief: how far apart tries come to be before the server is back
)

// mass is REG-6: many units, and a server that goes and comes back.
func mass(ctx context.Context, s *stage.Stage) certify.Result {
	n := s.N(20, 8)
	x, err := s.Set(ctx, "two-homes", stage.UnitsKey, strconv.Itoa(n))
	if err != nil {
		return s.Judge(err)
	}
	cameras, err := startAll(ctx, x, n)
	if err != nil {
		return s.Judge(err)
	}
	for _, c := range cameras {
		if !talked(x, c, 0) {
			return s.Inconclusive("unit %d exchanged nothing with its servers that could be a registration", c.Unit)
		}
	}
	if err := s.Pause(ctx, s.For(10*time.Second, 2500*time.Millisecond)); err != nil { // until the last one idles: what it sends is a try
		return s.Judge(err)
	}
	gone := x.Tape().Mark()
	s.Note("%d units are registered; the server is killed", n)
	server := x.Program(certify.RoleRendezvous)
	server.Kill()
	killed := time.Now()
	if err := missed(ctx, s, x, cameras, gone, killed); err != nil {
		return s.Judge(err)
	}
	back := x.Tape().Mark()
	s.Note("the server is back after %v", time.Since(killed).Round(time.Millisecond))
	if err := server.Start(ctx); err != nil {
		return s.Judge(err)
	}
	since := time.Now()
	firsts, err := returned(ctx, s, x, cameras, back, since)
	if err != nil {
		return s.Judge(err)
	}
	if r, bad := spreadOut(s, firsts, n, since); bad {
		return r
	}
	if steady, distances := impatient(s, x, cameras, gone, back); steady > 0 {
		return s.Fail("the tries of %d of %d units were not further and further apart while the server was gone: %v at the end, as at first",
			steady, n, distances.Round(time.Millisecond))
	}
	if len(firsts) < n {
		return s.Fail("%d of %d units have not registered within %v of the server's return", n-len(firsts), n, time.Since(since).Round(time.Second))
	}
	return s.Pass()
}

// spreadOut judges how many of n units came back within the same second, by when they were first answered since the server's return.
func spreadOut(s *stage.Stage, firsts []time.Time, n int, since time.Time) (certify.Result, bool) {
	s.Saw("units", len(firsts))
	slices.SortFunc(firsts, time.Time.Compare)
	peak, at := crowd(firsts)
	last := time.Duration(0)
	if len(firsts) > 0 {
		last = firsts[len(firsts)-1].Sub(since)
	}
	s.Note("%d of %d units were answered within %v of the server's return; %d at most within a second, from %v after it on", len(firsts), n,
		last.Round(time.Millisecond), peak, at.Sub(since).Round(time.Millisecond))
	s.Record(map[string]any{"units": n, "answered": len(firsts), "last after seconds": last.Seconds(), "most within a second": peak})
	// Of twenty that come back evenly within 8 to 10 s, by two ways each, more than half do within a second once in 150 runs. Of fewer
	// units chance makes more.
	if most := s.N(n/2, n*3/4); peak > most {
		return s.Fail("%d of %d units came back within the same second, %v after the server did; %d may", peak, n,
			at.Sub(since).Round(time.Millisecond), most), true
	}
	return certify.Result{}, false
}

// startAll starts units, some at once.
func startAll(ctx context.Context, x *stage.Set, n int) ([]*stage.Camera, error) {
	cameras, errs := make([]*stage.Camera, n), make([]error, n)
	if cameras[0], errs[0] = x.Camera(ctx, 1); errs[0] != nil { // it starts the servers, too
		return nil, errs[0]
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i := 1; i < n; i++ {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cameras[i], errs[i] = x.Camera(ctx, i+1)
		})
	}
	all.Wait()
	return cameras, errors.Join(errs...)
}

// missed waits until the server has been gone for a minute; in brief until each unit has missed it for so long that its tries are far apart,
// or it is plain that they will not be.
func missed(ctx context.Context, s *stage.Stage, x *stage.Set, cameras []*stage.Camera, from int, killed time.Time) error {
	if !s.Brief() {
		return s.Pause(ctx, outage)
	}
	const longest = 45 * time.Second
	for time.Since(killed) < longest {
		if err := s.Pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
		if !slices.ContainsFunc(cameras, func(c *stage.Camera) bool { return !resigned(triesOf(x, c, from, x.Tape().Mark())) }) {
			return nil
		}
	}
	return nil
}

// resigned reports whether tries have come to be so far apart that units which miss a server together come back one by one.
func resigned(tries []time.Time) bool {
	distances := tape.Distances(tries)
	return len(distances) >= 2*fewestWait && slices.Max(distances) >= farApart
}

// triesOf are the times at which a unit has asked its servers, between two positions of the tape.
func triesOf(x *stage.Set, c *stage.Camera, from, to int) []time.Time {
	all := x.Tape().Packets(from, c.Out(), tape.To(x.Servers(c.Host())...), tape.Any(tape.UDP, tape.TCP))
	if later := x.Tape().Packets(to, c.Out()); len(later) > 0 {
		all = tape.Select(all, tape.Between(time.Time{}, later[0].At))
	}
	return tape.Keepalives(all, sameTry)
}

// returned waits until the server has answered each unit, or their time is over, and returns when it first did.
func returned(ctx context.Context, s *stage.Stage, x *stage.Set, cameras []*stage.Camera, from int, since time.Time) ([]time.Time, error) {
	limit := s.For(allBackIn, 30*time.Second)
	for {
		var firsts []time.Time
		for _, c := range cameras {
			answers := x.Tape().Packets(from, tape.CameTo(c.Host()), tape.By(x.Servers(c.Host())...), tape.Full)
			if len(answers) > 0 {
				firsts = append(firsts, answers[0].At)
			}
		}
		if len(firsts) == len(cameras) || time.Since(since) > limit {
			return firsts, nil
		}
		if err := s.Pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// crowd is the largest number of times within a second, and when that begins. They are sorted.
func crowd(times []time.Time) (most int, at time.Time) {
	for i, t := range times {
		n := 0
		for _, u := range times[i:] {
			if u.Sub(t) < time.Second {
				n++
			}
		}
		if n > most {
			most, at = n, t
		}
	}
	return most, at
}

// impatient counts the units whose tries, while the server was gone, were as close in the second half of that time as in the first, and
// says how close.
func impatient(s *stage.Stage, x *stage.Set, cameras []*stage.Camera, from, to int) (units int, late time.Duration) {
	for _, c := range cameras {
		tries := triesOf(x, c, from, to)
		early, end, ok := halves(tries)
		if !ok {
			continue
		}
		s.Record(map[string]any{"unit": c.Unit, "tries while the server was gone": len(tries), "mean distance in the first half of that time, seconds": early.Seconds(),
			"in the second half": end.Seconds()})
		if end < early*5/4 && end < time.Minute {
			units++
			late = end
		}
	}
	return units, late
}

// halves are the mean distances of tries in the first half of their time and in the second; false: they are too few to tell. The mean: a
// unit that tries in two ways at once leaves short and long distances in turn, however rarely it tries in either.
func halves(tries []time.Time) (early, late time.Duration, ok bool) {
	distances := tape.Distances(tries)
	if len(distances) < fewestWait {
		return 0, 0, false
	}
	middle := tries[0].Add(tries[len(tries)-1].Sub(tries[0]) / 2)
	n := slices.IndexFunc(tries[1:], middle.Before)
	n = min(max(n, 1), len(distances)-1)
	return mean(distances[:n]), mean(distances[n:]), true
}

func mean(ds []time.Duration) time.Duration {
	sum := time.Duration(0)
	for _, d := range ds {
		sum += d
	}
	return sum / time.Duration(len(ds))
}
