package stage

import (
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
)

// accuse is the error of a program that does not do its part: a *Fault of a vendor's, the lab's own of another.
func (p *Program) accuse(what string) error {
	if p.Vendors {
		return &Fault{p.Role, p.Unit, what}
	}
	return fmt.Errorf("%s %s", p.name(), what)
}

// ended is the error of a program that is over before what was waited for had come.
func (p *Program) ended(before string) error {
	<-p.done
	switch r := p.report; {
	case p.err != nil:
		return fmt.Errorf("run %s: %w", p.name(), p.err)
	case r.Ending == contain.Exited && r.Code == certify.ExitUnsupported && p.Vendors && !p.wasReady():
		return &Unsupported{Role: p.Role, Action: p.Action}
	case p.misdeed(r) != nil:
		return p.accuse(p.misdeed(r).Device)
	case r.Ending == contain.Exited && p.Role != certify.RoleViewer:
		return p.accuse(fmt.Sprintf("exited with code %d before %s", r.Code, before))
	case r.Ending == contain.Exited:
		return &Ended{p.Role, r.Code, before}
	default:
		return fmt.Errorf("%s was ended before %s", p.name(), before)
	}
}

// misdeed is what no program may do; nil: nothing. An exit code is not judged here, unless it is one that the contract does not know.
func (p *Program) misdeed(r *contain.Report) *Fault {
	if r == nil {
		return nil
	}
	fault := func(format string, args ...any) *Fault { return &Fault{p.Role, p.Unit, fmt.Sprintf(format, args...)} }
	p.mu.Lock()
	ending, flood := p.ending, p.flood
	p.mu.Unlock()
	if flood != nil {
		return flood
	}
	switch r.Ending {
	case contain.Crashed:
		return fault("crashed: %s", r.Signal)
	case contain.TooMuchLog:
		return fault("flooded its log: %d bytes", r.Output.Bytes)
	case contain.OutOfMemory:
		return fault("used too much memory: %d MiB", r.Usage.Memory>>20)
	case contain.TooMany:
		return fault("forked too much: %d processes and threads", r.Usage.Processes)
	case contain.TooMuchDisk:
		return fault("filled its folder")
	case contain.TimedOut:
		return fault("hung: it had not ended after %v", r.Took.Round(time.Second))
	case contain.NotStarted:
		return fault("could not be executed: %s", r.Refused)
	case contain.Exited:
		switch {
		case r.Code != certify.ExitDone && r.Code != certify.ExitFailed && r.Code != certify.ExitUnsupported:
			return fault("crashed: it exited with code %d", r.Code)
		case p.Role != certify.RoleViewer && p.Action == certify.ActionRun && !ending && (r.Code != certify.ExitUnsupported || p.wasReady()):
			return fault("ended by itself, with code %d, after %v", r.Code, r.Took.Round(time.Millisecond))
		}
	}
	switch {
	case r.Ignored:
		return fault("ignored SIGTERM")
	case r.Signal != "":
		return fault("crashed in the end: %s", r.Signal)
	}
	return nil
}
