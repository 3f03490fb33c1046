package plug_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify/plug"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
	"github.com/vishvananda/netlink"
)

// victimCard is the interface that a victim takes from the namespace that it was started in: a test binary's own.
const victimCard = "plugtest"

// victim is a program like punchlab --attach: isolated, with a black box. It says when that is attached, and ends when its
// input does.
func victim(how string) {
	err := netns.IsolateKeepingHome()
	if how == "forgetful" {
		os.Unsetenv("PUNCHLAB_HOME")
	}
	if err == nil {
		err = runVictim()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runVictim() (err error) {
	f, err := live.Start(live.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	topo, _, err := topologies.Load("two-homes")
	if err != nil {
		return err
	}
	l, err := lab.Up(f, topo, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	box, err := plug.Attach(context.Background(), l, "camera", plug.Options{Interface: victimCard})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	fmt.Println("attached")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// attached starts a victim and waits until it has the card, or says why not.
func attached(t *testing.T, how string) (cmd *exec.Cmd, in io.Closer, said string) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PLUG_TEST_VICTIM="+how, "PUNCHLAB_ISOLATED=")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	said, err = bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return cmd, in, said
}

// TestProgramTakesTheMachinesInterface and gives it back at its end; killed, it leaves nothing behind.
func TestProgramTakesTheMachinesInterface(t *testing.T) {
	netnstest.Require(t, "netns", "nftables")
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: victimCard}, PeerName: "plugtest-far"}))
	defer func() {
		if l, err := netlink.LinkByName(victimCard); err == nil {
			must(t, netlink.LinkDel(l))
		}
	}()
	here := func(name string) bool { _, err := netlink.LinkByName(name); return err == nil }

	_, _, said := attached(t, "forgetful")
	if want := netns.ErrNoHome.Error(); !strings.Contains(said, want) || !here(victimCard) {
		t.Fatalf("without its home it said %q, want %q", said, want)
	}

	cmd, in, said := attached(t, "yes")
	if said != "attached\n" {
		t.Fatal(said)
	}
	if here(victimCard) {
		t.Error("it has attached the card, which is still here")
	}
	must(t, in.Close())
	must(t, cmd.Wait())
	if !here(victimCard) {
		t.Fatal("it has ended, and the card is not back")
	}

	cmd, _, said = attached(t, "yes")
	if said != "attached\n" {
		t.Fatal(said)
	}
	must(t, cmd.Process.Signal(syscall.SIGKILL))
	// A card made of hardware would come back. This one goes, with its peer.
	for deadline := time.Now().Add(patience); here("plugtest-far"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the killed program's namespace is still there")
		}
	}
}
