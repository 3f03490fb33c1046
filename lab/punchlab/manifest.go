package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"golang.org/x/sys/unix"
)

// The kernel settings that a run's figures may depend on, as paths below /proc/sys.
var recordedSysctls = []string{
	"net/core/rmem_max", "net/core/rmem_default", "net/core/wmem_max", "net/core/netdev_max_backlog", "net/core/netdev_budget",
	"net/ipv4/neigh/default/gc_thresh3", "net/netfilter/nf_conntrack_max", "user/max_user_namespaces", "user/max_net_namespaces",
}

// machine is what a manifest says besides the experiment: who ran it, where and when.
func (f *runFlags) machine() record.Manifest {
	m := record.Manifest{
		Command: os.Args, LateLimitS: f.late.Seconds(), Jobs: f.jobs,
		Versions: versions(), Kernel: kernel(), CPU: record.CPU{Model: cpuModel(), Cores: runtime.NumCPU()},
		Sysctls: map[string]string{}, Start: time.Now().UTC(),
	}
	if f.engine == lab.EngineSim {
		m.LateLimitS = 0 // virtual time is never late
	}
	for _, k := range recordedSysctls {
		if b, err := os.ReadFile(filepath.Join("/proc/sys", k)); err == nil {
			m.Sysctls[strings.ReplaceAll(k, "/", ".")] = strings.TrimSpace(string(b))
		}
	}
	return m
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
