package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"github.com/punchlab/punchlab/lab/record"
	"golang.org/x/sys/unix"
)

// Try runs the commands on the lab's hosts.
func (e *External) Try(ctx context.Context, l *lab.Lab, t Trial) (o Observation, err error) {
	if cause := e.unsupported(l); cause != "" {
		return Observation{Outcome: record.Unsupported, Cause: cause}, nil
	}
	x, err := newExternalTrial(e, l, t)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	return x.run(ctx)
}

// run goes through the trial and observes it.
func (x *externalTrial) run(ctx context.Context) (o Observation, err error) {
	if err := x.start(ctx); err != nil {
		return x.stillborn(err, ctx.Err())
	}
	idle := x.idle(ctx, x.trial.Idle)
	if err := x.ask(); err != nil {
		return x.stillborn(err, ctx.Err())
	}
	window, cancel := context.WithTimeout(ctx, x.trial.Timeout)
	defer cancel()
	x.probe(window)
	x.await(window)
	o, err = x.observe()
	if x.trial.Idle > 0 && err == nil {
		o.Bytes["camera_idle_up"] = idle
	}
	return o, errors.Join(err, ctx.Err())
}

// unsupported is why the system can't run here; empty: it can.
func (e *External) unsupported(l *lab.Lab) string {
	for _, host := range externalHosts { // the packets of all three are watched
		if l.Host(host) == nil {
			return fmt.Sprintf("topology %s has no host %s, on which %s runs", l.Topology().Name, host, e.spec.Name)
		}
	}
	return e.Missing()
}

// fault is a failure of the system under test, and not of the lab.
type fault struct{ cause string }

func (f fault) Error() string { return f.cause }

func faultf(format string, args ...any) error { return fault{fmt.Sprintf(format, args...)} }

// stillborn is the observation of a trial that failed before its request. What is not the system's fault is an error.
func (x *externalTrial) stillborn(err, ended error) (Observation, error) {
	var f fault
	switch {
	case ended != nil:
		return Observation{}, ended
	case errors.Is(err, errNoAddress):
		return Observation{Outcome: record.Unsupported, Cause: err.Error()}, nil
	case errors.As(err, &f) && x.unsupported127():
		return Observation{Outcome: record.Unsupported, Cause: f.cause}, nil
	case errors.As(err, &f):
		return Observation{Outcome: record.Failed, Cause: f.cause, Error: "not ready"}, nil
	}
	return Observation{}, err
}

// externalTrial is one trial of an external system.
type externalTrial struct {
	spec     *externalSpec
	trial    Trial
	lab      *lab.Lab
	dir      string
	values   externalValues
	machines map[string]*lab.Machine
	leftover *leftover
	taps     *sniff.Taps
	commands map[string]*process
	started  []*process // in their order

	probes sync.WaitGroup

	mu      sync.Mutex
	flows   *externalFlows
	marks   map[Moment]time.Time // when
	ready   map[string]bool      // commands
	exits   map[string]int       // codes of commands that ended by themselves
	tally   tally
	changed chan struct{} // closed when something above has changed, and replaced
}

func newExternalTrial(e *External, l *lab.Lab, t Trial) (x *externalTrial, err error) {
	x = &externalTrial{
		spec: &e.spec, trial: t, lab: l, machines: map[string]*lab.Machine{}, commands: map[string]*process{},
		flows: newExternalFlows(l.Topology()), marks: map[Moment]time.Time{}, ready: map[string]bool{}, exits: map[string]int{},
		changed: make(chan struct{}),
	}
	var hosts []*lab.Machine
	for _, name := range externalHosts {
		x.machines[name] = l.Host(name)
		hosts = append(hosts, l.Host(name))
	}
	if x.dir, err = os.MkdirTemp("", "punchlab-"); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	x.values = externalValues{Dir: x.dir, Seed: t.Seed, Media: t.Media, Timeout: t.Timeout, topo: l.Topology()}
	if x.leftover, err = newLeftover(hosts); err == nil {
		x.taps, err = openTaps(hosts, x.packet)
	}
	if err != nil {
		return nil, errors.Join(err, x.close())
	}
	return x, nil
}

