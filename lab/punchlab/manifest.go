package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/scenarios"
	"golang.org/x/sys/unix"
)

// The kernel settings that a run's figures may depend on, as paths below /proc/sys.
var recordedSysctls = []string{
	"net/core/rmem_max", "net/core/rmem_default", "net/core/wmem_max", "net/core/netdev_max_backlog", "net/core/netdev_budget",
	"net/ipv4/neigh/default/gc_thresh3", "net/netfilter/nf_conntrack_max", "user/max_user_namespaces", "user/max_net_namespaces",
}

func (f *runFlags) manifest(s *scenarios.Scenario, topology record.Document, cells int) record.Manifest {
	m := record.Manifest{
		Command: os.Args, Scenario: record.Document{Name: s.Name, Digest: s.Digest}, Topology: topology,
		Seed: s.Seed, Engine: f.engine, TrialsPerCell: s.Trials, Cells: cells, LateLimitS: f.late.Seconds(), Set: map[string][]string{},
		Versions: versions(), Kernel: kernel(), CPU: record.CPU{Model: cpuModel(), Cores: runtime.NumCPU()},
		Populations: s.Populations, Sysctls: map[string]string{}, Start: time.Now().UTC(),
	}
	for _, a := range s.Axes {
		m.Axes = append(m.Axes, record.Axis{Key: a.Key, Values: a.Values})
		if a.Key == scenarios.StrategyKey {
			m.Strategies = strategies(a.Values)
		}
	}
	for _, set := range f.set {
		key, values, _ := strings.Cut(set, "=")
		m.Set[key] = strings.Split(values, ",")
	}
	for _, k := range recordedSysctls {
		if b, err := os.ReadFile(filepath.Join("/proc/sys", k)); err == nil {
			m.Sysctls[strings.ReplaceAll(k, "/", ".")] = strings.TrimSpace(string(b))
		}
	}
	return m
}

// strategies says what the strategies of a run are.
func strategies(names []string) (all []record.Strategy) {
	for _, name := range names {
		s, err := stack.ForStrategy(name)
		if err != nil {
			continue // the scenario was checked
		}
		one := record.Strategy{Name: name, System: s.Name()}
		if t, ok := s.(stack.Summarizer); ok {
			one.Summary = t.Summary(name)
		}
		if t, ok := s.(stack.Preparer); ok {
			one.Setup = t.Setup(name)
		}
		all = append(all, one)
	}
	return all
}

func versions() record.Versions {
	v := record.Versions{Commit: commit, Go: runtime.Version(), Modules: map[string]string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, d := range info.Deps {
		v.Modules[d.Path] = d.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Dirty = s.Value == "true"
		}
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func version() string {
	v := versions()
	return v.Commit + " " + v.Go
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if k, v, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
