package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
)

// Program is one that plays a role in its cage. It is safe for concurrent use.
type Program struct {
	Role    certify.Role
	Action  certify.Action
	Unit    int
	Host    string
	Vendors bool // else it is bundled

	set     *Set
	results results
	cancel  context.CancelFunc
	isReady atomic.Bool
	started time.Time
	mark    int           // position of the tape when it was started
	caged   chan struct{} // closed: cage is set
	done    chan struct{} // closed: it is over for good

	mu     sync.Mutex
	cage   lab.Program // contain's: power, and sleep
	warden int         // PID of what holds the cage
	cut    bool        // no power
	ending bool        // it was told to
	flood  *Fault      // for which it was ended

	report *contain.Report // once done
	err    error           // the lab's
}

// starting is a program to be started.
type starting struct {
	role   certify.Role
	action certify.Action
	unit   int
	host   string
	argv   []string
	vendor bool
	env    []string // beside the contract's
	show   []string // files that it is given to read
	wall   time.Duration
}

// longest is how long a program runs that nobody ends.
const longest = 24 * time.Hour

// logLimit is how much a program may print: the contract's limits are per run, and a case may run for hours.
const logLimit = 16 << 20

// start starts a program.
func (x *Set) start(s starting) (*Program, error) {
	p := &Program{
		Role: s.role, Action: s.action, Unit: s.unit, Host: s.host, Vendors: s.vendor, set: x, started: time.Now(), mark: x.tape.Mark(),
		caged: make(chan struct{}), done: make(chan struct{}),
	}
	m := x.lab.Host(s.host)
	if m == nil {
		return nil, fmt.Errorf("start %s: topology %s has no host %s", s.role, x.lab.Topology().Name, s.host)
	}
	folder, err := x.stage.folder(s.role, s.unit)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.role, err)
	}
	p.results.name = "result-" + strconv.Itoa(x.stage.next())
	if p.results.root, err = os.OpenRoot(folder); err == nil {
		err = p.results.root.Mkdir(p.results.name, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.role, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	spec := contain.Spec{
		Host: berth{m, p}, Program: s.argv[0], Args: s.argv[1:], Folder: folder, Wall: longest,
		Env: append(x.environment(s, folder, p.results.name), s.env...), Hosts: x.hostsFile(s.host),
		Again: func() { p.again() }, Limits: contain.Limits{Output: logLimit},
		Hide: []string{x.stage.dir.Path, x.stage.o.Folder}, Show: s.show,
	}
	if s.role == certify.RoleCamera {
		spec.Show = append(spec.Show, x.stage.sourceFile())
	}
	if s.wall > 0 {
		spec.Wall = s.wall
	}
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		cancel()
		return nil, errors.Join(errors.New("start "+string(s.role)+": the set is closed"), p.results.root.Close())
	}
	x.cast = append(x.cast, p)
	x.mu.Unlock()
	go p.run(ctx, spec)
	return p, nil
}

// run is the program's run.
func (p *Program) run(ctx context.Context, spec contain.Spec) {
	r, err := contain.Run(ctx, spec)
	_, _ = p.results.read(true)
	p.mu.Lock()
	p.report, p.err = r, err
	p.mu.Unlock()
	p.set.stage.log(p.name(), r, err)
	if f := p.misdeed(r); f != nil && p.Vendors {
		p.set.stage.blame(f)
	}
	if f := p.claims(); f != nil {
		p.set.stage.blame(f)
	}
	p.cancel()
	if p.Role == certify.RoleViewer {
		p.leave()
	}
	close(p.done)
}

// leave gives back what a program that is over holds: a case may have thousands of viewers.
func (p *Program) leave() {
	x := p.set
	x.mu.Lock()
	x.cast = slices.DeleteFunc(x.cast, func(q *Program) bool { return q == p })
	x.mu.Unlock()
	if err := p.put(); err != nil {
		x.stage.Note("put away the results of %s: %v", p.name(), err)
	}
}

