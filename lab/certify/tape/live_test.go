package tape_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/packet"
	"github.com/punchlab/punchlab/topologies"
)

func TestMain(m *testing.M) {
	live.Main()
	netnstest.Main(m)
}

func startFabric(t *testing.T) *live.Fabric {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func load(t *testing.T, name string, settings ...string) *lab.Topology {
	t.Helper()
	topo, _, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := topo.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

// comes is how long what must come may take on a busy machine.
const comes = 30 * time.Second

// room is a lab that is captured, and watched by a tape.
type room struct {
	*lab.Lab
	tape *tape.Tape
	file *os.File
}

func open(t *testing.T, f *live.Fabric, topo *lab.Topology) *room {
	t.Helper()
	l, err := lab.Up(f, topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &room{Lab: l, tape: tape.New()}
	t.Cleanup(func() {
		if err := r.tape.Close(); err != nil {
			t.Error(err)
		}
	})
	if r.file, err = os.Create(filepath.Join(t.TempDir(), "capture.pcapng")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.file.Close() })
	for _, h := range l.Hosts() {
		if err := r.tape.Watch(l.Host(h)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Capture(r.file); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *room) listen(t *testing.T, host string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := r.Host(host).ListenUDP(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// line is what of a packet live and file have to have in common: not the time, which is the kernel's here and the fabric's there.
func line(p *tape.Packet) string {
	return fmt.Sprintf("%s out=%v proto=%d %v>%v size=%d flags=%d seq=%d fragment=%v %.8x %d", p.Host, p.Out, p.Protocol, p.Src, p.Dst, p.Size,
		p.Flags, p.Seq, p.Fragment, p.Payload, len(p.Payload))
}

func lines(ps []tape.Packet) (ls []string) {
	for i := range ps {
		ls = append(ls, line(&ps[i]))
	}
	slices.Sort(ls)
	return ls
}

// What the tape had live the file has afterwards, behind a router of either engine: datagrams, fragments and TCP, and what the link lost.
func TestLiveAndFileAgree(t *testing.T) {
	f := startFabric(t)
	for _, tt := range [][2]string{{"two-homes", "netfilter"}, {"two-homes", "table"}, {"ipv6-only", "netfilter"}, {"ipv6-only", "table"}} {
		t.Run(tt[0]+"/"+tt[1], func(t *testing.T) {
			topo := load(t, tt[0], "camera.engine", tt[1])
			r := open(t, f, topo)
			r.talk(t)
			r.download(t)
			r.lose(t)
			if err := r.StopCapture(); err != nil {
				t.Fatal(err)
			}
			// Bare acknowledgments may be on their way when the one has ended and the other has not.
			both := tape.Any(tape.UDP, tape.Full, tape.Flags(packet.SYN, 0), tape.Flags(packet.FIN, 0))
			live := r.tape.Packets(0, both)
			file, err := tape.Read(r.file.Name(), tape.Hosts(topo, nil), both)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(lines(live), lines(file)); d != "" {
				t.Errorf("(-live +file)\n%s", d)
			}
			late := func(p tape.Packet) time.Duration { // a segment may have been sent more than once
				d := time.Duration(1<<63 - 1)
				for _, q := range tape.Select(live, same(p)) {
					d = min(d, p.At.Sub(q.At).Abs())
				}
				return d
			}
			for _, p := range file {
				if d := late(p); d > comes { // the fabric has its own clock, and may come to a packet late
					t.Errorf("the file has %s %v from when the tape has it", line(&p), d)
				}
			}
			if err := r.tape.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// rendezvous is where the camera reaches it.
func (r *room) rendezvous(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(r.Topology().AddrsFrom("camera", "rendezvous")[0], port)
}

// talk has the camera send datagrams of many sizes to the rendezvous, which answers each with a byte, and tests what the tape has.
func (r *room) talk(t *testing.T) {
	t.Helper()
	at := r.rendezvous(5000)
	to, from := r.listen(t, "rendezvous", at), r.listen(t, "camera", netip.AddrPort{})
	sizes := []int{0, 1, 499, 500, 1200, 3000}
	var pieces int
	for _, n := range sizes {
		mark := r.tape.Mark()
		if _, err := from.WriteToUDPAddrPort(bytes.Repeat([]byte{byte(n)}, n), at); err != nil {
			t.Fatal(err)
		}
		_ = to.SetReadDeadline(time.Now().Add(comes))
		got, peer, err := to.ReadFromUDPAddrPort(make([]byte, 4096))
		if err != nil || got != n {
			t.Fatalf("%d bytes came, %v; want %d", got, err, n)
		}
		if _, err := to.WriteToUDPAddrPort([]byte{1}, peer); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), comes)
		if _, err := r.tape.Wait(ctx, mark, 1, tape.CameTo("camera"), tape.UDP, tape.Port(5000)); err != nil {
			t.Error(err)
		}
		cancel()
		sent := r.tape.Packets(mark, tape.From("camera"), tape.UDP)
		came := r.tape.Packets(mark, tape.CameTo("rendezvous"), tape.UDP)
		seen, headers := r.Host("camera").Addr(), int64(48)
		switch {
		case seen.Is4():
			seen, headers = r.Topology().Site("camera").WAN[0], int64(8+20*len(sent))
		case len(sent) > 1:
			headers = int64(8 + 48*len(sent))
		}
		if tape.Bytes(sent) != int64(n)+headers || tape.PayloadBytes(came) != int64(n) || len(sent) != len(came) {
			t.Errorf("of a datagram of %d bytes: sent %q, came %q", n, lines(sent), lines(came))
		}
		for _, p := range came {
			if p.Src.Addr() != seen || p.Src.Port() == 0 || p.Dst != at {
				t.Errorf("it came as %s, want it from %v to %v", line(&p), seen, at)
			}
		}
		if got, want := tape.Count(sent, tape.Media) > 0, n >= 500; got != want {
			t.Errorf("%d bytes are media: %v", n, got)
		}
		pieces += len(sent)
	}
	if got := r.tape.Count(0, tape.From("camera"), tape.UDP); got != pieces {
		t.Errorf("%d packets on the tape, want %d", got, pieces)
	}
}

// lose has the camera's link lose half of a hundred datagrams: those were sent, and did not come.
func (r *room) lose(t *testing.T) {
	t.Helper()
	at := r.rendezvous(5001)
	server := r.listen(t, "rendezvous", at)
	from := r.listen(t, "camera", netip.AddrPort{})
	if at.Addr().Is4() { // it ends in the core, at a tap of the rendezvous' uplink
		_, err := server.WriteToUDPAddrPort([]byte("nobody"), netip.MustParseAddrPort("192.0.2.1:1"))
		must(t, err)
	}
	r.settle(t, from, server, at)
	before := r.down(t)
	undo, err := r.Do(lab.Event{Do: lab.DoUplinkDown, Site: "camera"})
	must(t, err)
	mark := r.tape.Mark()
	for i := range 100 {
		if i == 50 { // once the fabric has read what was sent: a busy machine's comes to it late
			for end := time.Now().Add(comes); r.down(t) < before+50 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			must(t, undo())
		}
		_, err := from.WriteToUDPAddrPort([]byte(fmt.Sprint("datagram ", i)), at)
		must(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), comes)
	defer cancel()
	if n, err := r.tape.Wait(ctx, mark, 50, tape.CameTo("rendezvous"), tape.Port(5001)); n != 50 || err != nil {
		t.Errorf("%d came, %v", n, err)
	}
	if n := r.tape.Count(mark, tape.From("camera"), tape.Port(5001)); n != 100 {
		t.Errorf("%d were sent", n)
	}
}

// settle waits until what was on its way between two sockets' hosts has come: both ways keep the order.
func (r *room) settle(t *testing.T, from, server *net.UDPConn, at netip.AddrPort) {
	t.Helper()
	b := make([]byte, 100)
	_, err := from.WriteToUDPAddrPort([]byte("settle"), at)
	must(t, err)
	_ = server.SetReadDeadline(time.Now().Add(comes))
	_, peer, err := server.ReadFromUDPAddrPort(b)
	must(t, err)
	_, err = server.WriteToUDPAddrPort([]byte("settled"), peer)
	must(t, err)
	_ = from.SetReadDeadline(time.Now().Add(comes))
	_, err = from.Read(b)
	must(t, err)
}

// down is how many packets were lost to an uplink that was down.
func (r *room) down(t *testing.T) (n uint64) {
	t.Helper()
	s, err := r.Stats()
	must(t, err)
	for _, u := range s.Uplinks {
		n += uint64(u.Drops[link.Down])
	}
	return n
}

// download has the camera send by TCP.
func (r *room) download(t *testing.T) {
	t.Helper()
	at := r.rendezvous(443)
	l, err := r.Host("rendezvous").ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mark := r.tape.Mark()
	c, err := r.Host("camera").DialTCP(t.Context(), netip.AddrPort{}, at)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789"), 3000)
	go func() {
		defer c.Close()
		_, _ = c.Write(sent)
	}()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_ = in.SetReadDeadline(time.Now().Add(comes))
	if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came, %v", len(got), err)
	}
	syn := r.tape.Packets(mark, tape.Flags(packet.SYN, packet.ACK)) // on a busy machine the camera asks again before it is heard
	came := slices.IndexFunc(syn, func(p tape.Packet) bool { return p.Host == "rendezvous" && !p.Out })
	if came < 1 || syn[0].Host != "camera" || !syn[0].Out {
		t.Errorf("the connect is %q", lines(syn))
	}
	segments := r.tape.Packets(mark, tape.CameTo("rendezvous"), tape.Port(443), tape.Full)
	in.Close()
	ctx, cancel := context.WithTimeout(t.Context(), comes)
	defer cancel()
	for _, host := range []string{"rendezvous", "camera"} {
		if _, err := r.tape.Wait(ctx, mark, 1, tape.CameTo(host), tape.Flags(packet.FIN, 0)); err != nil {
			t.Error(err)
		}
	}
	once := map[uint32]int{}
	for _, p := range segments {
		once[p.Seq] = len(p.Payload)
	}
	sum := 0
	for _, n := range once {
		sum += n
	}
	if sum != len(sent) || slices.ContainsFunc(segments, func(p tape.Packet) bool { return p.Size > 1500 }) {
		t.Errorf("%d bytes in %d segments, want %d", sum, len(segments), len(sent))
	}
}

// What passes a box's cable is told as the box sees it, live and from the file.
func TestBox(t *testing.T) {
	topo := load(t, "two-homes", "camera.engine", lab.EngineNetfilter)
	r := open(t, startFabric(t), topo)
	machine, device := newNS(t), newNS(t)
	must(t, machine.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth7"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(device.FD()),
	}))
	o, err := r.Plug("camera", machine, "eth7")
	must(t, err)
	must(t, r.tape.WatchOutlet(o, "box"))
	nl := device.Netlink()
	eth0, err := nl.LinkByName("eth0")
	must(t, err)
	must(t, nl.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: o.Addrs[0].AsSlice(), Mask: net.CIDRMask(o.LAN.Bits(), 32)}}))
	must(t, nl.LinkSetUp(eth0))
	must(t, nl.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: o.Gateway.AsSlice()}))
	at := netip.AddrPortFrom(r.Host("rendezvous").Addr(), 5000)
	to := r.listen(t, "rendezvous", at)
	var from *net.UDPConn
	must(t, device.Do(func() (err error) {
		from, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at))
		return err
	}))
	defer from.Close()
	_, err = from.Write(make([]byte, 3000))
	must(t, err)
	_ = to.SetReadDeadline(time.Now().Add(comes))
	_, peer, err := to.ReadFromUDPAddrPort(make([]byte, 4096))
	must(t, err)
	_, err = to.WriteToUDPAddrPort([]byte("answer"), peer)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), comes)
	defer cancel()
	_, err = r.tape.Wait(ctx, 0, 1, tape.CameTo("box"), tape.Carries([]byte("answer")))
	must(t, err)
	must(t, r.StopCapture())
	routes := tape.RoutesOf(topo, nil, nil)
	routes.Plug("box", "camera")
	live := r.tape.Packets(0, tape.At("box"), tape.UDP)
	for _, p := range live {
		if p.Local() != from.LocalAddr().(*net.UDPAddr).AddrPort() || p.Remote() != at || routes.Of(&p) != tape.Direct {
			t.Errorf("the box has %s, %v", line(&p), routes.Of(&p))
		}
	}
	file, err := tape.Read(r.file.Name(), tape.Hosts(topo, map[string]string{o.Name: "box"}), tape.At("box"), tape.UDP)
	must(t, err)
	if d := cmp.Diff(lines(live), lines(file)); d != "" || tape.Count(live, tape.Out) != 3 || tape.Count(live, tape.In) != 1 {
		t.Errorf("%q (-live +file)\n%s", lines(live), d)
	}
}

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	n, err := netns.New()
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(p tape.Packet) tape.Match {
	want := line(&p)
	return func(q *tape.Packet) bool { return line(q) == want && bytes.Equal(q.Payload, p.Payload) }
}
