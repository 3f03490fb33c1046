package work_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/work"
)

// Spread over three workers, and with a unit that comes back because the lab stumbled, the records are those of one process.
func TestSpread(t *testing.T) {
	r := rig{Takes: 5 * time.Millisecond, Trials: 30}
	o := spread(t, r.manifest())
	var got []record.Trial
	var url string
	o.Sink = func(rec record.Trial) error {
		if got = append(got, rec); len(got) == 1 {
			takers(t, url, 3) // the run is not over before each of them has taken it, however late it comes
		}
		return nil
	}
	o.Ready = func(u string) { url = u; helpers(t, url, 3) }
	p, err := work.Coordinate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
	sum := 0
	for _, w := range p.Workers {
		sum += w.Trials
		if w.Kernel != "Linux" || w.CPU.Cores != 2 {
			t.Errorf("worker %+v is not described", w)
		}
	}
	if len(p.Workers) != 3 || sum != 180 || p.Done != 180 || p.Total != 180 || p.Void != 0 {
		t.Errorf("progress %+v", p)
	}
	if _, err := os.Stat(o.Store); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server's files are left: %v", err)
	}
}

// A worker that is to serve once ends with the run, though the server ends at the same time.
func TestOnce(t *testing.T) {
	r := rig{Takes: 5 * time.Millisecond, Trials: 8}
	o := spread(t, r.manifest())
	ended := make(chan error, 2)
	var url string
	var met sync.Once
	o.Sink = func(record.Trial) error {
		met.Do(func() { takers(t, url, cap(ended)) }) // who comes when the run is over waits for another one
		return nil
	}
	o.Ready = func(u string) {
		url = u
		for range cap(ended) {
			s := serving(url)
			s.Once = true
			go func() { ended <- work.Serve(t.Context(), s) }()
		}
	}
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a worker waits for more")
		}
	}
}

// Workers are killed and held up at random, by how many records have come, and begun again.
func TestWorkersDie(t *testing.T) {
	r := rig{Takes: 6 * time.Millisecond, Trials: 60}
	o := spread(t, r.manifest())
	var said lockedText
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	rng := rand.New(rand.NewPCG(6, 6))
	var workers []*process
	var url string
	var got []record.Trial
	kills, next := 0, 5
	o.Ready = func(u string) {
		url = u
		for range 4 {
			workers = append(workers, start(t, workerEnv+"="+url))
		}
	}
	o.Sink = func(rec record.Trial) error {
		got = append(got, rec)
		for ; len(got) >= next; next += 5 + rng.IntN(10) {
			i := rng.IntN(len(workers))
			if rng.IntN(4) == 0 { // silent for longer than AckWait, and then back with what it was about to store
				w := workers[i]
				w.signal(syscall.SIGSTOP)
				time.AfterFunc(o.AckWait*3/2, func() { w.signal(syscall.SIGCONT) })
				continue
			}
			workers[i].kill()
			workers[i] = start(t, workerEnv+"="+url)
			kills++
		}
		return nil
	}
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
	if kills < 10 {
		t.Errorf("killed %d workers only", kills)
	}
	if strings.Contains(said.String(), "lost records") {
		t.Error("a unit was acknowledged before its records were stored")
	}
}

