package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/work"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// embedded is the value of --nats that starts a server in this process.
const embedded = "embedded"

// spreadFlags are those of a run that others have the trials of.
type spreadFlags struct {
	url, listen string
	natsFlags
}

// natsFlags are how a NATS server is reached.
type natsFlags struct{ credentials, ca, cert, key string }

func (n *natsFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&n.credentials, "nats-credentials", "", "`file` of a NATS user's credentials (.creds)")
	fl.StringVar(&n.ca, "nats-ca", "", "`file` of the certificates that sign the NATS servers' (PEM; default: the system's)")
	fl.StringVar(&n.cert, "nats-cert", "", "`file` of this client's certificate (PEM)")
	fl.StringVar(&n.key, "nats-key", "", "`file` of that certificate's key (PEM)")
}

func (n *natsFlags) connection(url string) work.Connection {
	return work.Connection{URL: url, Credentials: n.credentials, CA: n.ca, Cert: n.cert, Key: n.key}
}

func (s *spreadFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&s.url, "nats", "", "let 'punchlab worker's have the trials, by the NATS server at this `URL`, or embedded: one in this process")
	fl.StringVar(&s.listen, "nats-listen", "", "with --nats embedded: `HOST:PORT` of the server (default 127.0.0.1 and a free port)")
	s.natsFlags.add(fl)
}

func (s *spreadFlags) on() bool { return s.url != "" }

// coordinate has a run's trials done by workers.
func (s *spreadFlags) coordinate(ctx context.Context, j *job, w *record.Writer, p *progress, monitor *gate.Monitor) (runner.Progress, error) {
	url := s.url
	if url == embedded {
		url = ""
	}
	got, err := work.Coordinate(ctx, work.Options{
		Connection: s.connection(url), Listen: s.listen, Store: filepath.Join(w.Dir(), ".nats"),
		Ready: func(url string) {
			fmt.Fprintf(os.Stderr, "%s: waiting for 'punchlab worker --nats %s'\n", j.name(), url)
		},
		Manifest: j.manifest, Plan: j.Plan, Recorded: j.recorded, Sink: w.Add, Abort: monitor.Add,
		Watch: func(t record.Trial, g work.Progress) { p.show(t, g.Progress) },
		Idle: func(d time.Duration) {
			fmt.Fprintf(os.Stderr, "%s: no record for %v: is there a worker?\n", j.name(), d.Round(time.Second))
		},
	})
	w.Amend(func(m *record.Manifest) { m.Workers = got.Workers })
	for _, k := range got.Workers {
		fmt.Fprintf(os.Stderr, "%s: worker %s: %d records\n", j.name(), k.Name, k.Trials)
	}
	return got.Progress, err
}

func workerCommand() *cobra.Command {
	var s spreadFlags
	var f runFlags
	var name, run string
	var once, skew, simOnly bool
	c := &cobra.Command{
		Use:   "worker --nats URL",
		Short: "Run trials of runs that 'punchlab run --nats' spreads",
		Long: `Take cells of runs from a NATS JetStream work queue, run their trials and store the records, until interrupted. A part is
acknowledged only once its records are stored; of a worker that dies, another one takes it over. A run that this build would
not run in the same way is left to others.`,
		Example: "  punchlab worker --nats nats://10.0.0.1:4222\n  punchlab worker --nats tls://nats.example.net --nats-credentials lab.creds --once",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.url == "" || s.url == embedded {
				return usagef("--nats: give the URL that 'punchlab run --nats' says")
			}
			if err := checkURL(s.url); err != nil {
				return err
			}
			if f.jobs < 0 {
				return usagef("--jobs %d: give at least 1", f.jobs)
			}
			o := work.ServeOptions{
				Connection: s.connection(s.url), Name: name, Versions: versions(), Kernel: kernel(),
				CPU: record.CPU{Model: cpuModel(), Cores: runtime.NumCPU()}, AnySkew: skew, Run: run, Once: once,
				Config: runner.Config{Jobs: f.jobs}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			}
			if !simOnly {
				// The namespace that this process is about to enter has no way out.
				if err := work.Outside(); err != nil {
					return labError(err)
				}
				fabric, err := startFabric(f.precise)
				if err != nil {
					return err
				}
				defer fabric.Close()
				o.Config.Fabric = fabric
			}
			return workerEnded(cmd.Context(), work.Serve(cmd.Context(), o))
		},
	}
	fl := c.Flags()
	fl.StringVar(&s.url, "nats", "", "`URL` of the NATS server")
	s.natsFlags.add(fl)
	fl.StringVar(&name, "name", "", "name in the records (default: the host's, and a few random letters)")
	fl.StringVar(&run, "run", "", "serve the run of this `id` alone")
	fl.BoolVar(&once, "once", false, "end with the first run that was served")
	fl.BoolVar(&skew, "any-version", false, "serve runs of other builds too, as long as they mean the same by their scenarios")
	fl.BoolVar(&simOnly, "sim", false, "serve runs of engine "+lab.EngineSim+" alone, which need no namespaces")
	fl.IntVar(&f.jobs, "jobs", 0, fmt.Sprintf("most trials at once (default %d; of engine %s the number of cores)", runner.DefaultJobs, lab.EngineSim))
	fl.BoolVar(&f.precise, "precise", false, "let the fabric spin before packets are due: truer delays for more CPU")
	return c
}

// checkURL refuses what is no address of NATS servers, before anything waits for one.
func checkURL(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return usagef("--nats %s: write it as nats://HOST:PORT or tls://HOST:PORT", text)
		}
	}
	return nil
}

// workerEnded is no error where somebody ended the worker.
func workerEnded(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return labError(err)
}
