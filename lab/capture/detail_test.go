package capture

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
	"github.com/punchlab/punchlab/lab/record"
)

// TestInboundRefreshIsInferred: only its effect tells a filter that is shut from a mapping that has ended.
func TestInboundRefreshIsInferred(t *testing.T) {
	b := preset(t, "port-restricted-cone")
	b.UDPTimeout, b.InboundRefresh = 30*time.Second, true
	c := playConfig{viewer: b, camera: b}
	p := newPlay(t, c)
	mapped := netip.AddrPortFrom(cameraWAN, cameraEnd.Port())
	p.at(0, func() { p.send("camera", rendezvousEnd, []byte("open")) })
	for i := range 2 {
		p.at(time.Duration(i+1)*25*time.Second, func() { p.send("rendezvous", mapped, []byte("refresh")) })
	}
	p.at(75*time.Second, func() { p.sendFrom("rendezvous", 1, mapped, []byte("filtered")) })
	p.at(76*time.Second, func() { p.send("viewer", rendezvousEnd, []byte("the last packet")) })
	p.run(80 * time.Second)
	exact, inferred := fates(t, p.trace(), roles(c)), fates(t, asKernel(p.trace()), roles(c))
	if d := gocmp.Diff(exact, inferred); d != "" {
		t.Error(d)
	}
	if !slices.ContainsFunc(exact, func(s string) bool { return strings.Contains(s, "dropped: filtered at router shed") }) {
		t.Errorf("nothing was filtered: %q", exact)
	}
}

// TestLatenessIsAdded: a host got a packet as much later as its comment says.
func TestLatenessIsAdded(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "full-cone")}
	p := newPlay(t, c)
	p.at(0, func() { p.send("viewer", rendezvousEnd, []byte("x")) })
	p.run(time.Second)
	tr := p.trace()
	last := &tr.Packets[len(tr.Packets)-1]
	last.Comment.Late = 5 * ms1
	journeys, err := tr.Follow(roles(c))
	check(t, err)
	if at, ok := journeys[0].Delivered(); !ok || at != last.T+5*ms1 {
		t.Errorf("delivered at %v, %v; want %v", at, ok, last.T+5*ms1)
	}
}

// TestStrays: packets to nobody end in the core, on the side away from their sender; errors from the core begin there.
func TestStrays(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "full-cone")}
	p := newPlay(t, c)
	p.at(0, func() { p.send("viewer", ap("9.9.9.9:9"), []byte("x")) })
	p.at(ms1, func() { p.send("camera", ap("9.9.9.9:9"), []byte("x")) })
	p.at(2*ms1, func() {
		k := p.f.Get()
		b := packet.AppendUDP(nil, rendezvousEnd, netip.AddrPortFrom(viewerWAN, 1), []byte("x"))
		b[8] = 1
		packet.IPv4(b).SetSrc(rendezvousEnd.Addr()) // the header's checksum follows
		b[10], b[11] = 0, 0
		sum := packet.Checksum(b[:20])
		b[10], b[11] = byte(sum>>8), byte(sum)
		k.Set(b)
		p.senders["uplink rendezvous"].Send(p.now, k)
	})
	p.run(time.Second)
	l, err := p.trace().Timeline(View{Roles: roles(c)})
	check(t, err)
	var got []string
	for _, r := range l.Rows {
		got = append(got, fmt.Sprintf("%s %v %s", r.Label, r.Way, r.Drop))
	}
	want := []string{"UDP [0 1 1.625] no route", "UDP [4 3 2.375] no route", "UDP [2 1.375] ttl expired", "time exceeded [1.5 2] "}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestExpiredProbe: the sentence tells for how long the mapping had not been used.
func TestExpiredProbe(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "full-cone")}
	p := newPlay(t, c)
	p.at(requested, func() { p.send("camera", netip.AddrPortFrom(viewerWAN, viewerEnd.Port()), punchOf(1)) })
	p.at(200*time.Second, func() { p.send("viewer", netip.AddrPortFrom(cameraWAN, cameraEnd.Port()), punchOf(1)) })
	p.run(201 * time.Second)
	l, err := p.trace().Timeline(View{Roles: roles(c), Requested: requested})
	check(t, err)
	got := l.Explain(record.Trial{Outcome: record.Failed})
	want := "the viewer's probe reached the camera's router 199.0 s after 198.51.100.1:5001 was last used; dropped: expired; and " +
		"the camera's probe reached the viewer's router 199000.0 ms before the viewer had opened it; dropped: no mapping"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestLeaks(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "open")} // routed without translation, from private addresses
	p := newPlay(t, c)
	p.at(0, func() { p.send("camera", rendezvousEnd, []byte("x")) })
	p.at(ms1, func() { p.send("camera", rendezvousEnd, []byte("x")) })
	p.run(time.Second)
	tr := p.trace()
	l, err := tr.Timeline(View{Roles: roles(c)})
	check(t, err)
	want := []string{
		"private address 192.168.2.2 of a packet to 192.0.2.1:4433 is on the core, at uplink shed",
		"private address 192.168.2.2 of a packet to 192.0.2.1:4433 is on the core, at uplink rendezvous",
	}
	if d := gocmp.Diff(want, l.Leaks(record.Trial{Outcome: record.Failed})); d != "" {
		t.Error(d)
	}
	for i := range tr.Packets { // as if the core had carried an answer
		k := &tr.Packets[i]
		k.Src, k.Dst = k.Dst, k.Src
	}
	if l, err = tr.Timeline(View{Roles: roles(c)}); err != nil || len(l.Leaks(record.Trial{Outcome: record.Failed})) != 1 {
		t.Errorf("%v, %v: want the private destination", l.Leaks(record.Trial{Outcome: record.Failed}), err)
	}
}