// A coordinator is killed in the middle, again and again; what it had goes on, and the next one takes it up.
func TestCoordinatorDies(t *testing.T) {
	r := rig{Takes: 6 * time.Millisecond, Trials: 40}
	s := server(t)
	helpers(t, s.URL(), 3)
	dir := filepath.Join(t.TempDir(), "run")
	w, err := record.Create(dir, r.manifest())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(false, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{20, 60, 130} {
		c := start(t, coordinatorEnv+"="+s.URL()+" "+dir)
		await(t, "records", func() bool { return lines(filepath.Join(dir, record.TrialsFile)) >= n })
		c.kill()
	}
	if err := coordinateIn(t.Context(), s.URL(), dir); err != nil {
		t.Fatal(err)
	}
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	r.same(t, run.Trials)
	if !run.Manifest.Complete {
		t.Error("the run is not complete")
	}
}

// A unit that kills whoever runs it is given up, its trials are harness errors, and everything else has its verdict, though what was
// beside it died with it. Each kills twice: once beside others and once alone.
func TestPoison(t *testing.T) {
	r := rig{Trials: 12}
	plan := r.plan(t)
	r.Poison = []uint64{runner.Seed(7, plan.Cells[0].Params, 5), runner.Seed(7, plan.Cells[2].Params, 5)}
	o := spread(t, r.manifest())
	o.MaxDeliver = 2
	deaths := 0
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	over, ended := make(chan struct{}), make(chan struct{})
	o.Ready = func(url string) {
		go func() {
			defer close(ended)
			for {
				w := start(t, workerEnv+"="+url)
				select {
				case <-over:
					w.kill()
					return
				case <-w.ended:
					deaths++
				}
			}
		}()
	}
	p, err := work.Coordinate(t.Context(), o)
	close(over)
	<-ended
	if !errors.Is(err, runner.ErrUnfilled) {
		t.Fatalf("error %v", err)
	}
	// Seeds leave the strategy out: a trial kills in both cells of its pair of NATs.
	void := 0
	for _, rec := range got {
		if rec.Outcome == record.HarnessError {
			void++
			if rec.Cell > 3 || rec.Trial/4 != 1 || !strings.Contains(rec.Error, "none finished") || rec.Oracle == "" {
				t.Errorf("record %+v", rec)
			}
		}
	}
	if void < 4 || void > 16 || p.Unfilled != void || p.Done != 72-void || len(got) != 72 {
		t.Errorf("%d harness errors of %d records, progress %+v", void, len(got), p)
	}
	if deaths < 5 || deaths > 8 {
		t.Errorf("four units killed %d workers", deaths)
	}
}

// What was lost once is run with nothing beside it, by a worker that has much else; the rest is run side by side.
func TestSuspectsAreRunAlone(t *testing.T) {
	r := rig{Takes: 10 * time.Millisecond, Trials: 16}
	plan := r.plan(t)
	s := server(t)
	o := spread(t, r.manifest())
	o.URL = s.URL()
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	c := &company{now: map[tried]bool{}, met: map[tried]bool{}}
	seen.Store(c)
	defer seen.Store(nil)
	ended := make(chan error, 1)
	go func() {
		_, err := work.Coordinate(t.Context(), o)
		ended <- err
	}()
	lost := lose(t, s.URL(), plan, 5)
	helpers(t, s.URL(), 1)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	seen.Store(nil) // what follows is another run
	r.same(t, got)
	for trial := range lost {
		if c.met[trial] {
			t.Errorf("%v had others beside it", trial)
		}
	}
	if len(lost) != 20 || len(c.met) < 30 {
		t.Errorf("%d trials were lost, %d had others beside them", len(lost), len(c.met))
	}
}

// lose takes so many units as a worker does and gives them back, for when the next worker has others; it returns their trials.
func lose(t *testing.T, url string, plan runner.Plan, n int) map[tried]bool {
	js := talk(t, url)
	var queue jetstream.Consumer
	await(t, "a queue", func() bool {
		for _, name := range streams(t, url) {
			if strings.HasSuffix(name, "-units") {
				queue, _ = js.Consumer(t.Context(), name, "workers")
			}
		}
		return queue != nil
	})
	lost := map[tried]bool{}
	for perUnit := 4; len(lost) < n*perUnit; { // one that was given back may come again before the next one
		m, err := queue.Next()
		if err != nil {
			t.Fatal(err)
		}
		var u struct {
			Cell   int
			Trials []int
		}
		if err := json.Unmarshal(m.Data(), &u); err != nil {
			t.Error(err)
		}
		for _, trial := range u.Trials {
			lost[tried{runner.Seed(plan.Seed, plan.Cells[u.Cell].Params, trial), plan.Cells[u.Cell].Strategy}] = true
		}
		if err := m.NakWithDelay(time.Duration(50+20*len(lost)) * time.Millisecond); err != nil {
			t.Error(err)
		}
	}
	return lost
}

// Workers that are told to stop again and again have not died: nothing is given up, though much is run alone.
func TestStoppedIsNotDead(t *testing.T) {
	r := rig{Takes: 40 * time.Millisecond, Trials: 8}
	o := spread(t, r.manifest())
	o.MaxDeliver = 2
	var got []record.Trial
	enough := make(chan struct{}, 6*r.Trials/3)
	o.Sink = func(rec record.Trial) error {
		if got = append(got, rec); len(got)%3 == 0 {
			enough <- struct{}{} // none is forgotten where several records come at once
		}
		return nil
	}
	ctx, over := context.WithCancel(t.Context())
	var worker sync.WaitGroup
	stops := 0
	o.Ready = func(url string) {
		worker.Go(func() {
			for ; ctx.Err() == nil; stops++ {
				turn, stop := context.WithCancel(ctx)
				go func() {
					select {
					case <-enough:
					case <-turn.Done():
					}
					stop()
				}()
				if err := work.Serve(turn, serving(url)); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				stop()
			}
		})
	}
	_, err := work.Coordinate(t.Context(), o)
	over()
	worker.Wait()
	if err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
	if stops < 8 {
		t.Errorf("stopped %d times only", stops)
	}
}

// A server that ends and comes back with its files loses nothing.
func TestServerRestarts(t *testing.T) {
	r := rig{Takes: 6 * time.Millisecond, Trials: 30}
	dir := filepath.Join(t.TempDir(), "nats")
	s, err := work.Embed(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	url := s.URL()
	listen := url[strings.LastIndex(url, "@")+1:]
	t.Cleanup(func() { _ = s.Close() })
	helpers(t, url, 2)
	o := spread(t, r.manifest())
	o.URL = url
	var got []record.Trial
	o.Sink = func(rec record.Trial) error {
		got = append(got, rec)
		if len(got) == 60 {
			_ = s.Close()
			again, err := work.Embed(dir, listen)
			if err != nil {
				return err
			}
			s = again
		}
		return nil
	}
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
}

// Two runs share a server and its workers, and have nothing of each other. Nothing is left of either.
func TestTwoRuns(t *testing.T) {
	s := server(t)
	helpers(t, s.URL(), 2)
	done := make(chan error, 2)
	runs := []rig{{Takes: 4 * time.Millisecond, Trials: 10}, {Takes: 4 * time.Millisecond, Trials: 15}}
	var got [2][]record.Trial
	for i, r := range runs {
		o := spread(t, r.manifest())
		o.URL = s.URL()
		o.Sink = func(rec record.Trial) error { got[i] = append(got[i], rec); return nil }
		go func() {
			_, err := work.Coordinate(t.Context(), o)
			done <- err
		}()
	}
	for range runs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for i, r := range runs {
		r.same(t, got[i])
	}
	if names := streams(t, s.URL()); len(names) != 1 || names[0] != "punchlab-jobs" {
		t.Errorf("left on the server: %v", names)
	}
}

// Told to stop, a coordinator takes what is stored and removes the run; its folder goes on later.
func TestInterrupted(t *testing.T) {
	r := rig{Takes: 4 * time.Millisecond, Trials: 30}
	s := server(t)
	helpers(t, s.URL(), 2)
	m := r.manifest()
	o := spread(t, m)
	o.URL = s.URL()
	ctx, cancel := context.WithCancel(t.Context())
	var got []record.Trial
	o.Sink = func(rec record.Trial) error {
		if got = append(got, rec); len(got) == 50 {
			cancel()
		}
		return nil
	}
	if _, err := work.Coordinate(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if names := streams(t, s.URL()); len(names) != 1 {
		t.Errorf("left on the server: %v", names)
	}
	before := len(got)
	for _, rec := range got {
		_ = o.Plan.Resume(rec)
	}
	p, err := work.Coordinate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
	if p.Total != 180-before {
		t.Errorf("progress %+v after %d records", p, before)
	}
}

// Harness errors are tried again by whoever has the unit; no trial has two verdicts, and none is without.
func TestFlaky(t *testing.T) {
	r := rig{Trials: 40, Flaky: true}
	o := spread(t, r.manifest())
	dir := filepath.Join(t.TempDir(), "run")
	w, err := record.Create(dir, o.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	o.Sink = w.Add
	o.Ready = func(url string) { helpers(t, url, 3) }
	p, err := work.Coordinate(t.Context(), o)
	if err != nil && !errors.Is(err, runner.ErrUnfilled) {
		t.Fatal(err)
	}
	if err := w.Finish(true, time.Now()); err != nil {
		t.Fatal(err)
	}
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := 0
	next := map[[2]int]int{}
	for _, rec := range run.Trials {
		k := [2]int{rec.Cell, rec.Trial}
		if rec.Attempt != next[k] {
			t.Errorf("attempt %d of trial %v comes as number %d", rec.Attempt, k, next[k])
		}
		next[k]++
		if rec.Outcome.HasVerdict() {
			verdicts++
		}
	}
	if verdicts+p.Unfilled != 240 || verdicts != p.Done || p.Void == 0 {
		t.Errorf("%d verdicts, progress %+v", verdicts, p)
	}
}

// A stop rule ends the same cells after the same trials as in one process.
func TestStop(t *testing.T) {
	r := rig{Takes: 3 * time.Millisecond, Trials: 60, Stop: 3}
	o := spread(t, r.manifest())
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	o.Ready = func(url string) { helpers(t, url, 3) }
	p, err := work.Coordinate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
	if p.Stopped != 6 || p.Done != len(got) || p.Total != len(got) || len(got) > 200 {
		t.Errorf("%d records, progress %+v", len(got), p)
	}
}

func TestAbort(t *testing.T) {
	r := rig{Trials: 30}
	o := spread(t, r.manifest())
	n := 0
	o.Sink = func(record.Trial) error { n++; return nil }
	o.Abort = func(record.Trial) error {
		if n == 7 {
			return errors.New("a threshold is out of reach")
		}
		return nil
	}
	o.Ready = func(url string) { helpers(t, url, 2) }
	if _, err := work.Coordinate(t.Context(), o); !errors.Is(err, runner.ErrAborted) || n != 7 {
		t.Errorf("error %v after %d records", err, n)
	}
}

// A worker that is slow, and not silent, keeps its units: no trial is run twice.
func TestSlowUnits(t *testing.T) {
	r := rig{Trials: 4, Takes: 2 * time.Second}
	o := spread(t, r.manifest())
	o.AckWait = 2 * time.Second // of which the machine may hold a sign of life up for two thirds
	before := trials.Load()
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	o.Ready = func(url string) { helpers(t, url, 3) }
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if n := trials.Load() - before; n != 24 {
		t.Errorf("%d trials were run for 24", n)
	}
	r.same(t, got)
}

// What the server loses after it has confirmed it is run again.
func TestServerForgets(t *testing.T) {
	r := rig{Trials: 20}
	s := server(t)
	js := talk(t, s.URL())
	helpers(t, s.URL(), 2)
	o := spread(t, r.manifest())
	o.URL = s.URL()
	var got []record.Trial
	o.Sink = func(rec record.Trial) error {
		if got = append(got, rec); len(got) != 10 {
			return nil
		}
		for _, name := range streams(t, s.URL()) {
			if strings.HasSuffix(name, "-records") {
				log, err := js.Stream(t.Context(), name)
				if err != nil {
					return err
				}
				await(t, "the workers' last record", func() bool {
					info, err := log.Info(t.Context())
					return err == nil && info.State.LastSeq >= 120
				})
				return log.Purge(t.Context())
			}
		}
		return errors.New("no log")
	}
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
}
