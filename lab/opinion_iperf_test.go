package lab_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// TestIperfSeesTheLink has iperf3 send up and down between the camera and the viewer, through a translating router and an
// open one:
//
//	camera ── router ══ link ══ core ── router (open) ── viewer: iperf3 -s
//
// Rates are low: what is looked at is the link's emulation, not this machine.
func TestIperfSeesTheLink(t *testing.T) {
	netnstest.Require(t, "iperf3")
	f := startFabric(t)
	preset := func(name string) link.Profile {
		p, ok := link.Lookup(name)
		if !ok {
			t.Fatalf("no link %s", name)
		}
		return p
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, engine := range lab.RouterEngines() {
		for _, c := range []struct {
			profile link.Profile
			test    func(*iperf)
		}{
			{preset("perfect"), unimpaired},
			{narrow, (*iperf).bulk},
			{preset("adsl"), rated},
			{preset("lte"), rated},
		} {
			topo := on(t, engine, "two-homes", "camera.nat", "symmetric", "viewer.nat", "open", "viewer.link", "perfect")
			s := topo.Site("camera")
			s.Link, s.Profile = "", c.profile
			if err := topo.Resolve(); err != nil {
				t.Fatal(err)
			}
			i := &iperf{t: t, l: up(t, f, topo), name: engine + ", " + c.profile.Name, link: c.profile}
			wg.Go(func() { c.test(i) })
		}
	}
}

// narrow is a link of a smaller MTU than the hosts know.
var narrow = link.Profile{Name: "narrow", Up: link.Impairment{MTU: 1400}, Down: link.Impairment{MTU: 1400}}

// unimpaired: TCP arrives, and so does UDP, all of it.
func unimpaired(i *iperf) {
	i.bulk()
	for _, way := range i.ways() {
		i.insist(func() error { return i.arrives(way) })
	}
}

func (i *iperf) arrives(w way) error {
	got, counted := i.run(w, "-u", "-b", "5M", "-l", "1000", "-t", "1")
	if want := 5e6 / 8 / 1000; math.Abs(float64(got.Packets)-want) > want/10 { // as many as it sent before its second was over
		return fmt.Errorf("%s: %d datagrams, want %.0f", w.name, got.Packets, want)
	}
	if lost := counted.dropped + counted.unread; got.Lost > lost {
		i.errorf("%s: iperf3 misses %d datagrams of %d, the lab dropped %d", w.name, got.Lost, got.Packets, lost)
	}
	return nil
}

// bulk: TCP arrives. On a link of a smaller MTU it does so only if path MTU discovery works.
func (i *iperf) bulk() {
	const size = 64 << 20
	for _, way := range i.ways() {
		if got, _ := i.run(way, "-n", strconv.Itoa(size)); got.Bytes < size/2 { // what is in buffers at the end doesn't count
			i.errorf("%s: TCP brought %d of %d bytes", way.name, got.Bytes, size)
		}
	}
}

// rated: TCP fills the link, and of UDP at 1.5 times its rate a third is lost.
func rated(i *iperf) {
	for _, way := range i.ways() {
		i.insist(func() error { return i.fills(way) })
		i.insist(func() error { return i.overflows(way) })
	}
}

// insist tries thrice: programs that this machine keeps waiting see another rate, but a wrong link is wrong each time.
func (i *iperf) insist(try func() error) {
	var err error
	for range 3 {
		if err = try(); err == nil {
			return
		}
		i.t.Logf("%s, %v", i.name, err)
	}
	i.errorf("%v", err)
}

func (i *iperf) fills(w way) error {
	const ip, headers = 1500, 20 + 20 + 12 // with TCP's timestamps
	got, _ := i.run(w, "-t", "2")          // of which TCP's start takes some round trips
	share, want := got.Rate/float64(w.link.Rate), float64(ip-headers)/ip
	if share < want*0.8 || share > want*1.05 {
		return fmt.Errorf("%s: TCP got %.3f of the link's %d bit/s, want %.3f -20 %% +5 %%", w.name, share, w.link.Rate, want)
	}
	return nil
}

func (i *iperf) overflows(w way) error {
	const payload, headers, seconds = 1400, 20 + 8, 2
	rate := float64(w.link.Rate)
	got, counted := i.run(w, "-u", "-b", fmt.Sprintf("%.0f", 1.5*rate*payload/(payload+headers)), "-l", strconv.Itoa(payload), "-t", strconv.Itoa(seconds))
	lost := float64(got.Lost) / float64(got.Packets)
	// 1/3, but the queue takes up what comes before it is full.
	if want := 1 - (seconds+queueing(w.link))/(1.5*seconds); math.Abs(lost-want) > 0.05 {
		return fmt.Errorf("%s: %.3f of the datagrams were lost at 1.5 times the rate, want %.3f ± 0.05", w.name, lost, want)
	}
	// The receiver ends first: what is dropped until its sender hears of that, iperf3 doesn't miss.
	tail := int64(rate / 2 / 8 / (payload + headers) * (queueing(w.link) + 2*(i.link.Up.Delay+i.link.Down.Delay).Seconds()))
	if dropped := counted.dropped + counted.unread; got.Lost > dropped || got.Lost < dropped-tail-dropped/20 {
		return fmt.Errorf("%s: iperf3 misses %d datagrams, the lab dropped %d", w.name, got.Lost, dropped)
	}
	return nil
}

// queueing is how long the last packet in a full queue waits, in seconds.
func queueing(i link.Impairment) float64 {
	if i.QueueBytes == 0 {
		return 0.1
	}
	return float64(i.QueueBytes) * 8 / float64(i.Rate)
}

// iperf runs iperf3 in a lab. Its errors are the test's.
type iperf struct {
	t    *testing.T
	l    *lab.Lab
	name string
	link link.Profile
}

// way is a direction between the camera, where the client is, and the viewer.
type way struct {
	name     string
	receiver string
	args     []string
	link     link.Impairment
}

func (i *iperf) ways() []way {
	return []way{{"up", "viewer", nil, i.link.Up}, {"down", "camera", []string{"-R"}, i.link.Down}}
}

func (i *iperf) errorf(format string, args ...any) {
	i.t.Errorf("%s, %s", i.name, fmt.Sprintf(format, args...))
}

// received is what iperf3 says that came in.
type received struct {
	Bytes   int64   `json:"bytes"`
	Rate    float64 `json:"bits_per_second"`
	Packets int64   `json:"packets"`
	Lost    int64   `json:"lost_packets"`
}

// losses are the packets that the lab dropped during a run, and the datagrams that a full socket did.
type losses struct{ dropped, unread int64 }

// run has both programs run once, and end, since the lab forgets their connections then.
func (i *iperf) run(w way, args ...string) (received, losses) {
	if err := i.l.Reset(1); err != nil {
		i.errorf("%v", err)
	}
	before := unread(i.l.Host(w.receiver))
	ctx, cancel := context.WithTimeout(i.t.Context(), patience)
	defer cancel()
	server := exec.CommandContext(ctx, "iperf3", "-s", "-1", "--forceflush")
	out, err := server.StdoutPipe()
	if err != nil {
		i.errorf("%v", err)
		return received{}, losses{}
	}
	if err := i.l.Host("viewer").Start(server); err != nil {
		i.errorf("%v", err)
		return received{}, losses{}
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "listening") {
	}
	address := i.l.Host("viewer").Addr().String()
	said := output(i.l.Host("camera"), "iperf3", append(append([]string{"-J", "-c", address}, w.args...), args...)...)
	for lines.Scan() {
	}
	if err := server.Wait(); err != nil {
		i.errorf("%s: iperf3's server: %v", w.name, err)
	}
	var result struct {
		End struct {
			Sum      received `json:"sum"`
			Received received `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(said), &result); err != nil || result.End.Received.Bytes == 0 {
		i.errorf("%s: iperf3 %v says\n%s", w.name, args, said)
	}
	got := result.End.Received
	got.Packets, got.Lost = result.End.Sum.Packets, result.End.Sum.Lost
	return got, losses{i.dropped(), unread(i.l.Host(w.receiver)) - before}
}

// dropped counts what the fabric dropped.
func (i *iperf) dropped() (n int64) {
	s, err := i.l.Stats()
	if err != nil {
		i.errorf("%v", err)
	}
	for _, u := range s.Uplinks {
		n += int64(u.Drops.Total() + u.DeviceDrops)
	}
	for _, r := range s.Routers {
		n += int64(r.Drops.Total())
	}
	for _, s := range s.Stations {
		n += int64(s.Drops.Total() + s.DeviceDrops)
	}
	return n
}

// unread counts the datagrams that came to a host while the socket's buffer was full.
func unread(m *lab.Machine) (n int64) {
	_ = m.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		var names []string
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			switch {
			case fields[0] != "Udp:":
			case names == nil:
				names = fields
			default:
				for k, name := range names {
					if name == "RcvbufErrors" {
						n, err = strconv.ParseInt(fields[k], 10, 64)
					}
				}
			}
		}
		return err
	})
	return n
}
