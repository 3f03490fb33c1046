// Package stack is the seam between the lab and a system under test.
//
//	runner ──Try──▶ System ──▶ Lab's hosts: real sockets, real processes
//	       ◀─Observation─┘      what happened, as measured on the hosts
//	       ──Simulate──▶ Simulator ──▶ lab/sim: the same cores, in virtual time, where the system can (CheckSim)
//
// A System is tried once per trial, on a lab that was reset and whose NATs were proved. It reports what it observed; it
// does not judge. What only the lab can know (lateness, the oracle, the bound) is the runner's to add.
package stack

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/topologies/document"
)

// Trial is what a System is asked to do.
type Trial struct {
	Seed     uint64
	Strategy string
	Idle     time.Duration // how long the camera stays registered before a viewer asks
	Media    time.Duration // video to receive; zero: connect only
	Timeout  time.Duration // of the whole trial, from the viewer's request
	Stranger bool          // at the end, see whether somebody from elsewhere reaches the camera: Probes["stranger_reached"]

	Options map[string]string // by Option.Name, what this trial has besides; those the system does not know are not given

	// Reached is told each moment of the trial as it comes, once; nil: nobody asks. It must not block.
	Reached func(Moment)
}

// Moment is a step of a trial. The lab's events may wait for one.
type Moment string

// The moments, in their order.
const (
	Requested   Moment = "requested"    // the viewer asks for the camera
	Connected   Moment = "connected"    // both hold the session's keys
	FirstPacket Moment = "first-packet" // of the media, authenticated
	FirstFrame  Moment = "first-frame"  // a whole access unit
)

// Observation is what a System saw. Zero durations did not happen.
type Observation struct {
	Outcome     record.Outcome
	Connect     time.Duration // viewer's request → session with the camera
	FirstPacket time.Duration // viewer's request → first media packet, authenticated
	FirstFrame  time.Duration // viewer's request → first whole access unit
	PathChanges int

	FirstFrameWire int // bytes on the wire, IP headers included, of the first access unit; 0: no media
	Media          *record.Media
	Bytes          map[string]int64
	Probes         map[string]float64
	Cause          string // one sentence, where it did not go direct
	Error          string
}

// System is a system under test. Try is called from many goroutines, each with a lab of its own, and leaves no socket,
// goroutine or process behind. An error is the lab's fault, not the system's.
type System interface {
	Name() string
	Strategies() []string
	Programs() []string // hosts whose program an event can kill
	Try(ctx context.Context, l *lab.Lab, t Trial) (Observation, error)
}

// A Checker is a System whose strategies take parameters (birthday:256x1024): it says what is wrong with one.
type Checker interface {
	CheckStrategy(name string) error
}

// A Summarizer is a System that says in a line what one of its strategies is.
type Summarizer interface {
	Summary(strategy string) string
}

// A Preparer is a System that says what an owner has to do, once, before a strategy works: a step each.
type Preparer interface {
	Setup(strategy string) []string
}

// An Optioner is a System whose trials can have more than a strategy: a scenario varies it by an axis "trial.NAME".
type Optioner interface {
	Options() []Option
}

// Option is something that a trial may have besides.
type Option struct {
	Name, Summary string
	Values        []string // that it may have; nil: a whole number, at most Max
	Max           int
}

// Check says what is wrong with a value. The error is a *lab.Problem.
func (o Option) Check(value string) error {
	if o.Values != nil {
		if slices.Contains(o.Values, value) {
			return nil
		}
		return lab.Unknown("", "value of trial."+o.Name, value, o.Values)
	}
	if n, err := strconv.Atoi(value); err != nil || n < 0 || n > o.Max {
		return &lab.Problem{Msg: fmt.Sprintf("%q is no number of trial.%s: give a whole one from 0 to %d", value, o.Name, o.Max)}
	}
	return nil
}

// Options lists what trials of a system may have besides.
func Options(s System) []Option {
	if o, ok := s.(Optioner); ok {
		return o.Options()
	}
	return nil
}

// FindOption is an option of a name that at least one system has.
func FindOption(name string) (Option, error) {
	var names []string
	for _, s := range Systems() {
		for _, o := range Options(s) {
			if o.Name == name {
				return o, nil
			}
			names = append(names, o.Name)
		}
	}
	return Option{}, lab.Unknown("", "trial setting", name, names)
}

// Systems lists what can be put under test. No two have a strategy of the same name.
func Systems() []System { return slices.Clone(systems()) }

var systems = sync.OnceValue(func() []System { return append([]System{Bundled{}, ICE{}, Cloud{}}, Externals()...) })

// Strategies lists the strategies of all systems, without parameters.
func Strategies() (names []string) {
	for _, s := range Systems() {
		names = append(names, s.Strategies()...)
	}
	return names
}

// ForStrategy returns the system that has a strategy; the name may have parameters behind a colon. The name of a file is an
// External of the user's own. Where none has it the error is a *lab.Problem.
func ForStrategy(name string) (System, error) {
	if document.IsFile(name) {
		x, err := LoadExternal(name)
		if err != nil {
			return nil, &lab.Problem{Msg: err.Error()}
		}
		return x, nil
	}
	base, parameters, given := strings.Cut(name, ":")
	for _, s := range Systems() {
		if !slices.Contains(s.Strategies(), base) {
			continue
		}
		c, ok := s.(Checker)
		switch {
		case ok:
			return s, problem(c.CheckStrategy(name))
		case given:
			return nil, &lab.Problem{Msg: fmt.Sprintf("strategy %q takes no parameters: leave out %q", base, ":"+parameters)}
		}
		return s, nil
	}
	return nil, lab.Unknown("", "strategy", base, Strategies())
}

func problem(err error) error {
	if err == nil {
		return nil
	}
	return &lab.Problem{Msg: err.Error()}
}
