package contain

import (
	"fmt"
	"strings"
	"time"
)

// Ending is how a program's run ended.
type Ending string

// The endings. One that begins with "too" or "out of" was ended by the limit that it names.
const (
	Exited       Ending = "exited"                 // by itself: Report.Code
	ExitedAtOnce Ending = "exited at once"         // with code 0, before Spec.AtLeast
	Crashed      Ending = "crashed"                // by a signal that it was not sent from here: Report.Signal
	Stopped      Ending = "stopped"                // it ran until the caller's context was done
	TimedOut     Ending = "timed out"              // it ran until Spec.Wall
	Cut          Ending = "cut"                    // an event killed it, as a power cut does, and did not start it again
	TooMuchLog   Ending = "too much output"        // Limits.Output
	OutOfMemory  Ending = "out of memory"          // Limits.Memory
	TooMany      Ending = "too many processes"     // Limits.Processes
	TooMuchDisk  Ending = "too much in its folder" // Limits.Folder, Limits.Files
	NotStarted   Ending = "not started"            // the kernel refused to execute it: Report.Refused
)

// Report is what a program did.
type Report struct {
	Ending  Ending
	Code    int           // its exit code; -1 where it ended otherwise
	Signal  string        // that ended it, as "segmentation fault", if it was not sent from here; empty: none
	Ignored bool          // it was told to end by SIGTERM, and did not within Spec.Grace
	Refused string        // why the kernel did not execute it
	Cuts    int           // times that an event killed it
	Took    time.Duration // how long it ran, in all its lives

	Output  Output
	Outside []Change  // what it wrote outside its folder, in the order of paths; at most maxChanges
	More    int       // changes that are not listed
	Left    []Process // what it left running when it had ended; at most maxLeft
	Usage   Usage
	Means   Means
}

// Output is what it printed, on stdout and stderr together in the order in which it came.
type Output struct {
	Bytes int64  // all
	Head  []byte // the first
	Tail  []byte // the last; what is neither is Bytes - len(Head) - len(Tail)
}

// Change is a file, a folder or another entry outside the program's folder.
type Change struct {
	Path string
	What string // "created", "changed", "removed"
	Size int64  // bytes it has now
}

// Process is one that outlived the program.
type Process struct {
	PID  int // in the program's PID namespace
	Name string
}

// Usage is what the program and all its descendants used, in all its lives.
type Usage struct {
	CPU       time.Duration
	Memory    int64 // bytes at most, at a time
	Processes int   // processes and threads at most, at a time
}

// Means is what contained the program.
type Means struct {
	Memory    string   // "cgroup v2", or what replaced it
	Processes string   // the same
	ReadOnly  []string // places where writes were refused, and are therefore not in Report.Outside
	Lacks     []string // sentences: what this machine did not offer, and what that means
}

// Faults says in sentences what a well-behaved program would not have done; none: nothing. What the program did before it was
// stopped or cut is not a fault, and an exit code is for the caller to judge.
func (r *Report) Faults() (sentences []string) {
	say := func(format string, args ...any) { sentences = append(sentences, fmt.Sprintf(format, args...)) }
	switch r.Ending {
	case ExitedAtOnce:
		say("it exited with code 0 after %v", r.Took.Round(time.Millisecond))
	case Crashed:
		say("it crashed: %s", r.Signal)
	case TimedOut:
		say("it had not ended after %v", r.Took.Round(time.Millisecond))
	case TooMuchLog:
		say("it flooded its log: %d bytes", r.Output.Bytes)
	case OutOfMemory:
		say("it used too much memory: %d MiB", r.Usage.Memory>>20)
	case TooMany:
		say("it forked too much: %d processes and threads", r.Usage.Processes)
	case TooMuchDisk:
		say("it filled its folder")
	case NotStarted:
		say("it could not be executed: %s", r.Refused)
	}
	if r.Signal != "" && r.Ending != Crashed {
		say("it crashed in the end: %s", r.Signal)
	}
	if r.Ignored {
		say("it ignored SIGTERM")
	}
	if n := len(r.Left); n > 0 {
		var names []string
		for _, p := range r.Left {
			names = append(names, p.Name)
		}
		say("it left %d running: %s", n, strings.Join(names, ", "))
	}
	if n := len(r.Outside) + r.More; n > 0 {
		say("it wrote outside its folder, in %d places: the first is %s", n, r.Outside[0].Path)
	}
	return sentences
}

// String is the report in a few lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s after %v", r.Ending, r.Took.Round(time.Millisecond))
	if r.Ending == Exited {
		fmt.Fprintf(&b, " with code %d", r.Code)
	}
	fmt.Fprintf(&b, "; CPU %v, memory %d MiB, %d processes, %d bytes of output\n",
		r.Usage.CPU.Round(time.Millisecond), r.Usage.Memory>>20, r.Usage.Processes, r.Output.Bytes)
	for _, s := range append(r.Faults(), r.Means.Lacks...) {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	return b.String()
}
