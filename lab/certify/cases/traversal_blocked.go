package cases

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// Within these times of the request media has to flow where there is nothing but TCP 443: the one strictly, the other non-strictly.
const (
	blockedWithin = 10 * time.Second
	blockedAtMost = 30 * time.Second
)

// webAlone is NAT-6: networks let nothing out but TCP 443: the viewer's, the camera's, both.
func webAlone(ctx context.Context, s *stage.Stage) certify.Result {
	const open, closed = "port-restricted-cone", "tcp443-only"
	slowest := time.Duration(0)
	for _, nets := range [][2]string{{open, closed}, {closed, open}, {closed, closed}} {
		x, err := s.Set(ctx, "two-homes", "camera.nat", nets[0], "viewer.nat", nets[1])
		if err != nil {
			return s.Judge(err)
		}
		var where []string
		for i, host := range []string{"camera", "viewer"} {
			if nets[i] != closed {
				continue
			}
			if err := provedClosed(ctx, s, x, host); err != nil {
				return s.Judge(err)
			}
			where = append(where, host)
		}
		took, verdict, ok := throughTheWeb(ctx, s, x, fmt.Sprintf("%v's network lets nothing out but TCP 443", where))
		if !ok {
			return verdict
		}
		slowest = max(slowest, took)
	}
	if slowest > blockedWithin {
		return s.PassNonstrict("the slowest first frame came %s after the request, later than %v", ms(slowest), blockedWithin)
	}
	return s.Pass()
}

// throughTheWeb has a viewer connect, twice, and returns how long the slower took.
func throughTheWeb(ctx context.Context, s *stage.Stage, x *stage.Set, where string) (slower time.Duration, r certify.Result, ok bool) {
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return 0, s.Judge(err), false
	}
	for range s.N(2, 1) {
		within := s.For(blockedAtMost, blockedWithin)
		g, err := connect(ctx, s, x, camera, ask{within: within, watch: s.For(10*time.Second, 2*time.Second)})
		if err != nil {
			return 0, s.Judge(err), false
		}
		s.Note("%s: first frame after %s, media went %s %s", where, ms(g.took), g.route, g.why)
		if g.why != "" {
			return 0, s.Fail("%s: no media flowed in time: %s", where, g.why), false
		}
		if err := g.view.WaitFrames(ctx, 16); err != nil {
			return 0, s.Judge(err), false
		}
		s.Saw("frames", 15)
		slower = max(slower, g.took)
		if err := g.view.Stop(); err != nil {
			return 0, s.Judge(err), false
		}
	}
	return slower, r, true
}

// provedClosed shows that a host's network lets TCP 443 out, and neither UDP nor another port of TCP. The error is the lab's: its network
// is not what it says.
func provedClosed(ctx context.Context, s *stage.Stage, x *stage.Set, host string) error {
	if host == "camera" && s.Way() == stage.Box {
		return nil // there is no host of the lab's on that LAN, and the topology was proved when it came up
	}
	server := x.Servers(host)[0]
	from, m := x.Tape().Mark(), x.Host(host)
	c, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return fmt.Errorf("look whether the network of %s is closed: %w", host, err)
	}
	defer c.Close()
	for _, port := range []uint16{53, 443, 4479, 9999} {
		if _, err := c.WriteToUDPAddrPort([]byte("nothing of this may arrive"), netip.AddrPortFrom(server, port)); err != nil {
			s.Note("UDP from %s to port %d: %v", host, port, err)
		}
	}
	for _, port := range []uint16{80, 443} { // a refusal by whoever is not there is an answer, too
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if c, err := m.DialTCP(short, netip.AddrPort{}, netip.AddrPortFrom(server, port)); err == nil {
			_ = c.Close()
		}
		cancel()
	}
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	came := []tape.Match{tape.CameTo("rendezvous"), tape.By(externalOf(x, host)...)}
	if _, err := x.Tape().Wait(wait, from, 1, append(came, tape.TCP, tape.Port(443))...); err != nil {
		return fmt.Errorf("the network of %s does not let TCP 443 out: %w", host, err)
	}
	if n := x.Tape().Count(from, append(came, tape.Not(tape.Port(443)))...) + x.Tape().Count(from, append(came, tape.UDP)...); n > 0 {
		return fmt.Errorf("the network of %s lets out more than TCP 443: %d packets of it came to the rendezvous", host, n)
	}
	s.Note("the network of %s let TCP 443 out, and neither UDP nor TCP 80", host)
	s.Saw("blocked", 1)
	return nil
}

// externalOf are the addresses that a host appears from.
func externalOf(x *stage.Set, host string) []netip.Addr {
	routes := x.Routes()
	return routes.External(host)
}
