package cases

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/nat"
)

// NAT-1 tries every pair, and the oracle has a direct path for 57 of them.
func TestPairs(t *testing.T) {
	direct, dependent, silent := 0, 0, 0
	seen := map[natPair]bool{}
	for _, p := range pairs(false) {
		camera, ok := nat.Lookup(p.camera)
		viewer, ok2 := nat.Lookup(p.viewer)
		if !ok || !ok2 || seen[p] {
			t.Fatalf("%s: no such NATs, or twice", p)
		}
		seen[p] = true
		if nat.Oracle([]nat.Behavior{camera}, []nat.Behavior{viewer}) == nat.Direct {
			direct++
			switch {
			case p.dependent():
				dependent++
			case nat.Estimate([]nat.Behavior{camera}, []nat.Behavior{viewer}, 0).Silent != 0:
				silent++
			}
		}
	}
	if len(seen) != 81 || direct != 57 || dependent != 20 || silent != 4 {
		t.Errorf("%d pairs, %d of them direct, %d of these with two endpoint-dependent mappings, in %d one must be silent", len(seen), direct, dependent, silent)
	}
	for _, p := range pairs(true) {
		if !seen[p] {
			t.Errorf("the brief pair %s is none of the full ones", p)
		}
	}
}

// NAT-3's topologies are what their names say: routers between the hosts and the internet, and which of them are shared.
func TestBehindCarriers(t *testing.T) {
	for _, tt := range []struct {
		behind
		camera, viewer, sites int
	}{
		{behind{"camera", "carrier", ""}, 2, 1, 3},
		{behind{"viewer", "", "carrier"}, 1, 2, 3},
		{behind{"both", "carrier", "carrier-2"}, 2, 2, 4},
		{behind{"same", "carrier", "carrier"}, 2, 2, 3},
	} {
		topology, err := tt.topology()
		if err != nil {
			t.Fatal(err)
		}
		if c, v := len(topology.NATs("camera")), len(topology.NATs("viewer")); c != tt.camera || v != tt.viewer || len(topology.Sites) != tt.sites {
			t.Errorf("%s: %d routers before the camera, %d before the viewer, %d in all", tt.name, c, v, len(topology.Sites))
		}
		if p := topology.Oracle("camera", "viewer"); p != nat.Direct {
			t.Errorf("%s: the oracle says %s", tt.name, p)
		}
	}
}

// The standstill of a change is measured by frames: from the change on, to the end of its watch, whoever came or did not.
func TestGapOf(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	c := move{from: at(1000), done: at(1010), to: at(3000)}
	frames := func(numbered ...int) (fs []stage.Frame) { // n, ms, n, ms, …
		for i := 0; i < len(numbered); i += 2 {
			fs = append(fs, stage.Frame{N: numbered[i], T: at(numbered[i+1])})
		}
		return fs
	}
	for _, tt := range []struct {
		name    string
		frames  []stage.Frame
		longest time.Duration
		anew    bool
		after   int
	}{
		{"none", nil, 2 * time.Second, false, 0},
		{"before and after alone", frames(1, 900, 2, 3100), 2 * time.Second, false, 0},
		{"what was on its way does not count as after", frames(100, 990, 101, 1100), 1900 * time.Millisecond, false, 0},
		{"a standstill of a second", frames(100, 990, 101, 2010, 102, 2990), 1010 * time.Millisecond, false, 2},
		{"the end counts", frames(100, 990, 101, 1400), 1600 * time.Millisecond, false, 1},
		{"the camera was asked anew", frames(100, 990, 1, 1500, 2, 2500), time.Second, true, 2},
		{"pictures in another order are no new beginning", frames(100, 990, 99, 1500, 98, 2500), time.Second, false, 2},
	} {
		longest, anew, after := gapOf(tt.frames, c)
		if longest != tt.longest || anew != tt.anew || after != tt.after {
			t.Errorf("%s: %v, %v, %d; want %v, %v, %d", tt.name, longest, anew, after, tt.longest, tt.anew, tt.after)
		}
	}
}