// close ends everything that the trial has started, and removes its files.
func (x *externalTrial) close() error {
	x.probes.Wait()
	var seen []int
	if x.leftover != nil {
		seen, _ = survey(x.leftover.spaces, nil)
	}
	var wg sync.WaitGroup
	for _, p := range x.started {
		wg.Go(p.end)
	}
	wg.Wait()
	var errs []error
	if x.leftover != nil {
		var groups []int
		for _, p := range x.started {
			groups = append(groups, p.groups...)
		}
		errs = append(errs, x.leftover.sweep(groups, seen))
	}
	if x.taps != nil {
		errs = append(errs, x.taps.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(x.dir))...)
}

// start prepares the files and starts the commands, until all are ready.
func (x *externalTrial) start(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, x.spec.Start)
	defer cancel()
	for _, f := range x.spec.Files {
		if err := x.writeFile(f); err != nil {
			return err
		}
	}
	for _, argv := range x.spec.Prepare {
		if err := x.prepare(limited, argv); err != nil {
			return err
		}
	}
	for i := range x.spec.Commands {
		c := &x.spec.Commands[i]
		if x.spec.Request.starts(c.Name) {
			continue
		}
		if err := x.launch(c); err != nil {
			return err
		}
		if err := x.awaitReady(limited, c); err != nil {
			return err
		}
	}
	return nil
}

