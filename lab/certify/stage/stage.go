package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/scratch"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
)

// Way is how a camera is plugged in: CONTRACT.md's A, B and C.
type Way string

// Ways.
const (
	Executable Way = "executable" // A: a program for each role
	Box        Way = "box"        // B: on a cable
	Endpoint   Way = "endpoint"   // C: a program that is the camera, and speaks the bundled protocol
)

// Device is what is certified, and what plays the roles around it.
type Device struct {
	Way     Way
	Program []string // the vendor's, with its arguments: the camera (A, C); A and B: also its server, relay and viewer, unless it answers 127
	Bundled []string // the adapter of the bundled programs: {os.Executable(), "adapter"}

	Interface string    // B: that the box hangs on
	From      *netns.NS // B: where the interface is; nil: where this program was started
	Hook      []string  // B: the program that does actions, with its arguments; none: all are unsupported
	Forward   []uint16  // B: ports, UDP and TCP, that the box's owner has forwarded to it; its ticket is where, if the hook gives none

	Env []string // NAME=value, added to every program's environment, bundled or not
}

// Options are what a Stage needs.
type Options struct {
	Case        certify.Case
	Declaration *certify.Declaration
	Device      Device
	Seed        uint64
	Told        string       // the ID of the case that programs are told that this is; empty: the case's
	Brief       bool         // few tries and short watches: see N and For
	Folder      string       // of the case's evidence; made if it is missing
	Fabric      *live.Fabric // which the caller closes, after the Stage
	Say         func(string) // told of the progress, a line at a time, from any goroutine; nil: nobody is
}

// Stage is where one case is run. It is safe for concurrent use, but for Set, Topology, Finish and Close.
type Stage struct {
	o      Options
	began  time.Time
	dir    *scratch.Folder // the programs' folders; gone at Close
	source Source
	pool   lab.Pool
	paper  *paper

	mu       sync.Mutex
	observed map[string]int
	claim    *certify.Claim
	unknown  map[certify.Role]bool // the vendor's program answered 127 to it
	faults   []*Fault              // of the vendor's programs, as they ended
	flood    *Fault                // one of them that filled the tape
	torn     error                 // a tape was not whole
	number   int                   // of the newest result folder or ticket
	sets     int
	set      *Set // that is up
	closed   bool
	closeErr error
}

// Open begins a case. Nothing is up yet: see Set. The error is the caller's options' or the machine's.
func Open(o Options) (*Stage, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	s := &Stage{o: o, began: time.Now(), observed: map[string]int{}, unknown: map[certify.Role]bool{}, source: clip(secret(), fullRounds)}
	if o.Brief {
		s.source = clip(secret(), briefRounds)
	}
	s.pool.Fabric = o.Fabric
	var err error
	if s.paper, err = newPaper(o.Folder, s.began); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	if s.dir, err = scratch.New("stage", s.began); err == nil {
		err = os.WriteFile(s.sourceFile(), s.source.Bytes, 0o644)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(s.dir.Path, "tickets"), 0o755)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stage: make the programs' folders: %w", err), s.Close())
	}
	s.Note("%s (%s), seed %d, brief %v, way %s", o.Case.ID, o.Case.Title, o.Seed, o.Brief, o.Device.Way)
	if s.told() != o.Case.ID {
		s.Note("the programs are told that this is %s", s.told())
	}
	return s, nil
}

// told is PUNCHLAB_CASE.
func (s *Stage) told() string {
	if s.o.Told != "" {
		return s.o.Told
	}
	return s.o.Case.ID
}

func (o *Options) check() error {
	d := o.Device
	switch {
	case o.Declaration == nil:
		return errors.New("no declaration: a case is run for a device that declares what it has")
	case o.Fabric == nil:
		return errors.New("no fabric: start one (live.Start)")
	case o.Folder == "":
		return errors.New("no folder for the evidence")
	case d.Way != Executable && d.Way != Box && d.Way != Endpoint:
		return fmt.Errorf("way %q: there are %s, %s and %s", d.Way, Executable, Box, Endpoint)
	case d.Way != Box && len(d.Program) == 0:
		return fmt.Errorf("no program: way %s needs the vendor's", d.Way)
	case d.Way == Box && d.Interface == "":
		return errors.New("no interface: way box needs the one that the camera hangs on")
	case len(d.Bundled) == 0:
		return errors.New("no bundled program: give the adapter")
	}
	return nil
}

// Case is the case that is run.
func (s *Stage) Case() certify.Case { return s.o.Case }

// Decl is what the vendor declares.
func (s *Stage) Decl() *certify.Declaration { return s.o.Declaration }

// Way is how the camera is plugged in.
func (s *Stage) Way() Way { return s.o.Device.Way }

// Brief reports whether the case is run with few tries and short watches. Such a run certifies nothing.
func (s *Stage) Brief() bool { return s.o.Brief }

// N is how many tries a case makes: full, or brief.
func (s *Stage) N(full, brief int) int {
	if s.o.Brief {
		return brief
	}
	return full
}

// For is how long a case watches: full, or brief.
func (s *Stage) For(full, brief time.Duration) time.Duration {
	if s.o.Brief {
		return brief
	}
	return full
}

// Seed is the n-th of the case's seeds: the same in each run of the same seed, and unlike the others (SplitMix64, Steele et al. 2014).
func (s *Stage) Seed(n int) uint64 {
	z := s.o.Seed + uint64(n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Source is the clip that cameras are given.
func (s *Stage) Source() Source { return s.source }

func (s *Stage) sourceFile() string { return filepath.Join(s.dir.Path, "source.h264") }

// say tells the caller of the progress.
func (s *Stage) say(line string) {
	if s.o.Say != nil {
		s.o.Say(line)
	}
}

// next numbers what needs a name of its own.
func (s *Stage) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	return s.number
}

// Close ends all programs, takes the lab down and completes the evidence. It is harmless to call it twice, and after Finish.
func (s *Stage) Close() error {
	s.mu.Lock()
	closed, err, set := s.closed, s.closeErr, s.set
	s.mu.Unlock()
	if closed {
		return err
	}
	var errs []error
	if set != nil {
		errs = append(errs, set.Close())
	}
	errs = append(errs, s.pool.Close())
	errs = append(errs, s.dir.Remove())
	s.mu.Lock()
	counts := s.counts()
	s.mu.Unlock()
	errs = append(errs, s.paper.close(counts))
	if err = errors.Join(errs...); err != nil {
		err = fmt.Errorf("stage: close: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.closeErr = true, err
	return err
}

// Folder is that of the case's evidence: for files beside those that the Stage writes.
func (s *Stage) Folder() string { return s.o.Folder }
