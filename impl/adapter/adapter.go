// Package adapter makes programs of the certification lab's contract (lab/certify/CONTRACT.md, version 1) of the bundled camera,
// viewer, rendezvous and relay: environment variables in, a folder of results out.
//
//	PUNCHLAB_CASE ──known?──► PUNCHLAB_ROLE / PUNCHLAB_ACTION          127: unknown case, role or action, or one that there is not
//	                            camera     run ────► impl/program/camera ────► ready, ticket, identity.json, frames.jsonl
//	                                       reset, transfer, privacy-on, privacy-off ──socket in PUNCHLAB_STATE──► the one that runs
//	                            viewer     run ────► impl/program/viewer ────► frames.jsonl
//	                            rendezvous run ────► impl/program/rendezvous ► ready
//	                            relay      run ────► ready: the rendezvous relays, this host has nothing to do
//
// Each stream begins the source anew, at frame 1: two viewers' frames are both in the camera's frames.jsonl, with the same numbers. A
// viewer numbers by the frames' times in the stream, which agrees with the camera but where the viewer has asked for a key frame: then
// the camera sends the last group of pictures once more, at later times. There, match by hash.
//
// A reset and a transfer give the label another secret, since the first owner knows the old one. The new ticket is in the result
// folders of both programs, the camera's and the action's.
//
// Policies are those that the programs have by themselves; nothing of the environment changes them. Names are not asked of a DNS: the
// rendezvous is at PUNCHLAB_RENDEZVOUS. Its key is RendezvousKey's, which the camera's maker has built into the firmware.
package adapter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// Version is the contract's.
const Version = "1"

// Exit codes of the contract.
const (
	Done        = 0
	Failed      = 1
	Unsupported = 127
)

// RendezvousKey is the key of the lab's rendezvous. It is no secret: whoever brings a camera of the bundled protocol builds its public
// half into the firmware (RendezvousKey().Public()), and a case that needs a rendezvous that lies has the whole of it.
func RendezvousKey() identity.Key {
	private := sha256.Sum256([]byte("punchlab lab rendezvous v1"))
	k, err := identity.KeyFromPrivate(private)
	if err != nil {
		panic("adapter: the rendezvous' key: " + err.Error())
	}
	return k
}

// Main is the program's: it ends the process.
func Main() {
	Lean()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	code := Run(ctx, os.LookupEnv, os.Stderr)
	stop()
	os.Exit(code)
}

// leanPercent is how far the heap grows between two collections, as a share of what is in use: a device has little memory, and what
// it takes should not depend on how long ago the last collection was.
const leanPercent = 25

// Lean has this process keep its heap so, unless GOGC says how. Main does it; call it where Run is a whole process.
func Lean() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(leanPercent)
	}
}

// errUnsupported ends a program with 127.
var errUnsupported = errors.New("not supported")

func unsupportedf(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errUnsupported, fmt.Sprintf(format, a...))
}

// patience is how long a program may take to end that was told to. The contract gives it a second.
const patience = 900 * time.Millisecond

// Run does what the environment asks for, until it is done or the context ends, and returns the exit code. It is for
// a process of its own: where it has not returned within patience of the context's end, it ends that. Why it failed is written to stderr.
func Run(ctx context.Context, lookup func(string) (string, bool), stderr io.Writer) int {
	defer context.AfterFunc(ctx, func() { time.AfterFunc(patience, func() { os.Exit(Done) }) })()
	e, err := readEnvironment(lookup)
	if err == nil {
		err = e.run(ctx, stderr)
	}
	if err == nil {
		return Done
	}
	fmt.Fprintf(stderr, "punchlab adapter: %v\n", err)
	if errors.Is(err, errUnsupported) {
		return Unsupported
	}
	return Failed
}
