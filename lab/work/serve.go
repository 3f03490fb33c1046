package work

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/experiment"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// jobsEvery is how often a worker looks whether there are jobs, and whether its own is still there.
const jobsEvery = time.Second

// ErrRefused means that a job is not what this worker would make of it.
var ErrRefused = errors.New("job refused")

// Serve works on jobs until ctx ends (and, with Once, until the first one is over). A job that this build does not reproduce, or
// whose versions are others, is refused and left to other workers; with Once or Run that is the error. A server that is away is
// waited for; one that turns the worker away is an error. The error of ctx is not returned: to be told to stop is no failure.
func Serve(ctx context.Context, o ServeOptions) error {
	o = o.withDefaults()
	c, err := o.connect("worker "+o.Name, true, o.Log)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	news := make(chan *nats.Msg, 16) // what does not fit is found by looking
	if _, err := c.nc.ChanSubscribe(newsSubject, news); err != nil {
		return fmt.Errorf("listen for jobs: %w", err)
	}
	w := &worker{ServeOptions: o, client: c, news: news, refused: map[string]error{}, ready: map[string]*assignment{}}
	for ctx.Err() == nil {
		next, err := w.choose(ctx)
		if err != nil {
			return err
		}
		if w.Once && w.served {
			return nil
		}
		if next == nil {
			select {
			case <-ctx.Done():
			case m := <-news:
				if w.hear(m); w.Once && w.served { // the server may be gone by now
					return nil
				}
			case <-time.After(jobsEvery):
			}
			continue
		}
		if err := w.work(ctx, next); err != nil {
			return err
		}
		if w.Once && w.served {
			return nil
		}
	}
	return nil
}

func (o ServeOptions) withDefaults() ServeOptions {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Prepare == nil {
		o.Prepare = func(m record.Manifest) (runner.Plan, error) {
			e, err := experiment.Again(m)
			if err != nil {
				return runner.Plan{}, err
			}
			return e.Plan, nil
		}
	}
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		o.Name = host + "-" + strings.ToLower(rand.Text()[:6]) // isolated, every worker is process 1
	}
	o.Name = nameable(o.Name)
	return o
}

type worker struct {
	ServeOptions
	*client
	news    <-chan *nats.Msg       // something when jobs have come or gone
	served  bool                   // a job that it had taken is over
	refused map[string]error       // by run and epoch
	ready   map[string]*assignment // by run and epoch
	turn    string                 // run that was worked on last
}

// assignment is a job that this worker has taken.
type assignment struct {
	*job
	plan runner.Plan
}

func (j *job) key() string { return j.Run + "." + j.Epoch }

// choose takes the jobs that have come, forgets those that are over, and returns the one whose turn it is; nil: none.
func (w *worker) choose(ctx context.Context) (*assignment, error) {
	jobs, err := w.listJobs(ctx)
	if err != nil {
		w.log.Debug("cannot look for jobs", "error", err)
		return nil, w.gone()
	}
	there := map[string]bool{}
	var mine []*assignment
	for _, j := range jobs {
		if w.Run != "" && j.Run != w.Run {
			continue
		}
		there[j.key()] = true
		a, err := w.accept(ctx, j)
		if err != nil && (w.Once || w.Run != "") {
			return nil, err
		}
		if a != nil {
			mine = append(mine, a)
		}
	}
	maps.DeleteFunc(w.ready, func(k string, _ *assignment) bool {
		w.served = w.served || !there[k]
		return !there[k]
	})
	maps.DeleteFunc(w.refused, func(k string, _ error) bool { return !there[k] })
	if len(mine) == 0 {
		return nil, nil
	}
	i := slices.IndexFunc(mine, func(a *assignment) bool { return a.Run == w.turn })
	next := mine[(i+1)%len(mine)]
	w.turn = next.Run
	return next, nil
}

// hear takes a word about jobs: one that this worker has taken may be over before it had a unit of it.
func (w *worker) hear(m *nats.Msg) {
	for _, a := range w.ready {
		w.served = w.served || string(m.Data) == a.overNews()
	}
}