func TestMediaLeaks(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "full-cone")}
	p := newPlay(t, c)
	p.trial(300)
	l, err := p.trace().Timeline(View{Roles: roles(c)})
	check(t, err)
	for _, k := range []struct {
		trial record.Trial
		want  string
	}{
		{record.Trial{Outcome: record.Direct}, ""},
		{record.Trial{Outcome: record.Direct, Params: map[string]string{"strategy": "direct"}}, "the strategy is direct, but 300 packets of media came through the relay"},
		{record.Trial{Outcome: record.Relayed}, "the record says relayed, but 278400 bytes of media reached the viewer directly"},
		{record.Trial{Outcome: record.Relayed, PathChanges: 1}, ""},
	} {
		if got := strings.Join(l.Leaks(k.trial), "; "); got != k.want {
			t.Errorf("%+v: %q, want %q", k.trial, got, k.want)
		}
	}
}

// TestVerifyRepeatsEvents: a reboot in the middle is part of the replay, and missed where it is left out.
func TestVerifyRepeatsEvents(t *testing.T) {
	c := playConfig{viewer: preset(t, "symmetric"), camera: preset(t, "symmetric"), link: rough, seed: 3}
	reboot := func(p *play) func(time.Duration) {
		return func(now time.Duration) {
			p.routers["shed"].Table().Reset(99)
			p.routers["shed"].Changed(now)
		}
	}
	p := newPlay(t, c)
	at := requested + 100*ms1
	p.at(at, func() { reboot(p)(at) })
	p.trial(30)
	for _, with := range []bool{true, false} {
		v, err := Verify(p.trace(), func() (*Replay, error) {
			q := newPlay(t, c)
			r := &Replay{Fabric: q.f, Net: q.net, Inputs: q.senders}
			if with {
				r.Events = []ReplayEvent{{At: at, Do: reboot(q)}}
			}
			return r, nil
		})
		if check(t, err); with != (v.Mismatch == "") {
			t.Errorf("with the reboot %v: %+v", with, v)
		}
	}
	if _, err := Verify(p.trace(), func() (*Replay, error) { return nil, errors.New("no net") }); err == nil {
		t.Error("no net, and no error")
	}
}

// TestPictures: a drop has its cross and reason, what was not seen to arrive its ring; names are escaped.
func TestPictures(t *testing.T) {
	l := Timeline{Lanes: []Lane{{Node: "a", Name: "a<b", Title: "viewer"}, {Node: "c", Name: "c", Title: "camera"}}, Rows: []Row{
		{Label: "gone", Count: 1, Way: []float64{0, 0.5}, Drop: "lost"},
		{Label: "open", Count: 1, Way: []float64{0, 1}, Open: true},
		{Label: "held", Count: 1, Way: []float64{1}, Open: true},
		{Label: "many", Count: 9, Kind: Media, Way: []float64{1, 0}, Relayed: true, Came: ms1},
		{Label: "an <event>"},
	}}
	d := xml.NewDecoder(strings.NewReader(l.SVG()))
	counts, text := map[string]int{}, ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		switch k := token.(type) {
		case xml.StartElement:
			for _, a := range k.Attr {
				if a.Name.Local == "class" {
					counts[a.Value]++
				}
			}
		case xml.CharData:
			text += string(k) + "\n"
		}
	}
	want := map[string]int{"h": 2, "s": 4, "lane": 2, "t": 6, "a d": 1, "a": 1, "a p": 2, "x": 1, "a m r": 2, "l": 4, "n": 3, "dn": 1, "e": 1, "en": 1}
	if d := gocmp.Diff(want, counts); d != "" {
		t.Error(d)
	}
	for _, s := range []string{"a<b", "✗ lost", "not seen to arrive", "×9 until 1.0", "an <event>"} {
		if !strings.Contains(text, s) {
			t.Errorf("the picture lacks %q: %s", s, text)
		}
	}
	s := l.Text(100)
	for _, want := range []string{"✗", "○│", "○ held", "◄", "· an <event> ·"} {
		if !strings.Contains(s, want) {
			t.Errorf("the text lacks %q:\n%s", want, s)
		}
	}
}

