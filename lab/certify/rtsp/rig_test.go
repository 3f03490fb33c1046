// Package rtsp certifies a camera that nobody here wrote: one of the traditional kind, whose owner has forwarded its RTSP port.
//
//	firmware.sh: gst-rtsp-server, busybox's DHCP client        adapter.py: ffmpeg
//	  │ in a network namespace of its own                        │ in the vendor's role viewer
//	  eth0 ═══ eth7 ──plug──► site camera ── NAT, port 8554 ── fabric ── NAT ── host viewer
//
// All of it is in testdata, as a vendor would bring it: the declaration (rtsp.yaml), the adapter, the box, and the hook that cuts its
// power (outlet.sh). The box can be one that asks for a password (SEC-3), dies of a long head (SEC-11) or has no SYN cookies (RES-4), to see
// these fail. The tests plug it in as punchlab certify --attach does, and hold each case's verdict and reason to expected.tsv: some
// cases always, all of them with PUNCHLAB_SOAK=1. As root, from the repository's root, the same by the command line:
//
//	make build && PUNCHLAB=bin/punchlab lab/certify/rtsp/try.sh --brief --out out/rtsp
package rtsp_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify/contain"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) {
	live.Main()
	contain.Main()
	if len(os.Args) == 2 && os.Args[1] == "adapter" { // the bundled programs, in the roles that the vendor does not bring
		adapter.Main()
	}
	netnstest.Main(m)
}

// patience is how long what must come may take on a busy machine.
const patience = 30 * time.Second

// port is the camera's.
const port = 8554

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// require skips a test where what the camera is made of is missing, or fails it if PUNCHLAB_REQUIRE names that.
func require(t testing.TB) {
	t.Helper()
	netnstest.Require(t, "netns", "nftables", "ffmpeg", "busybox")
	err := exec.Command("/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer").Run()
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "gst-rtsp-server"):
		t.Fatalf("PUNCHLAB_REQUIRE names gst-rtsp-server: %v", err)
	default:
		t.Skipf("gst-rtsp-server is missing: %v", err)
	}
}

// box is a camera on a cable.
//
//	machine ── eth7 ═══ eth0 ── firmware
type box struct {
	machine *netns.NS
	folder  string // of the switched outlet, and its flash
}

// newBox gives a camera power, of the sort that firmware.sh knows by these words.
func newBox(t testing.TB, sort ...string) *box {
	t.Helper()
	b := &box{machine: newNS(t), folder: t.TempDir()}
	inside := newNS(t)
	must(t, b.machine.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth7"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(inside.FD()),
	}))
	link, err := b.machine.Netlink().LinkByName("eth7")
	must(t, err)
	must(t, b.machine.Netlink().LinkSetUp(link))
	firmware, err := filepath.Abs("testdata/firmware.sh")
	must(t, err)
	cmd := exec.Command("testdata/outlet.sh", append([]string{b.folder, firmware, "eth0", b.folder}, sort...)...)
	log, err := os.Create(filepath.Join(b.folder, "log"))
	must(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	must(t, inside.Do(cmd.Start))
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
		if said, err := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("the box says, %v:\n%s", err, said)
		}
	})
	return b
}

func newNS(t testing.TB) *netns.NS {
	t.Helper()
	n, err := netns.New()
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// hook has the switched outlet do an action.
func (b *box) hook(action string) error {
	cmd := exec.Command("testdata/outlet.sh", b.folder)
	cmd.Env = append(os.Environ(), "PUNCHLAB_CASE=MED-2", "PUNCHLAB_ACTION="+action, "PUNCHLAB_UNIT=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", action, err, out)
	}
	return nil
}

// home is a lab whose camera's site takes a box.
func home(t testing.TB, f *live.Fabric, settings ...string) *lab.Lab {
	t.Helper()
	topo, _, err := topologies.Load("two-homes")
	must(t, err)
	topo.UseEngine(lab.EngineNetfilter)
	for i := 0; i < len(settings); i += 2 {
		must(t, topo.Set(settings[i], settings[i+1]))
	}
	must(t, topo.Resolve())
	l, err := lab.Up(f, topo, 1)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// viewer is the adapter as it is started on a host; it writes to a folder.
func viewer(t testing.TB, l *lab.Lab, host string, at netip.AddrPort, seconds int) (cmd *exec.Cmd, frames string) {
	t.Helper()
	folder := t.TempDir()
	ticket := filepath.Join(folder, "ticket")
	must(t, os.WriteFile(ticket, []byte(at.String()), 0o600))
	cmd = exec.Command("testdata/adapter.py")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "PUNCHLAB_CASE=MED-2", "PUNCHLAB_ROLE=viewer", "PUNCHLAB_ACTION=run",
		"PUNCHLAB_RESULT=" + folder, "PUNCHLAB_TICKET=" + ticket, fmt.Sprintf("PUNCHLAB_MEDIA=%d", seconds),
	}
	cmd.Stderr = os.Stderr
	must(t, l.Host(host).Start(cmd))
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, filepath.Join(folder, "frames.jsonl")
}