// An endpoint is validated by what comes from it a round trip after it was sent something, by the camera or a server, and by nothing else.
func TestTrust(t *testing.T) {
	const trip, atServer = 40 * time.Millisecond, 20 * time.Millisecond
	start := time.Unix(1000, 0)
	packet := func(host string, out bool, ms, size int) *tape.Packet {
		return &tape.Packet{Host: host, Out: out, At: start.Add(time.Duration(ms) * time.Millisecond), Payload: make([]byte, size),
			Src: netip.MustParseAddrPort("192.0.2.1:1"), Dst: netip.MustParseAddrPort("192.0.2.2:2")}
	}
	in, out := packet("camera", false, 0, 100), packet("camera", true, 10, 200)
	for _, tt := range []struct {
		name      string
		packets   []*tape.Packet
		never     bool
		validated bool
		sent      int64
		came      int64
	}{
		{"it has only sent", []*tape.Packet{in, in, in}, false, false, 0, 300},
		{"it was only sent to", []*tape.Packet{out, out}, false, false, 400, 0},
		{"it sent before it could answer", []*tape.Packet{in, out, packet("camera", false, 40, 50)}, false, false, 200, 150},
		{"it answered", []*tape.Packet{in, out, packet("camera", false, 50, 50), packet("camera", true, 60, 9999)}, false, true, 200, 150},
		{"it answered a server", []*tape.Packet{packet("rendezvous", true, 0, 9), packet("rendezvous", false, 20, 9), out}, false, true, 0, 0},
		{"it sent to a server before it could answer", []*tape.Packet{packet("rendezvous", true, 0, 9), packet("rendezvous", false, 10, 9), out}, false,
			false, 200, 0},
		{"a third party's copies answer nothing", []*tape.Packet{in, out, packet("camera", false, 50, 50)}, true, false, 200, 150},
	} {
		var e trust
		for _, p := range tt.packets {
			e.see(p, trip, atServer, tt.never)
		}
		if e.validated != tt.validated || e.sent != tt.sent || e.came != tt.came {
			t.Errorf("%s: validated %v, %d bytes sent before, %d came", tt.name, e.validated, e.sent, e.came)
		}
	}
}

// A flow that goes on from elsewhere is a change; a question from a port of its own, and another receiver's flow, are none.
func TestRebound(t *testing.T) {
	packet := func(to, from string) tape.Packet {
		return tape.Packet{Host: "camera", Protocol: 17, Dst: netip.MustParseAddrPort(to), Src: netip.MustParseAddrPort(from)}
	}
	media, stun := "192.168.1.2:4477", "192.168.1.2:3478"
	before := flowsOf([]tape.Packet{
		packet(stun, "203.0.113.1:7"), packet(stun, "203.0.113.1:8"), packet(media, "203.0.113.1:9"),
		packet(media, "203.0.113.1:1"), packet(media, "203.0.113.1:1"), packet(media, "203.0.113.1:1"),
	})
	for _, tt := range []struct {
		name          string
		after         []tape.Packet
		port, address int
	}{
		{"it goes on as it was", []tape.Packet{packet(media, "203.0.113.1:1")}, 0, 0},
		{"another port", []tape.Packet{packet(media, "203.0.113.1:1"), packet(media, "203.0.113.1:2"), packet(media, "203.0.113.1:2")}, 1, 0},
		{"another address", []tape.Packet{packet(media, "203.0.113.2:1")}, 1, 1},
		{"a question", []tape.Packet{packet(stun, "203.0.113.2:9")}, 0, 0},
	} {
		if port, address := rebound(before, tt.after, false), rebound(before, tt.after, true); port != tt.port || address != tt.address {
			t.Errorf("%s: %d changes of the port, %d of the address", tt.name, port, address)
		}
	}
}
