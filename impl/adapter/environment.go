package adapter

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// groups are the cases that this adapter was written for: those of each group are numbered from 1.
var groups = []struct {
	name string
	last int
}{{"ID", 6}, {"REG", 6}, {"NAT", 10}, {"MED", 8}, {"BW", 6}, {"SEC", 12}, {"RES", 5}, {"STD", 3}}

// Cases lists the IDs of the cases that this adapter was written for. Any other is answered with Unsupported.
func Cases() (ids []string) {
	for _, g := range groups {
		for n := 1; n <= g.last; n++ {
			ids = append(ids, g.name+"-"+strconv.Itoa(n))
		}
	}
	return ids
}

// environment is what a program was started with.
type environment struct {
	id, role, action string // the case's ID
	result, state    string
	source, ticket   string
	addrs            []netip.Addr // the host's
	rendezvous       []netip.Addr
	media, timeout   time.Duration
}

// Lengths where the environment says nothing.
const (
	defaultMedia   = 10 * time.Second
	defaultTimeout = 30 * time.Second
)

// readEnvironment reads the contract's variables, those first that decide whether anything is to be done.
func readEnvironment(lookup func(string) (string, bool)) (e environment, err error) {
	get := func(name string) string {
		v, _ := lookup("PUNCHLAB_" + name)
		return v
	}
	if v := get("CONTRACT"); v != Version {
		return e, unsupportedf("PUNCHLAB_CONTRACT is %q, this program keeps version %s", v, Version)
	}
	e.id, e.role, e.action = get("CASE"), get("ROLE"), get("ACTION")
	if !slices.Contains(Cases(), e.id) {
		return e, unsupportedf("there is no case %q", e.id)
	}
	if !e.supported() {
		return e, unsupportedf("role %q cannot %q", e.role, e.action)
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"RESULT", &e.result}, {"STATE", &e.state}} {
		if *f.to, err = folder(get(f.name)); err != nil {
			return e, fmt.Errorf("PUNCHLAB_%s: %w", f.name, err)
		}
	}
	e.source, e.ticket = get("SOURCE"), get("TICKET")
	if e.addrs, err = addresses(get("ADDR")); err != nil {
		return e, fmt.Errorf("PUNCHLAB_ADDR: %w", err)
	}
	if e.rendezvous, err = addresses(get("RENDEZVOUS")); err != nil {
		return e, fmt.Errorf("PUNCHLAB_RENDEZVOUS: %w", err)
	}
	if e.media, err = seconds(get("MEDIA"), defaultMedia); err != nil {
		return e, fmt.Errorf("PUNCHLAB_MEDIA: %w", err)
	}
	if e.timeout, err = seconds(get("TIMEOUT"), defaultTimeout); err != nil {
		return e, fmt.Errorf("PUNCHLAB_TIMEOUT: %w", err)
	}
	return e, nil
}

// supported says whether there is a role that can do what is asked.
func (e environment) supported() bool {
	switch e.role {
	case "camera":
		return e.action == "run" || slices.Contains(actions, e.action)
	case "viewer", "rendezvous", "relay":
		return e.action == "run"
	}
	return false
}

// folder is a folder's path, which is there. A path is made absolute: sockets and locks are told apart by it.
func folder(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("no folder is named")
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is no folder", path)
	}
	return filepath.Abs(path)
}

// addresses reads addresses that are separated by commas.
func addresses(s string) (all []netip.Addr, err error) {
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		a, err := netip.ParseAddr(part)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// seconds reads a number of seconds above 0, which may have decimals.
func seconds(s string, otherwise time.Duration) (time.Duration, error) {
	if s == "" {
		return otherwise, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) || f > 1e6 {
		return 0, fmt.Errorf("%q is no number of seconds", s)
	}
	return time.Duration(f * float64(time.Second)), nil
}

// run plays the role.
func (e environment) run(ctx context.Context, stderr io.Writer) error {
	level := slog.LevelInfo
	if e.role == "rendezvous" {
		level = slog.LevelWarn // it meets many
	}
	log := slog.New(slog.NewTextHandler(newQuiet(stderr, time.Now), &slog.HandlerOptions{Level: level}))
	switch {
	case e.action != "run":
		return e.ask(ctx)
	case e.role == "camera":
		return e.camera(ctx, log)
	case e.role == "viewer":
		return e.viewer(ctx, log)
	case e.role == "rendezvous":
		return e.serve(ctx, log)
	}
	return e.relay(ctx, log)
}