// blame keeps what a vendor's program did.
func (s *Stage) blame(f *Fault) {
	s.Note("fault: %v", f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// name is: the vendor's camera 2 (run) on camera-2.
func (p *Program) name() string {
	whose, unit := "bundled", ""
	if p.Vendors {
		whose = "vendor's"
	}
	if p.Unit > 1 {
		unit = " " + strconv.Itoa(p.Unit)
	}
	return fmt.Sprintf("the %s %s%s (%s) on %s", whose, p.Role, unit, p.Action, p.Host)
}

// folder is a role's unit's, with its state; the same throughout the case.
func (s *Stage) folder(role certify.Role, unit int) (string, error) {
	dir := filepath.Join(s.dir.Path, fmt.Sprintf("%s-%d", role, unit))
	return dir, os.MkdirAll(filepath.Join(dir, "state"), 0o755)
}

// again prepares another life.
func (p *Program) again() {
	if err := p.results.anew(); err != nil {
		p.set.stage.Note("empty the result folder of %s: %v", p.name(), err)
	}
}

// berth is a host with a program's place on it.
type berth struct {
	*lab.Machine
	p *Program
}

// Start starts the warden.
func (b berth) Start(cmd *exec.Cmd) error {
	if err := b.Machine.Start(cmd); err != nil {
		return err
	}
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	b.p.warden = cmd.Process.Pid
	return nil
}

// Run announces the program to the host's events, by way of power.
func (b berth) Run(q lab.Program) func() {
	b.p.cage = q
	close(b.p.caged)
	return b.Machine.Run(power{b.p})
}

// power is a program as events see it.
type power struct{ p *Program }

func (w power) Kill()        { w.p.Kill() }
func (w power) Start() error { return w.p.on() }
func (w power) Sleep()       { w.p.Pause() }
func (w power) Wake()        { w.p.Resume() }

// held waits until it is in its cage, and reports whether it ever was: a program that is not there is not.
func (p *Program) held() bool {
	select {
	case <-p.caged:
		return true
	case <-p.done:
		return p.cage != nil
	}
}

// Kill cuts the program's power: SIGKILL to it and all that it has started. Start gives it back.
func (p *Program) Kill() {
	if !p.held() {
		return
	}
	p.mu.Lock()
	p.cut = true
	p.mu.Unlock()
	p.cage.Kill()
}

// on gives it power, with the same state and an empty result folder. It does nothing if it has power.
func (p *Program) on() error {
	if !p.held() {
		return nil
	}
	if err := p.cage.Start(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	return nil
}

// Start gives it power again, and waits until it is ready.
func (p *Program) Start(ctx context.Context) error {
	if err := p.on(); err != nil {
		return fmt.Errorf("start %s again: %w", p.name(), err)
	}
	return p.Ready(ctx)
}

// Pause suspends it and all that it has started, and returns when nothing of it runs (SIGSTOP). Resume lets it go on.
func (p *Program) Pause() {
	if !p.held() {
		return
	}
	if s, ok := p.cage.(lab.Sleeper); ok {
		s.Sleep()
	}
}

// Resume lets it go on.
func (p *Program) Resume() {
	if !p.held() {
		return
	}
	if s, ok := p.cage.(lab.Sleeper); ok {
		s.Wake()
	}
}

// Done is closed when it is over for good: it ended by itself, or was ended.
func (p *Program) Done() <-chan struct{} { return p.done }

func (p *Program) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Alive reports whether it runs: it has power and has not ended.
func (p *Program) Alive() bool {
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	return !cut && !p.over()
}

// Report says what it did; nil: it is not over.
func (p *Program) Report() *contain.Report {
	if !p.over() {
		return nil
	}
	return p.report
}

// readyIn is how long a program may take to be ready, or for an action: PUNCHLAB_TIMEOUT.
const readyIn = 20 * time.Second

// Ready waits until it has said that it is set up. The error is *Unsupported, *Fault, *Timeout, or the lab's.
func (p *Program) Ready(ctx context.Context) error {
	limit := time.Now().Add(readyIn)
	return wait(ctx, fmt.Sprintf("%s to be ready", p.name()), func() (bool, error) {
		if p.results.ready() {
			p.isReady.Store(true)
			return true, nil
		}
		if p.over() {
			return false, p.ended("it was ready")
		}
		if time.Now().After(limit) {
			return false, p.accuse(fmt.Sprintf("was not ready within %v", readyIn))
		}
		return false, nil
	})
}

// wasReady reports whether it has said that it is set up: then it knows what it is asked for, and 127 is an end like any other.
func (p *Program) wasReady() bool { return p.isReady.Load() }

// end asks it to end, by SIGTERM, and waits until nothing of it is left. The error is the lab's.
func (p *Program) end() error {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	p.cancel()
	<-p.done
	return errors.Join(p.err, p.put())
}

// put puts its results away: what was read of them stays.
func (p *Program) put() error {
	err := p.results.root.RemoveAll(p.results.name)
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return errors.Join(err, p.results.root.Close())
}
