package portmap_test

import (
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/topologies"
)

// inLab is a lab whose camera's router maps ports, on one engine.
type inLab struct {
	t   *testing.T
	l   *lab.Lab
	lan netip.Addr // the camera's
	wan netip.Addr // its router's
}

func newLab(t *testing.T, f *live.Fabric, engine, preset string) *inLab {
	t.Helper()
	topo, _, err := topologies.Load("two-homes")
	must(t, err)
	topo.UseEngine(engine)
	for _, set := range [][2]string{{"camera.portmap", preset}, {"camera.nat", "port-restricted-cone"}, {"link", "lan"}} {
		must(t, topo.Set(set[0], set[1]))
	}
	must(t, topo.Resolve())
	l, err := lab.Up(f, topo, 1)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return &inLab{t: t, l: l, lan: l.Host("camera").Addr(), wan: topo.Site("camera").WAN[0]}
}

// run runs a program on the camera.
func (i *inLab) run(name string, args ...string) string {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(i.t, i.l.Host("camera").Start(cmd))
	_ = cmd.Wait() // its words are its verdict
	return out.String()
}

// reached sends from the rendezvous to the router's port until the camera has it on its own, or gives up.
func (i *inLab) reached(inner, outer uint16, wait time.Duration) bool {
	i.t.Helper()
	in, err := i.l.Host("camera").ListenUDP(netip.AddrPortFrom(i.lan, inner))
	must(i.t, err)
	defer in.Close()
	out, err := i.l.Host("rendezvous").ListenUDP(netip.AddrPort{})
	must(i.t, err)
	defer out.Close()
	_, err = out.WriteToUDPAddrPort([]byte("knock"), netip.AddrPortFrom(i.wan, outer))
	must(i.t, err)
	got, from := receive(i.t, in, wait)
	if got == "" {
		return false
	}
	_, err = in.WriteToUDPAddrPort([]byte("who"), from)
	must(i.t, err)
	if answer, at := receive(i.t, out, patience); answer != "who" || at != netip.AddrPortFrom(i.wan, outer) {
		i.t.Errorf("the camera's answer %q came from %v, want from %v:%d", answer, at, i.wan, outer)
	}
	return true
}

func (i *inLab) connects(inner, outer uint16) {
	i.t.Helper()
	var l net.Listener
	must(i.t, i.l.Host("camera").Do(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(i.lan, inner).String())
		return err
	}))
	defer l.Close()
	must(i.t, i.l.Host("rendezvous").Do(func() error {
		c, err := net.DialTimeout("tcp4", netip.AddrPortFrom(i.wan, outer).String(), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.WriteString(c, "knock")
		return err
	}))
}

// TestStrangersMapPortsInTheLab does on both engines what a camera does at home: it finds its router by upnpc's search
// and maps by upnpc and natpmpc, and somebody comes in from the internet.
func TestStrangersMapPortsInTheLab(t *testing.T) {
	netnstest.Require(t, "netns", "nftables", "upnpc", "natpmpc")
	f, err := live.Start(live.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			i := newLab(t, f, engine, "all")
			if i.reached(5000, 6000, never) {
				t.Fatal("a port that nobody mapped let somebody in")
			}
			// -i: upnpc takes addresses for documentation, like the lab's, for those of a second NAT.
			contains(t, i.run("upnpc", "-i", "-a", i.lan.String(), "5000", "6000", "UDP", "600"),
				"external "+i.wan.String()+":6000 UDP is redirected to internal "+i.lan.String()+":5000 (duration=600)")
			if !i.reached(5000, 6000, patience) {
				t.Error("nothing came through upnpc's mapping")
			}
			contains(t, i.run("natpmpc"), "Public IP address : "+i.wan.String())
			contains(t, i.run("natpmpc", "-a", "7000", "7001", "udp", "100"), "Mapped public port 7000 protocol UDP to local port 7001 liftime 100")
			if !i.reached(7001, 7000, patience) {
				t.Error("nothing came through natpmpc's mapping")
			}
			contains(t, i.run("natpmpc", "-a", "7000", "7001", "tcp", "100"), "Mapped public port 7000 protocol TCP to local port 7001 liftime 100")
			i.connects(7001, 7000)
			contains(t, i.run("natpmpc", "-a", "7000", "7001", "udp", "0"), "liftime 0")
			if i.reached(7001, 7000, never) {
				t.Error("natpmpc took its mapping back, yet it lets somebody in")
			}
			must(t, i.l.Reset(2))
			if i.reached(5000, 6000, never) {
				t.Error("a mapping outlived a reset of the lab")
			}
		})
	}
}

// TestAnnouncementsInTheLab has a router of each engine reboot: its host hears the new epoch.
func TestAnnouncementsInTheLab(t *testing.T) {
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			i := newLab(t, f, engine, "nat-pmp")
			c, err := i.l.Host("camera").ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 5350))
			must(t, err)
			defer c.Close()
			must(t, i.l.Host("camera").Do(func() error { return join(c, "224.0.0.1") }))
			_, err = i.l.Do(lab.Event{Do: "reboot", Site: "camera"})
			must(t, err)
			if got, from := receive(t, c, patience); !strings.HasPrefix(got, "\x00\x80\x00\x00\x00\x00\x00\x00") {
				t.Errorf("heard %x from %v, want an announcement at epoch 0", got, from)
			}
		})
	}
}