// accept examines a job that is new; nil: it is refused, with the reason as error.
func (w *worker) accept(ctx context.Context, j *job) (*assignment, error) {
	if a := w.ready[j.key()]; a != nil {
		return a, nil
	}
	if err := w.refused[j.key()]; err != nil {
		return nil, err
	}
	plan, err := w.examine(j)
	kind, body := "log.worker", []byte(nil)
	if err != nil {
		err = fmt.Errorf("%w: run %s of %s: %w", ErrRefused, j.Run, j.Manifest.Scenario.Name, err)
		w.refused[j.key()] = err
		w.log.Error("refused", "error", err)
		kind, body = "log.refused", []byte(err.Error())
	} else {
		w.ready[j.key()] = &assignment{j, plan}
		w.log.Info("took a job", "run", j.Run, "scenario", j.Manifest.Scenario.Name, "engine", j.Manifest.Engine)
		body, _ = json.Marshal(record.Worker{Name: w.Name, Kernel: w.Kernel, CPU: w.CPU}) // plain data
	}
	if j.Epoch != "" {
		if _, e := w.js.Publish(ctx, j.subject(kind, w.Name), body); e != nil {
			w.log.Debug("cannot tell the coordinator", "error", e)
		}
	}
	return w.ready[j.key()], err
}

// examine builds a job's plan, and says why this worker must not have it.
func (w *worker) examine(j *job) (p runner.Plan, err error) {
	m := j.Manifest
	if j.Schema != jobSchema {
		return p, fmt.Errorf("its job is of schema %q, and this build knows %q: use the same punchlab", j.Schema, jobSchema)
	}
	if !w.AnySkew {
		if err := skew(m.Versions, w.Versions, j.Build); err != nil {
			return p, err
		}
	}
	if sim := m.Engine == lab.EngineSim; !sim && w.Config.Fabric == nil {
		return p, fmt.Errorf("engine %s needs namespaces, and this worker has engine %s alone: start one where 'punchlab doctor' is content",
			m.Engine, lab.EngineSim)
	}
	if p, err = w.Prepare(m); err != nil {
		return p, err
	}
	if p.Seed != m.Seed || p.Trials != m.TrialsPerCell || m.Cells != 0 && len(p.Cells) != m.Cells {
		return p, fmt.Errorf("this build makes %d cells of %d trials with seed %d of it, not %d of %d with %d", len(p.Cells), p.Trials, p.Seed,
			m.Cells, m.TrialsPerCell, m.Seed)
	}
	return p, nil
}

// skew says in what a worker's build differs from the coordinator's.
func skew(coordinator, worker record.Versions, digest string) error {
	var differ []string
	say := func(what, a, b string) {
		if a != b {
			differ = append(differ, fmt.Sprintf("%s is %q there and %q here", what, a, b))
		}
	}
	say("commit", coordinator.Commit, worker.Commit)
	say("Go", coordinator.Go, worker.Go)
	if coordinator.Dirty != worker.Dirty {
		say("commit", fmt.Sprintf("%s, changed: %v", coordinator.Commit, coordinator.Dirty), fmt.Sprintf("%s, changed: %v", worker.Commit, worker.Dirty))
	} else if digest != "" && len(differ) == 0 {
		say("program (its commit was changed)", digest, build(worker))
	}
	for _, m := range slices.Sorted(maps.Keys(coordinator.Modules)) {
		say("module "+m, coordinator.Modules[m], worker.Modules[m])
	}
	for _, m := range slices.Sorted(maps.Keys(worker.Modules)) {
		if _, ok := coordinator.Modules[m]; !ok {
			say("module "+m, "", worker.Modules[m])
		}
	}
	if len(differ) == 0 {
		return nil
	}
	if n := len(differ); n > 4 {
		differ = append(differ[:4], fmt.Sprintf("and %d more", n-4))
	}
	return fmt.Errorf("another build: %s: use the same, or allow versions to differ", strings.Join(differ, "; "))
}
