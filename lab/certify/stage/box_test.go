package stage_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// box is a machine with a cable, and a vendor's device at its end.
//
//	machine ── eth7 ═══ eth0 ── device
type box struct{ machine, device *netns.NS }

func newBox(t *testing.T) *box {
	t.Helper()
	var b box
	for _, n := range []**netns.NS{&b.machine, &b.device} {
		var err error
		if *n, err = netns.New(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*n).Close() })
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	must(b.machine.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth7"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(b.device.FD()),
	}))
	for name, n := range map[string]*netns.NS{"eth7": b.machine, "eth0": b.device} {
		l, err := n.Netlink().LinkByName(name)
		must(err)
		must(n.Netlink().LinkSetUp(l))
	}
	return &b
}

// boot has the device get an address until the test ends, and then send a datagram to a server every 20 ms.
func (b *box) boot(ctx context.Context, server netip.AddrPort) error {
	link, err := b.device.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	var raw net.PacketConn
	if err := b.device.Do(func() (err error) { raw, err = nclient4.NewRawUDPConn("eth0", nclient4.ClientPort); return err }); err != nil {
		return err
	}
	client, err := nclient4.NewWithConn(raw, link.Attrs().HardwareAddr, nclient4.WithTimeout(200*time.Millisecond), nclient4.WithRetry(100))
	if err != nil {
		return err
	}
	defer client.Close()
	lease, err := client.Request(ctx)
	for errors.Is(err, unix.ENOBUFS) && ctx.Err() == nil { // until its link is up: the cable is plugged in after it
		time.Sleep(5 * time.Millisecond)
		lease, err = client.Request(ctx)
	}
	if err != nil {
		return err
	}
	ip := lease.ACK
	err = b.device.Netlink().AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip.YourIPAddr, Mask: ip.SubnetMask()}})
	if err == nil {
		err = b.device.Netlink().RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: ip.Router()[0]})
	}
	if err != nil {
		return err
	}
	var c net.Conn
	if err := b.device.Do(func() (err error) { c, err = net.Dial("udp4", server.String()); return err }); err != nil {
		return err
	}
	defer c.Close()
	for ctx.Err() == nil {
		_, _ = c.Write([]byte(strings.Repeat("media", 200)))
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// hook is a vendor's: it says what it was asked, has a ticket, and cannot be another unit.
const hook = `#!/bin/sh
echo "$PUNCHLAB_ROLE/$PUNCHLAB_ACTION/$PUNCHLAB_UNIT" >> "$LOG"
case "$PUNCHLAB_ACTION/$PUNCHLAB_UNIT" in
run/1) printf label > "$PUNCHLAB_RESULT/ticket"; echo '{"serial": "b7"}' > "$PUNCHLAB_RESULT/identity.json" ;;
power/1) ip link show eth7 || exit 3 ;;
privacy-on/1) exit 1 ;;
*) exit 127 ;;
esac
`

// TestBox has a box in the camera's place: seen on the tape as the camera, and moved by its hook.
func TestBox(t *testing.T) {
	netnstest.Require(t, "netns", "ip")
	b := newBox(t)
	script := filepath.Join(t.TempDir(), "hook")
	asked := filepath.Join(t.TempDir(), "asked")
	if err := os.WriteFile(script, []byte(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	s, ctx := opened(t, "", func(o *stage.Options) {
		o.Device.Way, o.Device.Interface, o.Device.From, o.Device.Hook = stage.Box, "eth7", b.machine, []string{script}
		o.Device.Env = append(o.Device.Env, "LOG="+asked)
	})
	for range 2 { // two labs: the interface comes back between them
		x, err := s.Set(ctx, "two-homes")
		if err != nil {
			t.Fatal(err)
		}
		on, off := context.WithCancel(ctx)
		booted := make(chan error, 1)
		go func() { booted <- b.boot(on, netip.AddrPortFrom(x.Host("rendezvous").Addr(), 7000)) }()
		c, err := x.Camera(ctx, 1)
		if err != nil {
			off()
			t.Fatalf("%v; the device: %v", err, <-booted)
		}
		if ticket(t, c) != "label" || !x.Box().Outlet().LAN.Contains(c.Addrs()[0]) {
			t.Errorf("ticket %q, addresses %v", ticket(t, c), c.Addrs())
		}
		if id, err := c.Identity(); err != nil || id.Serial != "b7" {
			t.Errorf("%+v, %v", id, err)
		}
		if _, err := x.Tape().Wait(ctx, 0, 3, c.Out(), tape.Media, tape.To(x.Servers("viewer")...)); err != nil {
			t.Error(err)
		}
		actions(t, ctx, x, c)
		off()
		if err := <-booted; err != nil {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(asked); strings.Count(string(b), "camera/power/1") != 2 {
		t.Errorf("the hook was asked for\n%s", b)
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("%+v", r)
	}
	if _, err := b.machine.Netlink().LinkByName("eth7"); err != nil {
		t.Errorf("the interface is not back: %v", err)
	}
}

func actions(t *testing.T, ctx context.Context, x *stage.Set, c *stage.Camera) {
	t.Helper()
	var unsupported *stage.Unsupported
	var fault *stage.Fault
	if _, err := x.Camera(ctx, 2); !errors.As(err, &unsupported) {
		t.Errorf("as another unit: %v", err)
	}
	if err := c.Action(ctx, certify.ActionReset); !errors.As(err, &unsupported) {
		t.Errorf("reset: %v", err)
	}
	if err := c.Action(ctx, certify.ActionPrivacyOn); !errors.As(err, &fault) {
		t.Errorf("privacy: %v", err)
	}
	if _, err := c.Memory(); !errors.As(err, &unsupported) {
		t.Errorf("memory: %v", err)
	}
	// The hook is where the machine is: the interface is in the lab meanwhile.
	if err := c.Kill(); !errors.As(err, &fault) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("power: %v", err)
	}
}
