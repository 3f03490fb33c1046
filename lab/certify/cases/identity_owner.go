package cases

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// sessionEnds is how long a session of the old owner's may go on.
const sessionEnds = 30 * time.Second

// ownerLeaves is ID-6: the camera is reset, and given to somebody else.
func ownerLeaves(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	h := &handover{s: s, x: x, camera: camera, owner: 1}
	for _, a := range []certify.Action{certify.ActionReset, certify.ActionTransfer} {
		if r, bad := h.happens(ctx, a); bad {
			return r
		}
	}
	return s.Pass()
}

// handover is a camera and its owner, a viewer's unit. Successive owners live in different homes, so that what comes to one is not taken for
// what comes to the other.
type handover struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	owner  int
}

func home(owner int) string {
	if owner%2 == 1 {
		return "viewer"
	}
	return "rogue"
}

// happens has the owner watch, takes the camera from him, has him try all that he has, and the next owner watch.
func (h *handover) happens(ctx context.Context, a certify.Action) (certify.Result, bool) {
	s, x := h.s, h.x
	old, err := h.camera.Ticket()
	if err != nil {
		return s.Judge(err), true
	}
	mark := x.Tape().Mark()
	open, err := x.View(ctx, stage.Viewing{Camera: h.camera, Host: home(h.owner), Unit: h.owner})
	if err != nil {
		return s.Judge(err), true
	}
	short, cancel := context.WithTimeout(ctx, visitWithin)
	err = open.WaitFrames(short, 5)
	cancel()
	if err != nil {
		return s.Judge(fmt.Errorf("owner %d watches before the %s: %w", h.owner, a, err)), true
	}
	s.Saw("before", 1)
	began := time.Now()
	if err := h.camera.Action(ctx, a); err != nil {
		return s.Judge(err), true
	}
	done := time.Now()
	s.Note("%s took %v", a, done.Sub(began).Round(time.Millisecond))
	if r, bad := h.ends(ctx, open, a, done); bad {
		return r, true
	}
	said := spoken(x, open.Host(), h.camera, mark)
	if err := open.Stop(); err != nil {
		return s.Judge(err), true
	}
	if r, bad := h.returns(ctx, a, old, said); bad {
		return r, true
	}
	next, err := h.camera.Ticket()
	if err != nil {
		return s.Judge(err), true
	}
	h.owner++
	v, err := visit{Camera: h.camera, Ticket: next, Host: home(h.owner), Unit: h.owner}.make(ctx, x)
	if err != nil {
		return s.Judge(err), true
	}
	s.Note("owner %d asks after the %s: reached %v, code %d, %v", h.owner, a, v.Reached, v.Code, v.Took.Round(time.Millisecond))
	if !v.Reached {
		return s.Fail("after the %s the next owner is not served: the viewer ended with code %d after %v", a, v.Code, v.Took.Round(time.Millisecond)), true
	}
	s.Saw("after", 1)
	// Once the camera is somebody else's, the one before asks once more.
	return h.again(ctx, a, old, "once the next owner has it", s.N(4, 1))
}

// ends watches the session that was open: within the time that it has no frame comes any more, and no media packet goes to it.
func (h *handover) ends(ctx context.Context, open *stage.View, a certify.Action, done time.Time) (certify.Result, bool) {
	s := h.s
	limit := done.Add(sessionEnds)
	quiet := s.For(5*time.Second, 1500*time.Millisecond)
	last := done
	for time.Since(last) < quiet {
		if err := s.Pause(ctx, 50*time.Millisecond); err != nil {
			return s.Judge(err), true
		}
		if ps := crowded(tape.Streamed(h.x.Tape().Packets(open.Mark(), tape.CameTo(open.Host())))); len(ps) > 0 && ps[len(ps)-1].At.After(last) {
			last = ps[len(ps)-1].At
		}
		for _, f := range slices.Backward(open.Frames()) {
			if f.T.After(last) {
				last = f.T
			}
			break
		}
		if last.After(limit) {
			return s.Fail("the old owner's open session still had media %v after the %s; %v are allowed", last.Sub(done).Round(time.Millisecond), a, sessionEnds), true
		}
	}
	s.Note("the old owner's session had its last media %v after the %s, and none for %v since", last.Sub(done).Round(time.Millisecond), a, quiet)
	s.Record(map[string]any{"action": a, "last media of the open session, seconds after": last.Sub(done).Seconds()})
	return certify.Result{}, false
}

// crowded are packets up to the last that ends leastMedia of them within a second: a few large ones alone are a handshake, such as that of
// TLS with the server.
func crowded(ps []tape.Packet) []tape.Packet {
	for i := len(ps) - 1; i >= leastMedia-1; i-- {
		if ps[i].At.Sub(ps[i-leastMedia+1].At) < time.Second {
			return ps[:i+1]
		}
	}
	return nil
}

