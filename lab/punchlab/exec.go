package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/topologies"
	"github.com/spf13/cobra"
)

// groupMark separates HOST -- COMMAND groups.
const groupMark = "---"

func execCommand() *cobra.Command {
	var f execFlags
	c := &cobra.Command{
		Use:   "exec TOPOLOGY HOST -- COMMAND… [--- HOST -- COMMAND…]…",
		Short: "Run programs inside the hosts of a topology",
		Long: `Bring a topology up, run a command inside each named host, and take everything down. With several groups,
separated by ---, all start in order; the last one's exit code is the result and ends the others.
Each command finds PUNCHLAB_HOST, PUNCHLAB_ADDR (its addresses, comma-separated) and PUNCHLAB_RENDEZVOUS (the
rendezvous host's addresses, as that host has to write them) in its environment.`,
		Example: `  punchlab exec two-homes camera -- ip addr
  punchlab exec two-homes --set camera.nat=symmetric camera -- ping -c 3 198.51.100.1
  punchlab exec two-homes rendezvous -- punchlab rendezvous --- camera -- stun 198.51.100.1
  punchlab exec two-homes --engine table --pcap ping.pcapng camera -- ping -c 1 198.51.100.1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := parseGroups(args, cmd.ArgsLenAtDash())
			if err != nil {
				return err
			}
			return f.execute(cmd.Context(), args[0], groups)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return topologies.Names(), cobra.ShellCompDirectiveDefault
		},
	}
	c.Flags().StringArrayVar(&f.set, "set", nil, "set `site.key=value`: camera.nat=symmetric, viewer.link=lte, link=satellite")
	c.Flags().StringVar(&f.engine, "engine", lab.EngineNetfilter, "what the routers are that name no engine: netfilter or table")
	c.Flags().StringVar(&f.pcap, "pcap", "", "write every packet at every tap to this `file` (pcapng, with what became of each as its comment)")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of random ports and of the links")
	_ = c.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(lab.RouterEngines(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

type execFlags struct {
	set    []string
	engine string
	pcap   string
	seed   uint64
}

// hostCommand is one HOST -- COMMAND group.
type hostCommand struct {
	host string
	argv []string
}

// parseGroups splits TOPOLOGY HOST -- COMMAND --- HOST -- COMMAND. dash is where the first -- stood, which the flag parser
// has removed; the others are still there.
func parseGroups(args []string, dash int) (groups []hostCommand, err error) {
	if dash != 2 || len(args) < 3 {
		return nil, usagef("write TOPOLOGY HOST -- COMMAND, as in: punchlab exec two-homes camera -- ip addr")
	}
	rest := slices.Concat(args[1:2], []string{"--"}, args[2:])
	for len(rest) > 0 {
		end := slices.Index(rest, groupMark)
		if end < 0 {
			end = len(rest)
		}
		g := rest[:end]
		if len(g) < 3 || g[1] != "--" {
			return nil, usagef("%q is not HOST -- COMMAND", strings.Join(g, " "))
		}
		groups = append(groups, hostCommand{g[0], g[2:]})
		if end == len(rest)-1 {
			return nil, usagef("a group HOST -- COMMAND must follow the last %s", groupMark)
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return groups, nil
}

// loadTopology loads a topology, applies key=value settings, resolves it and holds it to an engine.
func loadTopology(name, engine string, set []string) (*lab.Topology, error) {
	if err := checkEngine(engine, lab.RouterEngines()); err != nil {
		return nil, err
	}
	t, _, err := topologies.Load(name)
	if err != nil {
		return nil, usage(err)
	}
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usagef("--set %s: write site.key=value, as camera.nat=symmetric", s)
		}
		if err := t.Set(key, value); err != nil {
			return nil, usagef("--set %s: %w", s, err)
		}
	}
	if err := t.Resolve(); err != nil {
		return nil, usage(err)
	}
	if err := t.CheckEngines(engine); err != nil {
		return nil, unsupported("topology %s: %w", t.Name, err)
	}
	t.UseEngine(engine)
	return t, nil
}

func (f *execFlags) execute(ctx context.Context, name string, groups []hostCommand) error {
	t, err := loadTopology(name, f.engine, f.set)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if !slices.Contains(t.Hosts(), g.host) {
			return usagef("topology %s has no host %q: it has %s", t.Name, g.host, strings.Join(t.Hosts(), ", "))
		}
		if _, err := exec.LookPath(g.argv[0]); err != nil {
			return &exitError{exitUnsupported, fmt.Errorf("command for host %s: %w", g.host, err)}
		}
	}
	tape, err := f.tape()
	if err != nil {
		return err
	}
	if tape != nil {
		defer tape.Close()
	}
	if err := netns.Isolate(); err != nil {
		return labError(fmt.Errorf("%w\n'punchlab doctor' says more", err))
	}
	if err := preflight(); err != nil {
		return labError(err)
	}
	fabric, err := live.Start(live.Options{})
	if err != nil {
		return labError(fmt.Errorf("start fabric: %w", err))
	}
	defer fabric.Close()
	l, err := lab.Up(fabric, t, f.seed)
	if err != nil {
		return labError(err)
	}
	defer l.Close()
	if err := errors.Join(l.Prove(ctx), l.Reset(f.seed)); err != nil {
		return labError(err)
	}
	if tape == nil {
		return startAll(ctx, l, groups)
	}
	if err := l.Capture(tape); err != nil {
		return labError(err)
	}
	err = startAll(ctx, l, groups)
	return andAlso(err, errors.Join(l.StopCapture(), tape.Close()))
}

// tape creates the file for the capture, if one is named.
func (f *execFlags) tape() (*os.File, error) {
	if f.pcap == "" {
		return nil, nil
	}
	out, err := os.Create(f.pcap)
	if err != nil {
		return nil, usagef("--pcap: %w", err)
	}
	return out, nil
}

// andAlso adds a failure of the lab to how a command ended: the command's exit code stays the result, unless it is 0.
func andAlso(ended, failed error) error {
	e := (*exitError)(nil)
	switch {
	case failed == nil:
		return ended
	case errors.As(ended, &e):
		return &exitError{e.code, errors.Join(e.err, failed)}
	}
	return labError(failed)
}

// startAll starts every group and waits for the last, whose exit code is the result.
func startAll(ctx context.Context, l *lab.Lab, groups []hostCommand) error {
	var last *exec.Cmd
	var others []*exec.Cmd
	defer func() {
		var wg sync.WaitGroup
		for _, c := range others {
			wg.Go(func() { end(c) })
		}
		wg.Wait()
	}()
	for i, g := range groups {
		m := l.Host(g.host)
		cmd := exec.CommandContext(ctx, g.argv[0], g.argv[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = stopGrace
		cmd.Env = environment(l, m)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if i == len(groups)-1 {
			cmd.Stdin = os.Stdin
		}
		if err := m.Start(cmd); err != nil {
			return labError(err)
		}
		if i == len(groups)-1 {
			last = cmd
		} else {
			others = append(others, cmd)
		}
	}
	return exitOf(last, last.Wait())
}

// stopGrace is how long a command may take to end after SIGTERM.
const stopGrace = 2 * time.Second

// end asks a command to stop, and makes it after a while.
func end(c *exec.Cmd) {
	_ = c.Process.Signal(syscall.SIGTERM)
	t := time.AfterFunc(stopGrace, func() { _ = c.Process.Kill() })
	defer t.Stop()
	_ = c.Wait()
}

// exitOf turns how a command ended into our exit code: its own, or 128 and the signal's number.
func exitOf(c *exec.Cmd, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && c.ProcessState != nil && c.ProcessState.Success():
		return nil // asked to stop, and did
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return labError(err)
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return &exitError{128 + int(ws.Signal()), nil}
	}
	return &exitError{exit.ExitCode(), nil}
}

// environment is what a command inside a host finds: ours, less what isolated us, and where it is.
func environment(l *lab.Lab, m *lab.Machine) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PUNCHLAB_ISOLATED=") })
	return append(env,
		"PUNCHLAB_HOST="+m.Name,
		"PUNCHLAB_ADDR="+joinAddrs(m.Addrs),
		"PUNCHLAB_RENDEZVOUS="+joinAddrs(l.Topology().AddrsFrom(m.Name, runner.Rendezvous)))
}

func joinAddrs(addrs []netip.Addr) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, ",")
}
