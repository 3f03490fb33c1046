package work

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
)

// Connection says which NATS servers to use, and as whom.
type Connection struct {
	URL         string        // servers, separated by commas: nats://, tls://, ws://, wss://; user and password, or a token, may stand in it
	Credentials string        // file of a user's JWT and seed (.creds); "": none
	CA          string        // file of certificates (PEM) that sign the servers'; "": the system's
	Cert, Key   string        // files of this client's certificate and key (PEM); "": none
	Options     []nats.Option // besides
}

// Options is a run to spread. Zero knobs take the defaults named.
type Options struct {
	Connection // an empty URL: a server is embedded

	Listen string           // of the embedded server, HOST:PORT; "": 127.0.0.1 and a port that is free
	Store  string           // folder of the embedded server's files: the run's, so that it goes on where it was; needed without URL
	Ready  func(url string) // told the URL for workers as soon as they may come; may be nil

	Manifest record.Manifest // of the run's folder: what makes the job, and names it (RunID)
	Plan     runner.Plan     // the same run; Done and Mine say what is open
	Recorded []record.Trial  // of a run that goes on and has a Stop: its records with a verdict

	Sink  func(record.Trial) error     // keeps a record, of each attempt once; called from one goroutine, in the order of the log
	Watch func(record.Trial, Progress) // after each record; may be nil; called from the same goroutine
	Abort func(record.Trial) error     // after each record; an error ends the run and is returned; may be nil
	Idle  func(waiting time.Duration)  // told now and then that records are missing and none comes; may be nil

	UnitTrials int           // most trials of a unit; 0: 20
	AckWait    time.Duration // without a sign of a worker, after which its unit goes to another; 0: 30 s
	MaxDeliver int           // workers that may die on a unit, all but the first alone with it, before it is given up: harness errors; 1 is 2; 0: 8
	MaxAge     time.Duration // after which the server forgets a run whose coordinator is gone; 0: 7 days
	Replicas   int           // of the streams, on a cluster; 0: 1
	Log        *slog.Logger  // nil: none
}

// Progress is how far a run is, and who did what.
type Progress struct {
	runner.Progress
	Workers []record.Worker // by name; Trials counts this coordinator's and earlier ones' of the same run, as the log has them
}

// ServeOptions is what a worker is. Zero knobs take the defaults named.
type ServeOptions struct {
	Connection

	Name     string          // no other worker's; "": the host's name and a few random letters
	Versions record.Versions // of this build
	Kernel   string
	CPU      record.CPU
	AnySkew  bool // serve jobs of other versions too: their digests have to be reproduced all the same

	// Config is the runner's: Fabric (nil: engine sim alone), Jobs. Late is the job's; Sink and Watch are taken.
	Config runner.Config
	// Prepare builds a job's plan; nil: Prepare.
	Prepare func(record.Manifest) (runner.Plan, error)

	Run  string       // serve this run alone; "": any
	Once bool         // return when the first job that was served is over
	Log  *slog.Logger // nil: none
}
