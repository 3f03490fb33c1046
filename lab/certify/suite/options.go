package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/reports"
)

// Procedure runs a case and says what it came to.
type Procedure = func(ctx context.Context, s *stage.Stage) certify.Result

// Options say what is certified, and how.
type Options struct {
	Declaration *certify.Declaration
	Device      stage.Device
	Procedures  map[string]Procedure // by case ID. A case without one is inconclusive
	Only        []string             // IDs; none: every case. With any, nothing is certified
	Seed        uint64               // of the run; a case's own follows from it and the ID
	Brief       bool                 // few tries, short watches: certifies nothing
	// Named: programs are told which case is run, for who debugs one: certifies nothing. Else they are told another binding case's ID that applies:
	// none can do for one case what it does not do else.
	Named  bool
	Jobs   int    // cases at once; 0: DefaultJobs. A box is in one place at a time: 1
	Out    string // folder; must not exist, or be empty, unless Resume
	Resume bool   // go on with what is in Out
	Fabric *live.Fabric

	Keys     []*evidence.Key     // sign the certificate; none: it is not sealed
	Still    func() error        // says in the end that Programs are no more what they were; nil: nobody asks
	Firmware *evidence.Artifact  // the image, measured: what was declared; nil: its digest is the vendor's word
	Programs []evidence.Artifact // certified besides the firmware: programs that the vendor brought
	// WitnessOf is the statement (evidence.Report.Statement) whose cases are run again; "" if none.
	WitnessOf string

	Command  string                 // command line of the run, for readers
	Replay   func(id string) string // command that runs a case again, as it is run here
	Verify   string                 // command that checks the certificate
	Versions []reports.Fact
	Machine  []reports.Fact
	Roles    []reports.Part

	Progress func(Event) // called by one goroutine at a time; nil: nobody
	Now      func() time.Time

	seam seam // tests
}

// DefaultJobs is how many cases run at once: most of them wait most of their time.
func DefaultJobs(brief bool) int {
	if brief {
		return min(16, 4*runtime.GOMAXPROCS(0))
	}
	return min(12, 2*runtime.GOMAXPROCS(0))
}

// Kind says what has happened.
type Kind string

// Kinds of event.
const (
	Began    Kind = "began"    // the run
	Started  Kind = "started"  // a case
	Said     Kind = "said"     // what a case says of its progress
	Finished Kind = "finished" // a case
	Probed   Kind = "probed"   // the honesty probe
	Ended    Kind = "ended"    // the run; its verdict
)

// Event is a step of a run. What does not go with its kind is empty.
type Event struct {
	Kind    Kind            `json:"event"`
	At      time.Time       `json:"at"`
	Case    string          `json:"case,omitempty"`
	Title   string          `json:"title,omitempty"`
	Verdict certify.Verdict `json:"verdict,omitempty"`
	Text    string          `json:"text,omitempty"`    // reason, or what is said
	Seconds float64         `json:"seconds,omitempty"` // that the case or the run took
	Seed    uint64          `json:"seed,omitempty,string"`
	Done    int             `json:"done"`              // cases
	Of      int             `json:"of"`                // cases that are to be run
	Running []string        `json:"running,omitempty"` // IDs
	Left    time.Duration   `json:"-"`                 // estimate
}

// BadOptions is a fault of Options: nothing was run.
type BadOptions struct{ err error }

func (e *BadOptions) Error() string { return e.err.Error() }
func (e *BadOptions) Unwrap() error { return e.err }

func refuse(format string, a ...any) error { return &BadOptions{fmt.Errorf(format, a...)} }

// Check says why nothing can be run, as a *BadOptions.
func (o Options) Check() error { return o.check() }

// check refuses what cannot be run, and fills in defaults.
func (o *Options) check() error {
	switch {
	case o.Declaration == nil:
		return refuse("certify: no declaration: nobody has said what the camera has")
	case o.Out == "":
		return refuse("certify: no folder for the evidence")
	case o.Jobs < 0:
		return refuse("certify: %d cases at once: give at least 1", o.Jobs)
	case o.Device.Way == stage.Box && o.Jobs > 1:
		return refuse("certify: %d cases at once: a box is on one cable, and one case has it at a time", o.Jobs)
	case o.Named && o.WitnessOf != "":
		return refuse("certify: a run whose programs are told each case is no witness: it certifies nothing")
	case o.Brief && o.WitnessOf != "":
		return refuse("certify: a brief run is no witness: it tries less than what was certified")
	}
	if declared := o.Declaration.Device.Firmware; o.Firmware != nil && o.Firmware.SHA256 != declared.SHA256 {
		return refuse("certify: declared is firmware %s with SHA-256 %s, and that of %s is %s", declared.Name, declared.SHA256, o.Firmware.Name,
			o.Firmware.SHA256)
	}
	if err := o.checkCases(); err != nil {
		return err
	}
	if err := o.checkFolder(); err != nil {
		return err
	}
	if o.Jobs == 0 {
		o.Jobs = DefaultJobs(o.Brief)
	}
	if o.Device.Way == stage.Box {
		o.Jobs = 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Replay == nil {
		o.Replay = func(string) string { return "" }
	}
	o.seam.fill()
	return nil
}

// checkCases holds Only to the catalogue and the declaration.
func (o *Options) checkCases() error {
	selected := certify.Select(o.Declaration)
	for i, id := range o.Only {
		n := slices.IndexFunc(selected, func(s certify.Selected) bool { return s.Case.ID == id })
		switch {
		case n < 0:
			_, err := certify.Show(id)
			return &BadOptions{err}
		case slices.Contains(o.Only[:i], id):
			return refuse("case %s is there twice", id)
		case !selected[n].Applicable:
			return refuse("case %s does not apply to this camera: %s", id, selected[n].Why)
		}
	}
	return nil
}

// Asked reports whether a case is to be run.
func (o *Options) Asked(s certify.Selected) bool {
	return s.Applicable && (len(o.Only) == 0 || slices.Contains(o.Only, s.Case.ID))
}

// ErrInterrupted is of a run that was cut short: what is done is kept, and Resume goes on with it.
var ErrInterrupted = errors.New("interrupted")

// list writes IDs as words.
func list(ids []string) string { return strings.Join(ids, ", ") }
