package live_test

import (
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// seen is a packet of a capture.
type seen struct {
	iface string
	time  time.Time
	dir   pcapng.Direction
	data  []byte
	orig  int
	pcapng.Comment
}

func capture(t *testing.T, n *live.Net, o live.CaptureOptions) (path string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "capture.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := n.Capture(f, o); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func read(t *testing.T, path string) (all []seen) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		s := seen{iface: r.Interfaces()[p.Interface].Name, time: time.Unix(0, int64(p.Time)), dir: p.Dir, data: append([]byte(nil), p.Data...), orig: p.Orig}
		for _, text := range p.Comments {
			if s.Comment, err = pcapng.ParseComment(text); err != nil {
				t.Error(err)
			}
		}
		all = append(all, s)
	}
}

// way lists the points that the packet of the id passed.
func way(all []seen, id uint64) string {
	var points []string
	for _, s := range all {
		if s.ID == id {
			what := s.iface + " " + s.At
			if s.Drop != "" {
				what += " dropped: " + s.Drop
			}
			points = append(points, what)
		}
	}
	return strings.Join(points, ", ")
}

func TestCapture(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, delay(time.Millisecond))
		c := home(t, "port-restricted-cone", wanA, lanA)
		c.Name = "home"
		r := newRouter(t, n, c)
		a, _ := newStation(t, r, hostA, live.StationConfig{Name: "camera"})
		a.send(t, server, "before the capture")
		server.receive(t)

		began := time.Now()
		path := capture(t, n, live.CaptureOptions{Snap: 40})
		a.send(t, server, strings.Repeat("x", 100))
		server.receiveFrom(t, strings.Repeat("x", 100))
		server.sendTo(t, netip.AddrPortFrom(wanA, 9), "stray")
		await(t, "the stray packet to be dropped", func() bool {
			k, err := r.Counts()
			return err != nil || k[nat.NoMapping] == 1
		})
		packets, err := n.StopCapture()
		if err != nil {
			t.Fatal(err)
		}
		a.send(t, server, "after the capture")
		server.receive(t)

		all := read(t, path)
		if uint64(len(all)) != packets || packets != 8 {
			t.Fatalf("%d packets in the file, %d told, want 8: %+v", len(all), packets, all)
		}
		want := "station camera sent, router home outbound, uplink home sent, uplink server arrived, uplink server delivered"
		if got := way(all, all[0].ID); got != want {
			t.Errorf("the way of a packet: %s; want %s", got, want)
		}
		want = "uplink server sent, uplink home arrived, router home inbound dropped: no mapping"
		if got := way(all, all[5].ID); got != want {
			t.Errorf("the way of a stray one: %s; want %s", got, want)
		}
		if s := all[1]; s.Src.Old != a.addr || s.Src.New.Addr() != wanA {
			t.Errorf("translated %v, want it from %v to one of %v", s.Src, a.addr, wanA)
		}
		for _, s := range all {
			if s.time.Before(began) || s.time.After(time.Now()) {
				t.Errorf("a packet at %v, want after %v", s.time, began)
			}
		}
		if s := all[0]; len(s.data) != 40 || s.orig != 128 || s.dir != pcapng.Outbound {
			t.Errorf("kept %d bytes of %d, %v; want 40 of 128, out", len(s.data), s.orig, s.dir)
		}
	})
}

func TestCaptureAgain(t *testing.T) {
	netnstest.Require(t, "netns")
	n := newNet(t, start(t, live.Options{}))
	a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
	if _, err := n.StopCapture(); err == nil {
		t.Error("stopped a capture that never began")
	}
	for range 3 {
		path := capture(t, n, live.CaptureOptions{})
		if err := n.Capture(os.Stderr, live.CaptureOptions{}); err == nil {
			t.Error("a second capture of the same net began")
		}
		a.send(t, b, "x")
		b.receive(t)
		if k, err := n.StopCapture(); err != nil || k != 3 {
			t.Errorf("%d packets, %v; want 3", k, err)
		}
		if all := read(t, path); len(all) != 3 || string(all[0].data[28:]) != "x" {
			t.Errorf("the file has %+v", all)
		}
	}
	if err := n.Capture(os.Stderr, live.CaptureOptions{Snap: -1}); err == nil {
		t.Error("a negative snap length was accepted")
	}
}

