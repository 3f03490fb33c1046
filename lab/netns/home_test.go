package netns_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/vishvananda/netlink"
)

// homeVictim prints what it finds of the namespace that it was started in, and then what a program that it starts finds.
func homeVictim(kind string) {
	isolate := netns.Isolate
	if kind == "keep" {
		isolate = netns.IsolateKeepingHome
	}
	if kind != "child" {
		if err := isolate(); err != nil {
			println(err.Error())
			os.Exit(1)
		}
	}
	home, err := netns.Home()
	switch {
	case errors.Is(err, netns.ErrNoHome):
		fmt.Println(kind, "none")
	case err != nil:
		fmt.Println(kind, err)
	default:
		_, err := home.Netlink().LinkByName("beacon")
		fmt.Println(kind, "beacon", err == nil)
		home.Close()
	}
	if kind == "keep" {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "NETNS_TEST_HOME=child")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Run()
	}
	os.Exit(0)
}

// Who asks to keep it has the namespace that the program was started in; nobody else has, nor any program that it starts.
func TestHome(t *testing.T) {
	netnstest.Require(t, "netns")
	beacon := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "beacon"}, PeerName: "beacon-far"}
	if err := netlink.LinkAdd(beacon); err != nil {
		t.Fatal(err)
	}
	defer netlink.LinkDel(beacon)
	if here, err := netns.Home(); !errors.Is(err, netns.ErrNoHome) {
		t.Errorf("this test binary, which has not kept its home, has one: %v, %v", here, err)
	}
	for kind, want := range map[string]string{"keep": "keep beacon true\nchild none\n", "not": "not none\n"} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "NETNS_TEST_HOME="+kind, "PUNCHLAB_ISOLATED=")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if got := string(out); err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", kind, strings.TrimSpace(got), err, want)
		}
	}
}