// returns has the old owner try what he has: his viewer with its pairing, a new one with the old ticket, and the words of the session
// that was open.
func (h *handover) returns(ctx context.Context, a certify.Action, old []byte, said []spoke) (certify.Result, bool) {
	if r, bad := h.again(ctx, a, old, "at once", h.s.N(4, 1)); bad {
		return r, true
	}
	stranger := h.owner + 10
	for range h.s.N(3, 1) {
		if r, bad := h.refused(ctx, a, old, stranger, home(h.owner), "with a new viewer and the old ticket"); bad {
			return r, true
		}
		stranger++
	}
	mark := h.x.Tape().Mark()
	if err := repeat(ctx, h.s, h.x, home(h.owner), said); err != nil {
		return h.s.Judge(err), true
	}
	if err := h.s.Pause(ctx, h.s.For(3*time.Second, 500*time.Millisecond)); err != nil {
		return h.s.Judge(err), true
	}
	n := len(crowded(tape.Streamed(h.x.Tape().Packets(mark, tape.CameTo(home(h.owner))))))
	h.s.Saw("tries", 1)
	h.s.Try(n > 0)
	h.s.Note("%d datagrams of the session that was open were sent again from its ports: %d media packets came", len(said), n)
	if n > 0 {
		return h.s.Fail("after the %s %d media packets came to the old owner, who sent %d datagrams of his old session again", a, n, len(said)), true
	}
	return certify.Result{}, false
}

// again has the old owner's viewer ask, with all that it has kept.
func (h *handover) again(ctx context.Context, a certify.Action, old []byte, when string, n int) (certify.Result, bool) {
	unit := h.owner
	if when != "at once" {
		unit--
	}
	for range n {
		if r, bad := h.refused(ctx, a, old, unit, home(unit), "with the viewer that he had, "+when); bad {
			return r, true
		}
	}
	return certify.Result{}, false
}

func (h *handover) refused(ctx context.Context, a certify.Action, ticket []byte, unit int, host, how string) (certify.Result, bool) {
	v, err := visit{Ticket: ticket, Host: host, Unit: unit, Within: h.s.For(visitWithin, 10*time.Second)}.make(ctx, h.x)
	if err != nil {
		return h.s.Judge(err), true
	}
	media := len(crowded(tape.Streamed(h.x.Tape().Packets(v.Mark, tape.CameTo(host)))))
	h.s.Saw("tries", 1)
	h.s.Try(v.Frames > 0 || media > 0)
	h.s.Note("the old owner asks after the %s %s: %d frames, %d media packets, code %d, %v", a, how, v.Frames, media, v.Code, v.Took.Round(time.Millisecond))
	h.s.Record(map[string]any{"action": a, "how": how, "frames": v.Frames, "media packets": media, "code": v.Code, "seconds": v.Took.Seconds()})
	if v.Frames > 0 || media > 0 {
		return h.s.Fail("after the %s the old owner, %s, still got %d frames in %d media packets", a, how, v.Frames, media), true
	}
	return certify.Result{}, false
}

// spoke is a datagram of a viewer's to a camera, or to its servers.
type spoke struct {
	from, to netip.AddrPort
	b        []byte
}

// spoken are a viewer's datagrams to all but names' servers since a position of the tape.
func spoken(x *stage.Set, host string, camera *stage.Camera, from int) (said []spoke) {
	const most = 300
	for _, p := range x.Tape().Packets(from, tape.From(host), tape.UDP, tape.Full) {
		if p.Dst.Addr().IsMulticast() || p.Fragment || p.Dst.Port() == 53 || len(said) == most {
			continue
		}
		said = append(said, spoke{p.Src, p.Dst, p.Payload})
	}
	return said
}

// repeat sends datagrams again from a host, from the ports that they had.
func repeat(ctx context.Context, s *stage.Stage, x *stage.Set, host string, said []spoke) error {
	m := x.Host(host)
	var skipped []string
	for len(said) > 0 {
		from := said[0].from
		c, err := m.ListenUDP(from)
		if err != nil {
			skipped = append(skipped, from.String())
		}
		rest := said[:0:0]
		for _, d := range said {
			switch {
			case d.from != from:
				rest = append(rest, d)
			case err == nil:
				_, _ = c.WriteToUDPAddrPort(d.b, d.to)
				if err := s.Pause(ctx, between); err != nil {
					return err
				}
			}
		}
		if err == nil {
			_ = c.Close()
		}
		said = rest
	}
	if len(skipped) > 0 {
		s.Note("not sent again, as the ports are in use: %s", strings.Join(skipped, ", "))
	}
	return nil
}