// TestCaptureEndsWithTheNet: a capture that nobody stopped is whole all the same.
func TestCaptureEndsWithTheNet(t *testing.T) {
	netnstest.Require(t, "netns")
	for name, end := range map[string]func(f *live.Fabric, n *live.Net) error{
		"net":    func(f *live.Fabric, n *live.Net) error { return n.Close() },
		"fabric": func(f *live.Fabric, n *live.Net) error { return f.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f, err := live.Start(live.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n := newNet(t, f)
			a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
			path := capture(t, n, live.CaptureOptions{})
			a.send(t, b, "x")
			b.receive(t)
			if err := end(f, n); err != nil {
				t.Fatal(err)
			}
			await(t, "the file to be written", func() bool {
				st, err := os.Stat(path)
				return err != nil || st.Size() > 200
			})
			if all := read(t, path); len(all) != 3 {
				t.Errorf("the file has %d packets, want 3", len(all))
			}
		})
	}
}

func TestCaptureFullDisk(t *testing.T) {
	netnstest.Require(t, "netns")
	n := newNet(t, start(t, live.Options{}))
	a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if err := n.Capture(full, live.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	a.send(t, b, "x")
	b.receive(t)
	if _, err := n.StopCapture(); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("a full disk: %v", err)
	}
}

func TestMonitor(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, delay(time.Millisecond))
		ns := kernelRouter(t)
		if _, err := n.Attach(live.UplinkConfig{Name: "outer", NS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(wanB, 32)},
			Routed: []netip.Prefix{netip.PrefixFrom(wanA, 32)}}); err != nil {
			t.Fatal(err)
		}
		c := home(t, "full-cone", wanA, lanA)
		c.NS, c.Device, c.DeviceAddrs = ns, "lan3", []netip.Addr{netip.MustParseAddr("100.64.0.1")}
		r := newRouter(t, n, c)
		a, _ := newStation(t, r, hostA, live.StationConfig{})
		if err := n.Monitor("home", ns, "lan3"); err != nil {
			t.Fatal(err)
		}
		if err := n.Monitor("nowhere", ns, "lan4"); err == nil {
			t.Error("a device that is not there was accepted")
		}
		a.send(t, server, "before")
		seenAt := server.receiveFrom(t, "before")
		path := capture(t, n, live.CaptureOptions{})
		began := time.Now()
		a.send(t, server, "ping")
		server.receiveFrom(t, "ping")
		server.sendTo(t, seenAt, "pong")
		a.receiveFrom(t, "pong")
		ended := time.Now()
		if _, err := n.StopCapture(); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, s := range read(t, path) {
			if s.iface == "monitor home" {
				texts = append(texts, s.dir.String()+" "+string(s.data[28:]))
				if s.time.Before(began.Add(-time.Millisecond)) || s.time.After(ended.Add(time.Millisecond)) {
					t.Errorf("seen at %v, want between %v and %v", s.time, began, ended)
				}
			}
		}
		if got := strings.Join(texts, ", "); got != "out ping, in pong" {
			t.Errorf("the monitor saw %s; want out ping, in pong", got)
		}
	})
}

// TestCaptureReadable has programs that nobody here wrote read a capture.
func TestCaptureReadable(t *testing.T) {
	netnstest.Require(t, "netns", "tcpdump", "tshark")
	n := newNet(t, start(t, live.Options{}))
	a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
	path := capture(t, n, live.CaptureOptions{})
	a.send(t, b, "x")
	b.receive(t)
	if _, err := n.StopCapture(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-r", path, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment").Output()
	if want := "uplink a\tid=1 at=sent\nuplink b\tid=1 at=arrived\nuplink b\tid=1 at=delivered"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("tshark: %v\n%s\nwant\n%s", err, out, want)
	}
	out, err = exec.Command("tcpdump", "-n", "-r", path).CombinedOutput()
	if strings.Contains(string(out), "Couldn't change to") {
		t.Skip("tcpdump cannot give up the privileges that it has in a user namespace")
	}
	if want := "IP 192.0.2.1.7000 > 198.51.100.2.7000:"; err != nil || strings.Count(string(out), want) != 3 {
		t.Errorf("tcpdump: %v\n%s\nwant three times %s", err, out, want)
	}
}