// TestManyMappingsAreCounted: a scan does not fill the page.
func TestManyMappingsAreCounted(t *testing.T) {
	c := playConfig{viewer: nat.Behavior{Mapping: nat.EndpointIndependent, Filtering: nat.EndpointIndependent, PortAssignment: nat.PortPreservation}, camera: preset(t, "full-cone")}
	p := newPlay(t, c)
	for i := range 20 {
		p.at(time.Duration(i)*ms1, func() { p.sendFrom("viewer", uint16(5000+i), rendezvousEnd, []byte("x")) })
	}
	p.run(time.Second)
	l, err := p.trace().Timeline(View{Roles: roles(c)})
	check(t, err)
	s := l.Text(100)
	if n := strings.Count(s, " maps "); n != maxMappings || !strings.Contains(s, "and 8 more mappings") {
		t.Errorf("%d mappings:\n%s", n, s)
	}
}

var _ Sender = (*fabric.Station)(nil)
var _ Sender = (*fabric.Uplink)(nil)

// TestRefusalsAreTold: a host that answers that nobody listens says more than one packet that a router dropped.
func TestRefusalsAreTold(t *testing.T) {
	at := func(node string, drop string) []Step { return []Step{{Node: node, T: 2 * ms1, Drop: drop}} }
	l := &Timeline{
		Lanes: []Lane{{Node: "viewer"}, {Node: "rendezvous"}},
		view:  View{Roles: Roles{Viewer: "viewer", Rendezvous: "rendezvous"}, Events: []Event{{At: ms1, What: "kill rendezvous"}}},
	}
	for range 3 {
		l.Journeys = append(l.Journeys, Journey{Info: Info{Kind: ICMPError, Detail: "port unreachable"}, Steps: at("rendezvous", "")})
	}
	l.Journeys = append(l.Journeys, Journey{Drop: "filtered", Steps: at("viewer", "filtered")}, Journey{Steps: at("viewer", "")})
	const want = "the path went silent; after kill rendezvous at 1.0 ms, the rendezvous answered 3 packets: port unreachable"
	if got := l.Explain(record.Trial{Outcome: record.Failed, Cause: "the path went silent"}); got != want {
		t.Errorf("%s", got)
	}
}

func TestOpeningInUse(t *testing.T) {
	peer, host := netip.MustParseAddrPort("203.0.113.9:7"), netip.MustParseAddrPort("192.168.1.2:7")
	at := func(ms int, to netip.AddrPort) opening { return opening{to: to, t: time.Duration(ms) * ms1} }
	for _, tt := range []struct {
		name   string
		opened []opening
		want   opening
	}{
		{"the newest until then", []opening{at(1, peer), at(4, peer), at(9, peer)}, at(4, peer)},
		{"not one to a private address", []opening{at(1, peer), at(4, host)}, at(1, peer)},
		{"rather one that came later", []opening{at(1, host), at(9, peer)}, at(9, peer)},
		{"or any", []opening{at(9, host)}, at(9, host)},
	} {
		if got := inUse(tt.opened, peer.Addr(), 5*ms1); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestSamplesAreNamed: a sealed message to a socket of the rendezvous at which its sender has no session is a sample.
func TestSamplesAreNamed(t *testing.T) {
	alternate := netip.AddrPortFrom(rendezvousEnd.Addr(), rendezvousEnd.Port()+1)
	journey := func(from string, kind Kind, dst netip.AddrPort) Journey {
		return Journey{Info: Info{Kind: kind, Dst: dst, Protocol: 17}, Steps: []Step{{Node: from}}}
	}
	l := &Timeline{view: View{Roles: roles(playConfig{})}}
	l.Journeys = []Journey{
		journey("viewer", Initiation, rendezvousEnd), journey("viewer", Sealed, rendezvousEnd), journey("viewer", Sealed, alternate),
		journey("camera", Sealed, alternate), // its session may be older than the capture
		journey("viewer", Sealed, netip.AddrPortFrom(cameraWAN, 1)), journey("rendezvous", Sealed, alternate),
	}
	want := []string{"initiation", "sealed", "sample", "sealed", "sealed", "sealed"}
	for i := range l.Journeys {
		if got := l.label(&l.Journeys[i]); got != want[i] {
			t.Errorf("packet %d: %s, want %s", i, got, want[i])
		}
	}
}