func (x *externalTrial) writeFile(f externalFile) error {
	text, err := x.values.render(f.Text)
	if err != nil {
		return fmt.Errorf("file %s: %w", f.Name, err)
	}
	name := filepath.Join(x.dir, f.Name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("file %s: %w", f.Name, err)
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

// prepare runs a command to its end.
func (x *externalTrial) prepare(ctx context.Context, argv []string) error {
	cmd, err := x.command(ctx, nil, argv)
	if err != nil {
		return err
	}
	var said ending
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return faultf("%s: %v: %s", argv[0], err, strings.ToValidUTF8(strings.TrimSpace(string(said)), "?"))
	}
	return nil
}

// ending keeps the end of what is written to it: a command may say no end of things.
type ending []byte

const maxEnding = 2000 // bytes

func (e *ending) Write(b []byte) (int, error) {
	*e = append(*e, b[max(0, len(b)-maxEnding):]...)
	*e = append((*e)[:0], (*e)[max(0, len(*e)-maxEnding):]...)
	return len(b), nil
}

// command is one that ends by itself, on a host or on none, with its process group.
func (x *externalTrial) command(ctx context.Context, m *lab.Machine, argv []string) (*exec.Cmd, error) {
	path, args, err := x.resolve(argv)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = x.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = outputPatience
	cmd.Env, err = x.values.environment(m, nil)
	return cmd, err
}

// outputPatience is how long a command that has ended may take to have said all: what is in its pipe is lost afterwards.
const outputPatience = 5 * time.Second

// resolve finds the program and fills in the arguments.
func (x *externalTrial) resolve(argv []string) (path string, args []string, err error) {
	if args, err = x.values.renderAll(argv); err != nil {
		return "", nil, err
	}
	path, err = findProgram(args[0])
	return path, args[1:], err
}

// launch starts a command on its host.
func (x *externalTrial) launch(c *externalCommand) error {
	p := &process{
		name: c.Name, machine: x.machines[c.Host], dir: x.dir, line: x.line, exited: x.exited,
		input: x.spec.Request.Command == c.Name && x.spec.Request.Line != "",
	}
	var err error
	if p.path, p.args, err = x.resolve(c.Run); err == nil {
		p.env, err = x.values.environment(p.machine, c.Env)
	}
	if err != nil {
		return fmt.Errorf("command %s: %w", c.Name, err)
	}
	x.mu.Lock()
	x.commands[c.Name] = p
	x.mu.Unlock()
	if err := p.Start(); err != nil {
		return fmt.Errorf("command %s: %w", c.Name, err)
	}
	x.started = append(x.started, p)
	p.forget = p.machine.Run(p)
	return nil
}

// awaitReady waits until a command is ready. It fails if the command has ended, unless to end is to be ready.
func (x *externalTrial) awaitReady(ctx context.Context, c *externalCommand) error {
	ready := c.Ready
	if ready.empty() {
		return nil
	}
	if len(ready.Probe) > 0 {
		probing, cancel := context.WithCancel(ctx)
		defer cancel()
		x.probes.Go(func() {
			x.poll(probing, ready, func() { x.change(func() { x.ready[c.Name] = true }) })
		})
	}
	err := x.wait(ctx, func() (bool, error) {
		code, ended := x.exits[c.Name]
		switch {
		case x.ready[c.Name]:
			return true, nil
		case ready.Exit != "":
			done, ok := x.exits[ready.Exit]
			return ok && done == 0, nil
		case ended:
			return false, faultf("%s", x.howEnded(c.Name, code))
		}
		return false, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return faultf("%s on host %s was not ready within %v%s", c.Name, c.Host, x.spec.Start, x.lastWords(c.Name))
	}
	return err
}

// howEnded says how a command ended before it should have.
func (x *externalTrial) howEnded(name string, code int) string {
	return fmt.Sprintf("%s on host %s ended with exit code %d%s", name, x.commands[name].machine.Name, code, x.lastWords(name))
}

func (x *externalTrial) lastWords(name string) string {
	if said := x.commands[name].said(); said != "" {
		return ": " + strings.ToValidUTF8(said, "?")
	}
	return " and said nothing"
}

// unsupported127 reports whether a command said by its exit code that it can't do what is asked.
func (x *externalTrial) unsupported127() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, code := range x.exits {
		if code == 127 {
			return true
		}
	}
	return false
}

// idle waits and returns what the camera's host sent meanwhile.
func (x *externalTrial) idle(ctx context.Context, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	before := x.idleBytes()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return x.idleBytes() - before
}

func (x *externalTrial) idleBytes() int64 {
	x.taps.Flush()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flows.idle
}

// ask makes the viewer's request.
func (x *externalTrial) ask() error {
	r := x.spec.Request
	x.taps.Flush() // what was before the request is counted so
	x.change(func() {
		now := time.Now()
		x.flows.begin(now)
		x.marks[Requested] = now
	})
	x.tell(Requested)
	if r.Line != "" {
		line, err := x.values.render(r.Line)
		if err == nil {
			err = x.commands[r.Command].write(line)
		}
		if err != nil {
			return faultf("ask: %v", err)
		}
		return nil
	}
	for i := range x.spec.Commands {
		if c := &x.spec.Commands[i]; c.Name == r.Command {
			return x.launch(c)
		}
	}
	return nil
}

// probe starts the probes of the marks.
func (x *externalTrial) probe(ctx context.Context) {
	for m, mark := range x.spec.Marks {
		if len(mark.Probe) > 0 {
			x.probes.Go(func() { x.poll(ctx, mark, func() { x.reach(m, time.Now()) }) })
		}
	}
}

// poll runs a probe until it ends with 0, and then calls done.
func (x *externalTrial) poll(ctx context.Context, mark externalMark, done func()) {
	for ctx.Err() == nil {
		m := x.machines[mark.Host]
		cmd, err := x.command(ctx, m, mark.Probe)
		if err == nil {
			err = m.Start(cmd)
		}
		if err == nil {
			err = cmd.Wait()
		}
		if err == nil {
			done()
			return
		}
		t := time.NewTimer(mark.Every)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// await waits for the end of the trial, or of ctx.
func (x *externalTrial) await(ctx context.Context) {
	_, hasOver := x.spec.Marks[markOver]
	var held <-chan time.Time
	for {
		x.mu.Lock()
		_, success := x.marks[markSuccess]
		_, over := x.marks[markOver]
		hopeless := !success && x.hopeless() != ""
		changed := x.changed
		x.mu.Unlock()
		if over || hopeless {
			return
		}
		if success && !hasOver && held == nil {
			t := time.NewTimer(max(x.spec.Hold, x.trial.Media))
			defer t.Stop()
			held = t.C
		}
		select {
		case <-changed:
		case <-held:
			return
		case <-ctx.Done():
			return
		}
	}
}

// hopeless is why success can't come any more: a command failed whose lines or exit would tell of it.
func (x *externalTrial) hopeless() string {
	m := x.spec.Marks[markSuccess]
	for _, name := range []string{m.From, m.Exit} {
		if code, ended := x.exits[name]; ended && (name == m.From || code != 0) {
			return x.howEnded(name, code)
		}
	}
	return ""
}
