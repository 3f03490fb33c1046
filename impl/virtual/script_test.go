package virtual_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// TestScripts plays testdata/*.txt and compares what is on the wire and what the viewer says, with times.
//
//	world [camera=NAT] [viewer=NAT] [lan] [seed=N] [norelay]   a fresh world: camera registered, viewer logged in
//	connect STRATEGY
//	block direct|relay|none                                    drops what goes this way from now on
//	disconnect
//	rebind camera|viewer                                       the NAT forgets everything
//	run DURATION                                               → packets as they are delivered or lost, and events
//	wait DURATION                                              → events only, and no frames
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var s script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.do(t, d) })
	})
}

type script struct {
	w     *world
	start time.Time
	out   []string
	times int // how often the last line came in a row
	brief bool
}

func (s *script) do(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "world":
		return s.world(t, d)
	case "connect":
		s.start = s.w.net.Now
		s.w.connect(d.CmdArgs[0].Key)
	case "disconnect":
		s.w.viewerHost.Do(func(now time.Time) { s.w.viewer.Disconnect(now, s.w.label.UID()) })
	case "rebind":
		map[string]*virtual.Site{"camera": s.w.cameraSite, "viewer": s.w.viewerSite}[d.CmdArgs[0].Key].Rebind()
	case "block":
		s.block(d.CmdArgs[0].Key)
	case "run", "wait":
		s.brief = d.Cmd == "wait"
		for _, h := range []*virtual.Host{s.w.serverHost, s.w.cameraHost, s.w.viewerHost} {
			h.OnEvent = func(e virtual.Event) { s.event(h, e.E) }
		}
		by, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		s.w.net.Run(by, nil)
		out := strings.Join(s.out, "\n")
		s.out, s.times = nil, 0
		return out + "\n"
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return ""
}

func (s *script) world(t *testing.T, d *datadriven.TestData) string {
	cfg := worldConfig{seed: 1, cameraDelay: 10 * time.Millisecond, viewerDelay: 20 * time.Millisecond, sameLAN: d.HasArg("lan")}
	for _, arg := range d.CmdArgs {
		for _, n := range nats()[1:] {
			if len(arg.Vals) == 1 && arg.Vals[0] == natName(n) {
				switch arg.Key {
				case "camera":
					cfg.cameraNAT = n
				case "viewer":
					cfg.viewerNAT = n
				}
			}
		}
	}
	if d.HasArg("norelay") {
		cfg.rendezvous = func(c *rendezvous.Config) { c.NoRelay = true }
	}
	s.w = newWorld(t, cfg)
	s.w.net.Trace = s.packet
	s.start = s.w.net.Now
	return fmt.Sprintf("rtt to the rendezvous: camera %v, viewer %v\n", s.w.camera.Stats().RTT, s.w.viewer.Stats().RTT)
}

func (s *script) block(what string) {
	s.w.net.Filter = nil
	switch what {
	case "direct":
		s.w.net.Filter = func(from *virtual.Host, p core.Packet) bool { return !betweenPeers(from, p) }
	case "relay":
		s.w.net.Filter = func(from *virtual.Host, p core.Packet) bool { return wire.Classify(p.B) != wire.ChannelData }
	}
}

func (s *script) packet(at time.Time, from, to netip.AddrPort, b []byte, fate string) {
	if s.brief {
		return
	}
	kind := wire.Classify(b).String()
	if _, inner, err := wire.ParseChannelData(b); err == nil {
		kind = "relayed " + wire.Classify(inner).String()
	}
	if fate == "delivered" {
		fate = ""
	} else {
		fate = ": " + fate
	}
	s.line(fmt.Sprintf("%8s  %s → %s  %s%s", at.Sub(s.start), s.name(from), s.name(to), kind, fate))
}

func (s *script) event(h *virtual.Host, e any) {
	text := strings.TrimPrefix(fmt.Sprintf("%T", e), "*")
	switch e := e.(type) {
	case viewer.FrameReceived:
		if s.brief {
			return
		}
		text = fmt.Sprintf("%s %s", text, e.Path.Route)
	case viewer.Connected:
		text += " " + e.Path.Route.String()
	case viewer.FirstPacket:
		text += " " + e.Path.Route.String()
	case viewer.PathConfirmed:
		text += " " + e.Path.Route.String()
	case viewer.PathChanged:
		text += " " + e.From.Route.String() + " → " + e.To.Route.String()
	case viewer.Failed:
		text += " " + e.Code.String() + ": " + e.Cause
	case viewer.DirectFailed:
		text += ": " + e.Cause
	}
	s.line(fmt.Sprintf("%8s  * %s", s.w.net.Now.Sub(s.start), text))
}

// line adds a line, or counts one that is the same as the last.
func (s *script) line(l string) {
	if n := len(s.out); n > 0 {
		last := strings.TrimSuffix(s.out[n-1], fmt.Sprintf(" ×%d", s.times))
		if last == l {
			s.times++
			s.out[n-1] = fmt.Sprintf("%s ×%d", l, s.times)
			return
		}
	}
	s.out, s.times = append(s.out, l), 1
}

func (s *script) name(a netip.AddrPort) string {
	switch a.Addr() {
	case serverAddr.Addr(), serverAlt.Addr():
		return "R"
	case cameraWAN:
		return fmt.Sprintf("C:%d", a.Port())
	case viewerWAN:
		return fmt.Sprintf("V:%d", a.Port())
	}
	return a.String()
}
