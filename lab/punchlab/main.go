// Command punchlab is the lab's command line.
//
//	run ─▶ RUN/ ─▶ report        measure scenarios, draw what was measured
//	              replay        tell a captured trial, and why it ended as it did
//	              gate, trend   decide whether it is worse than another, and since when
//	              compare       put two side by side
//	merge, worker                runs larger than one machine
//	certify ─▶ OUT/ ─▶ verify    hold a camera to the cases, seal the evidence; check it, offline
//	              key           keys that sign certificates
//	baseline                     runs that later ones are compared with
//	exec, show, list, doctor     look around, run any program inside a topology's host
//	classify                     RFC 5780 from the outside
//	rendezvous, camera, viewer   the implementation as programs of their own
//	provision, qr, account       what the maker and the operator do before
//
// stdout is data, stderr is for people. Every flag has an environment variable: --jobs is PUNCHLAB_JOBS. NO_COLOR is
// honoured. Exit codes: 0 pass, 1 fail, 2 could not decide, 64 usage, 70 lab error, 127 unsupported.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes.
const (
	exitPass        = 0
	exitFail        = 1
	exitUndecided   = 2
	exitUsage       = 64 // EX_USAGE: the call or a file it names is wrong, nothing ran
	exitLab         = 70 // EX_SOFTWARE: the lab itself failed
	exitUnsupported = 127
)

// commit is the commit this binary was built from, set by the Makefile.
var commit string

// exitError carries an exit code to main. A nil err exits without a message: it has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error           { return &exitError{exitUsage, err} }
func usagef(f string, a ...any) error { return usage(fmt.Errorf(f, a...)) }
func labError(err error) error        { return &exitError{exitLab, err} }
func unsupported(f string, a ...any) error {
	return &exitError{exitUnsupported, fmt.Errorf(f, a...)}
}

func main() {
	contain.Main() // returns unless this process is to be around a vendor's program
	live.Main()    // or the fabric
	stack.Main()   // or a rendezvous of a trial's
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A second interrupt ends the program at once. Not one that comes with the first: a terminal's reaches us directly and
	// by the parent.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	c, err := root().ExecuteContextC(ctx)
	stop()
	os.Exit(report(explained(c, err)))
}

// explained adds to what cobra itself refuses where help is.
func explained(c *cobra.Command, err error) error {
	if err == nil || errors.As(err, new(*exitError)) {
		return err
	}
	return usagef("%s\nSee '%s --help'", strings.TrimSpace(err.Error()), c.CommandPath())
}

// report says what went wrong, if anything, and returns the exit code.
func report(err error) int {
	if err == nil {
		return exitPass
	}
	code := exitUsage // what cobra itself refuses is usage
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	fmt.Fprintf(os.Stderr, "punchlab: %v\n", err)
	return code
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "punchlab",
		Short: "A test lab for peer-to-peer IP cameras: real sockets behind real NATs",
		Long: `A test lab for peer-to-peer IP cameras. It runs a complete rendezvous server, camera and viewer inside Linux
network namespaces behind every kind of NAT, measures whether they reach each other directly, how soon, and how
well video then flows, and plots it. No root is needed: a user namespace serves.

Every flag has an environment variable: --jobs is PUNCHLAB_JOBS. Exit codes: 0 pass, 1 fail, 2 undecided, interrupted, or
nothing was measured, 64 the call or a file it names is wrong, 70 the lab itself failed, 127 not supported.`,
		Example: `  punchlab run nat-matrix                       measure; the report's path is printed
  punchlab run nat-matrix --set camera.nat=symmetric --trials 50
  punchlab gate --baseline out/main out/branch  is it worse? exit code 0, 1 or 2
  punchlab exec two-homes camera -- ping -c 3 198.51.100.1
  punchlab doctor                               what this machine can do`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) },
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w\nSee '%s --help'", err, c.CommandPath())
	})
	c.AddCommand(runCommand(), mergeCommand(), workerCommand(), reportCommand(), gateCommand(), baselineCommand(), trendCommand(), compareCommand(),
		replayCommand(), certifyCommand(), verifyCommand(), keyCommand(), listCommand(), showCommand(), execCommand(), classifyCommand(), doctorCommand(),
		rendezvousCommand(), cameraCommand(), viewerCommand(),
		provisionCommand(), qrCommand(), accountCommand(),
		recordingsCommand(), adapterCommand())
	for _, sub := range c.Commands() {
		if sub.HasSubCommands() && !sub.Runnable() {
			onlySubcommands(sub)
		}
	}
	return c
}

// onlySubcommands has a command that does nothing itself refuse what is none of its subcommands.
func onlySubcommands(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	}
}

// fromEnvironment sets every flag that was not given from PUNCHLAB_<FLAG>.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "PUNCHLAB_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = usagef("environment variable %s: %w", name, e)
		}
	})
	return err
}
