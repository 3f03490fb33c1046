package cases

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// What may be sent to an endpoint that has not shown that it receives: three times what came from it (RFC 9000 §9.3, §8.1), and as much
// as a check of it takes: a datagram that is padded, or a few that are not.
const (
	trustTimes = 3
	trustCheck = 1200 // bytes of UDP payload
)

// delayed is how much later than its copies by a third party what the viewer sends comes.
const delayed = 200 * time.Millisecond

// impersonate has a third party send copies of what the viewer sends to the camera, before the viewer's own get there: whoever is on the
// path can do that, or have it done from any address (RFC 9000 §9.3.1).
func (m *moving) impersonate(ctx context.Context) error {
	third := m.set.Host(thirdParty)
	c, err := third.ListenUDP(netip.AddrPort{})
	if err != nil {
		return fmt.Errorf("open a socket on %s: %w", thirdParty, err)
	}
	defer c.Close()
	camera := externalOf(m.set, "camera")
	copies, ended := 0, make(chan struct{})
	queue := make(chan attack.Shot, 256)
	go func() {
		defer close(ended)
		for shot := range queue {
			if _, err := c.WriteToUDPAddrPort(shot.B, shot.To); err == nil {
				copies++
			}
		}
	}()
	rule := func(p attack.Seen) attack.Act {
		to, b, ok := datagramTo(p)
		if !ok || p.Direction != attack.Up || !slices.Contains(camera, to.Addr()) {
			return attack.Act{}
		}
		select {
		case queue <- attack.Shot{To: to, B: bytes.Clone(b)}:
		default: // it is only so fast
		}
		return attack.Act{Delay: delayed}
	}
	_, err = onPath(ctx, m.Stage, m.set, "viewer", rule, func() error { return m.Pause(ctx, m.For(15*time.Second, 2*time.Second)) })
	close(queue)
	<-ended
	m.Note("a third party, %v, sent %d copies of what the viewer sent to the camera, %v before the viewer's own", third.Addr(), copies, delayed)
	m.Saw("copies", copies)
	return err
}

// datagramTo is a packet's UDP payload and where it goes.
func datagramTo(p attack.Seen) (to netip.AddrPort, payload []byte, ok bool) {
	payload, ok = p.UDP()
	if !ok {
		return to, nil, false
	}
	ip, err := packet.ParseIPv4(p.Packet)
	if err != nil {
		return to, nil, false
	}
	u, err := packet.ParseUDP(ip.Payload())
	if err != nil {
		return to, nil, false
	}
	return netip.AddrPortFrom(ip.Dst(), u.DstPort()), payload, true
}

// trust is what has passed between the camera and an endpoint that is no server.
type trust struct {
	sent, came int64     // bytes of UDP payload, as long as it is not validated
	asked      time.Time // the camera's first datagram to it
	server     time.Time // a server's
	validated  bool      // it answered the camera, or a server, which may have told the camera
}

// judgeTrust holds what the camera sent in mid-stream to what its receivers had shown. An endpoint has shown that it receives if something
// came from it to the camera, or to a server, a round trip after that had first sent to it. The third party never has: it only sends.
func (m *moving) judgeTrust() (r certify.Result, bad bool) {
	topology := m.set.Lab().Topology()
	trip := 2 * topology.Path("camera", "viewer").Delay * 8 / 10 // but for jitter
	atServer := 2 * topology.Path("rendezvous", "viewer").Delay * 8 / 10
	routes := m.set.Routes()
	third := m.set.Host(thirdParty).Addrs
	servers := []string{"rendezvous", m.set.Relay()}
	ends := map[netip.AddrPort]*trust{}
	var worst netip.AddrPort
	for _, p := range m.set.Tape().Packets(0, tape.UDP, tape.Full, tape.At(append(servers, "camera")...)) {
		e := p.Remote()
		if route := routes.Of(&p); p.Host == "camera" && route != tape.Direct && route != tape.Hairpin {
			continue
		}
		t := ends[e]
		if t == nil {
			t = &trust{}
			ends[e] = t
		}
		if t.see(&p, trip, atServer, slices.Contains(third, e.Addr())); p.Host == "camera" && p.Out && p.At.After(m.began) && !t.validated {
			if t.sent > max(trustCheck, trustTimes*t.came) && (!worst.IsValid() || t.sent > ends[worst].sent) {
				worst = e
			}
		}
	}
	for _, e := range slices.SortedFunc(maps.Keys(ends), netip.AddrPort.Compare) {
		if t := ends[e]; t.sent > 0 && (t.came > 0 || !t.validated) {
			m.Record(map[string]any{"endpoint": e.String(), "sent before it was validated": t.sent, "came from it before": t.came, "validated": t.validated})
		}
	}
	if !worst.IsValid() {
		return r, false
	}
	whose := "an endpoint of the viewer's router"
	if slices.Contains(third, worst.Addr()) {
		whose = "a third party from whose address copies of the viewer's datagrams came"
	}
	t := ends[worst]
	return m.Fail("the camera sent %d bytes to %v, %s, before it had been validated: %d bytes had come from there, and %d may be sent by that",
		t.sent, worst, whose, t.came, max(trustCheck, trustTimes*t.came)), true
}

// see takes the next packet between the camera, or a server, and the endpoint.
func (t *trust) see(p *tape.Packet, trip, atServer time.Duration, never bool) {
	switch {
	case t.validated:
	case p.Host == "camera" && p.Out:
		t.sent += int64(len(p.Payload))
		if t.asked.IsZero() {
			t.asked = p.At
		}
	case p.Host == "camera":
		t.came += int64(len(p.Payload))
		t.validated = !never && !t.asked.IsZero() && p.At.Sub(t.asked) >= trip
	case p.Out:
		if t.server.IsZero() {
			t.server = p.At
		}
	default:
		t.validated = !never && !t.server.IsZero() && p.At.Sub(t.server) >= atServer
	}
}
