package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// check is one thing that a machine can or cannot do.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"` // by the main job
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

func doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, and what to do about what it cannot",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			checks := examine()
			if asJSON {
				if err := json.NewEncoder(os.Stdout).Encode(checks); err != nil {
					return err
				}
			} else {
				printChecks(checks)
			}
			for _, c := range checks {
				if c.Needed && !c.OK {
					return &exitError{exitLab, errors.New("this machine can't run the lab yet: see ✗ above")}
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return c
}

func printChecks(checks []check) {
	for _, c := range checks {
		mark := "✓"
		switch {
		case !c.OK && c.Needed:
			mark = "✗"
		case !c.OK:
			mark = "–"
		}
		fmt.Printf("%s %-22s %s\n", mark, c.Name, c.Detail)
		if !c.OK && c.Remedy != "" {
			fmt.Printf("    → %s\n", c.Remedy)
		}
	}
}

func examine() []check {
	who := fmt.Sprintf("%s, uid %d", kernel(), os.Geteuid())
	isolate := result("namespaces", true, netns.Isolate(), "run as root, or allow user namespaces: sysctl user.max_user_namespaces=15000 (and, on Ubuntu, kernel.apparmor_restrict_unprivileged_userns=0)")
	checks := []check{{Name: "machine", OK: true, Detail: who}, isolate}
	if !isolate.OK {
		return append(checks, programs()...)
	}
	checks = append(checks,
		result("network namespace", true, tryNamespace(), "the kernel needs CONFIG_NET_NS"),
		result("nftables", true, tryNftables(), "the kernel needs CONFIG_NF_TABLES: modprobe nf_tables"),
		tryTUN(), tryFabric(), fileLimit())
	return append(checks, programs()...)
}

func result(name string, needed bool, err error, remedy string) check {
	if err != nil {
		return check{Name: name, Needed: needed, Detail: err.Error(), Remedy: remedy}
	}
	return check{Name: name, OK: true, Needed: needed, Detail: "works"}
}

func tryNamespace() error {
	n, err := netns.New()
	if err != nil {
		return err
	}
	return n.Close()
}

func tryNftables() error {
	n, err := netns.New()
	if err != nil {
		return err
	}
	defer n.Close()
	var c *nftables.Conn
	if err := n.Do(func() (err error) { c, err = nftables.New(nftables.AsLasting()); return err }); err != nil {
		return err
	}
	defer c.CloseLasting()
	c.AddTable(&nftables.Table{Name: "punchlab-doctor", Family: nftables.TableFamilyIPv4})
	return c.Flush()
}

func tryTUN() check {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return check{Name: "TUN devices", Detail: "open /dev/net/tun: " + err.Error() + "; veth and AF_PACKET are used instead",
			Remedy: "for truer delays: chmod 0666 /dev/net/tun, as distributions ship it (modprobe tun if it is missing)"}
	}
	unix.Close(fd)
	return check{Name: "TUN devices", OK: true, Detail: "works"}
}

func tryFabric() check {
	f, err := live.Start(live.Options{})
	if err == nil {
		err = f.Close()
	}
	return result("fabric process", true, err, "the program must be able to execute itself: is /proc mounted?")
}

func fileLimit() check {
	var lim unix.Rlimit
	const want = 4096
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return result("open files", false, err, "")
	}
	c := check{Name: "open files", OK: lim.Max >= want, Detail: fmt.Sprintf("up to %d", lim.Max)}
	if !c.OK {
		c.Remedy = fmt.Sprintf("raise the hard limit (ulimit -Hn) to %d: fewer trials run at once until then", want)
	}
	return c
}

// programs looks for what only the tests use.
func programs() (checks []check) {
	for _, p := range []struct{ name, pkg string }{{"ffmpeg", "ffmpeg"}, {"stun", "stun-client"}, {"turnutils_natdiscovery", "coturn"}} {
		path, err := exec.LookPath(p.name)
		c := check{Name: p.name, OK: err == nil, Detail: path}
		if err != nil {
			c.Detail, c.Remedy = "not found; only tests use it", "apt-get install "+p.pkg
		}
		checks = append(checks, c)
	}
	return checks
}

// preflight says what is missing before anything is made.
func preflight() error {
	if err := tryNamespace(); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	if err := tryNftables(); err != nil {
		return fmt.Errorf("load an nftables table: %w: %s", err, strings.TrimSpace("this kernel has no nftables; 'punchlab doctor' says more"))
	}
	return nil
}
