package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cable is a machine with an interface, and at its other end a box that asks for an address and does nothing else.
//
//	machine ── eth7 ═══ eth0 ── box
type cable struct {
	t            *testing.T
	machine, box *netns.NS
	dir          string
}

func newCable(t *testing.T) *cable {
	t.Helper()
	c := &cable{t: t, dir: t.TempDir()}
	for _, n := range []**netns.NS{&c.machine, &c.box} {
		var err error
		if *n, err = netns.New(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*n).Close() })
	}
	c.plugIn()
	return c
}

func (c *cable) plugIn() {
	c.t.Helper()
	err := c.machine.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth7"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(c.box.FD()),
	})
	for name, n := range map[string]*netns.NS{"eth7": c.machine, "eth0": c.box} {
		link, e := n.Netlink().LinkByName(name)
		if err = errors.Join(err, e); err == nil {
			err = n.Netlink().LinkSetUp(link)
		}
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// isHome reports whether the machine has its interface.
func (c *cable) isHome() bool {
	_, err := c.machine.Netlink().LinkByName("eth7")
	return err == nil
}

// certify begins to certify the box, which gets power then.
func (c *cable) certify(args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	c.t.Helper()
	testdata, err := filepath.Abs("../certify/rtsp/testdata")
	if err != nil {
		c.t.Fatal(err)
	}
	client := exec.Command("busybox", "udhcpc", "-f", "-S", "-i", "eth0", "-s", filepath.Join(testdata, "lease.sh"), "-t", "1000", "-T", "1", "-A", "1")
	all := append([]string{"certify", "--profile", filepath.Join(testdata, "rtsp.yaml"), "--attach", "eth7", "--forward", "8554",
		"--brief", "--case", "SEC-9", "--out", "out"}, args...)
	cmd, out = command(c.t, c.dir, all...), &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	for _, err := range []error{c.box.Do(client.Start), c.machine.Do(cmd.Start)} {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.t.Cleanup(func() {
		for _, p := range []*exec.Cmd{client, cmd} {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return cmd, out
}

// await waits until a condition holds.
func (c *cable) await(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// Interrupted, the command gives the machine its interface back, goes on with the run when it is told to, and gives it back again at the end.
// Killed, it leaves nothing: the kernel takes a veth with the lab.
func TestAttach(t *testing.T) {
	if !have(t)["lab"] || os.Geteuid() != 0 {
		t.Skip("only root may move interfaces, to a lab that can run here")
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("the box is made of busybox, which is missing")
	}
	c := newCable(t)
	cmd, out := c.certify("--seed", "7")
	c.await("the interface in the lab", func() bool { return !c.isHome() })
	_ = cmd.Process.Signal(unix.SIGINT)
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitUndecided || !strings.Contains(out.String(), "--resume") || !c.isHome() {
		t.Errorf("interrupted: %v, interface back: %v\n%s", cmd.ProcessState, c.isHome(), out)
	}

	cmd, out = c.certify("--resume")
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitFail || !strings.Contains(out.String(), "SEC-9  fail") || !c.isHome() {
		t.Errorf("gone on with: %v, interface back: %v\n%s", cmd.ProcessState, c.isHome(), out)
	}

	cmd, out = c.certify("--out", "killed")
	c.await("the interface in the lab", func() bool { return !c.isHome() })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	c.await("the end of the lab, and of the cable\n"+out.String(), func() bool {
		_, err := c.box.Netlink().LinkByName("eth0")
		return err != nil
	})
}
