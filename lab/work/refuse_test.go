package work_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/work"
)

// lockedText is a log that a test reads.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A worker that would run something else refuses the job, says why on both sides, and leaves its units to others.
func TestRefuses(t *testing.T) {
	for want, c := range map[string]struct {
		job    func(*record.Manifest)
		worker func(*work.ServeOptions)
	}{
		`commit is "3ef995d" there and "0ther" here`: {worker: func(o *work.ServeOptions) { o.Versions.Commit = "0ther" }},
		`Go is "go1.26" there`:                       {worker: func(o *work.ServeOptions) { o.Versions.Go = "go1.27" }},
		`module example.org/m is "v1.0.0" there`:     {worker: func(o *work.ServeOptions) { o.Versions.Modules = nil }},
		`module example.org/n is "" there`: {worker: func(o *work.ServeOptions) {
			o.Versions.Modules = map[string]string{"example.org/m": "v1.0.0", "example.org/n": "v1"}
		}},
		"changed: true":            {job: func(m *record.Manifest) { m.Versions.Dirty = true }},
		"needs namespaces":         {job: func(m *record.Manifest) { m.Engine = lab.EngineTable }},
		"6 cells of 5 trials":      {worker: changed(func(p *runner.Plan) { p.Trials = 5 })},
		"the digest is another":    {worker: func(o *work.ServeOptions) { o.Prepare = refusing }},
		"text of scenario and top": {job: func(m *record.Manifest) { m.Scenario.Text = "" }, worker: func(o *work.ServeOptions) { o.Prepare = nil }},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := rig{Trials: 4}
			m := r.manifest()
			var said lockedText
			o := spread(t, m)
			if c.job != nil {
				c.job(&o.Manifest)
			}
			o.Sink = func(record.Trial) error { return errors.New("a record came") }
			o.Log = slog.New(slog.NewTextHandler(&said, nil))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Ready = func(url string) {
				go func() {
					defer cancel()
					s := serving(url)
					s.Once = true
					if c.worker != nil {
						c.worker(&s)
					}
					err := work.Serve(ctx, s)
					if !errors.Is(err, work.ErrRefused) || !strings.Contains(err.Error(), want) {
						t.Errorf("the worker says %v", err)
					}
				}()
			}
			if _, err := work.Coordinate(ctx, o); !errors.Is(err, context.Canceled) {
				t.Errorf("the coordinator says %v", err)
			}
			if !strings.Contains(strings.ReplaceAll(said.String(), `\"`, `"`), want) {
				t.Errorf("the coordinator tells nobody: %s", said.String())
			}
		})
	}
}

func refusing(record.Manifest) (runner.Plan, error) {
	return runner.Plan{}, errors.New("the digest is another")
}

func changed(f func(*runner.Plan)) func(*work.ServeOptions) {
	return func(o *work.ServeOptions) {
		o.Prepare = func(m record.Manifest) (runner.Plan, error) {
			p, err := prepare(m)
			f(&p)
			return p, err
		}
	}
}

// One worker refuses, the other has everything; versions may differ where that is allowed.
func TestRefusedByOne(t *testing.T) {
	r := rig{Trials: 8}
	o := spread(t, r.manifest())
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	o.Ready = func(url string) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for i, skew := range []bool{false, true} {
			s := serving(url)
			s.Name, s.AnySkew, s.Versions.Commit = fmt.Sprint("w", i), skew, "0ther"
			wg.Go(func() {
				if err := work.Serve(ctx, s); err != nil {
					t.Error(err)
				}
			})
		}
		t.Cleanup(func() { cancel(); wg.Wait() })
	}
	p, err := work.Coordinate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
	if len(p.Workers) != 1 || p.Workers[0].Name != "w1" {
		t.Errorf("workers %+v", p.Workers)
	}
}

// logged puts records into a run's log beside the workers'.
func logged(t testing.TB, url string, subject string, rec record.Trial) {
	t.Helper()
	rec.Schema = record.TrialSchema
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	m := nats.NewMsg(subject)
	m.Data = b
	m.Header.Set("Punchlab-Worker", "stranger")
	if _, err := talk(t, url).PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// Whatever comes a second time, long after the server has forgotten that it knows it, is taken once.
func TestDuplicates(t *testing.T) {
	r := rig{Trials: 10}
	s := server(t)
	helpers(t, s.URL(), 2)
	o := spread(t, r.manifest())
	o.URL = s.URL()
	var got []record.Trial
	o.Sink = func(rec record.Trial) error {
		got = append(got, rec)
		if len(got)%10 == 0 {
			subject := subjectOf(t, s.URL(), fmt.Sprintf(".record.%d.%d", rec.Cell, rec.Trial))
			logged(t, s.URL(), subject, rec) // without the identity that the server would know it by
			rec.Attempt++
			logged(t, s.URL(), subject, rec)
			rec.Outcome, rec.Cause = record.HarnessError, "late"
			logged(t, s.URL(), subject, rec)
		}
		return nil
	}
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.same(t, got)
}

// subjectOf finds a subject by its end, when there is a stream of records.
func subjectOf(t testing.TB, url, end string) string {
	t.Helper()
	js := talk(t, url)
	isLog := func(name string) bool { return strings.HasSuffix(name, "-records") }
	var names []string
	await(t, "a stream of records", func() bool {
		names = streams(t, url)
		return slices.ContainsFunc(names, isLog)
	})
	s, err := js.Stream(t.Context(), names[slices.IndexFunc(names, isLog)])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(s.CachedInfo().Config.Subjects[0], ".>") + end
}

// Records that are not this run's end it, with the name of who sent them.
func TestForeignRecords(t *testing.T) {
	for want, spoil := range map[string]func(*record.Trial){
		"has the seed":              func(r *record.Trial) { r.Seed++ },
		"no trial 77 of cell":       func(r *record.Trial) { r.Trial = 77 },
		"is map[strategy:direct] t": func(r *record.Trial) { r.Params = map[string]string{"strategy": "direct"} },
		"outcome \"splendid\"":      func(r *record.Trial) { r.Outcome = "splendid" },
	} {
		t.Run(want, func(t *testing.T) {
			r := rig{Trials: 10}
			s := server(t)
			o := spread(t, r.manifest())
			o.URL = s.URL()
			o.Sink = func(record.Trial) error { return nil }
			ended := make(chan error, 1)
			go func() {
				_, err := work.Coordinate(t.Context(), o)
				ended <- err
			}()
			all := r.alone(t)
			rec := all[slices.IndexFunc(all, func(rec record.Trial) bool { return rec.Cell == 5 && rec.Trial == 9 })]
			spoil(&rec)
			logged(t, s.URL(), subjectOf(t, s.URL(), ".record.5.9"), rec)
			err := <-ended
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stranger") {
				t.Errorf("error %v", err)
			}
		})
	}
}
