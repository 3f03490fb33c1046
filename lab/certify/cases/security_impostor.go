package cases

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// impostors is SEC-3: viewers are led to who is not the camera, and what they hand him is used against the camera.
func impostors(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	l := &luring{s: s, x: x, camera: camera, draw: rand.New(rand.NewPCG(s.Seed(30), 3))}
	if l.ticket, l.secrets, err = credentials(s, camera); err != nil {
		return s.Judge(err)
	}
	key, err := bundledRendezvous()
	if err != nil {
		return s.Judge(err)
	}
	label, bundled := labelOf(l.ticket)
	l.label, l.bundled = label, bundled && label.RendezvousKey == key.Public()
	r, bad := certify.Result{}, false
	if s.Decl().Has(certify.FeatureRegistration) { // else viewers ask no server for it
		r, bad = l.byFalseServer(ctx)
	}
	if !bad && l.bundled {
		r, bad = l.byLyingServer(ctx, key)
	}
	if !bad {
		r, bad = l.byFalseAddress(ctx)
	}
	if !bad && s.Way() != stage.Box {
		r, bad = l.inTheLAN(ctx)
	}
	return concluded(s, r, bad)
}

// luring leads viewers to impostors.
type luring struct {
	s       *stage.Stage
	x       *stage.Set
	draw    *rand.Rand
	camera  *stage.Camera
	ticket  []byte
	secrets []tape.Secret
	label   ids.Label // of the bundled protocol
	bundled bool
	known   bool // to whom is lured: the owner, who has met the camera; else each viewer is another
	units   int  // of viewers, and attackers

	mu       sync.Mutex
	captured [][]byte
}

// keep adds to what was captured, once.
func (l *luring) keep(bs ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range bs {
		if len(b) > 0 && len(l.captured) < 4096 && !slices.ContainsFunc(l.captured, func(o []byte) bool { return bytes.Equal(o, b) }) {
			l.captured = append(l.captured, bytes.Clone(b))
		}
	}
}

// lure has viewers ask for the camera, each until it has spoken to the impostor; heard says what is his on the tape.
func (l *luring) lure(ctx context.Context, how, host string, n int, heard tape.Match) error {
	lured := 0
	for range n {
		l.units++
		unit := ownerUnit + l.units
		if l.known {
			unit = ownerUnit
		}
		v, err := l.x.View(ctx, stage.Viewing{Ticket: l.ticket, Unit: unit, Host: host, For: time.Minute})
		if err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, 4*time.Second)
		_, err = l.x.Tape().Wait(within, v.Mark(), 1, heard)
		cancel()
		if err == nil {
			lured++
			// What a viewer says as long as it does not get what it wants.
			err = l.s.Pause(ctx, l.s.For(time.Second, 400*time.Millisecond))
		} else if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		if err != nil {
			return err
		}
		v.Kill()
		for _, p := range l.x.Tape().Packets(v.Mark(), heard) {
			l.keep(p.Payload)
		}
	}
	l.s.Saw("lured", lured)
	l.mu.Lock()
	kept := len(l.captured)
	l.mu.Unlock()
	l.s.Note("%s: %d of %d viewers on host %s spoke to the impostor, who has %d different messages by now", how, lured, n, host, kept)
	l.s.Record(map[string]any{"led by": how, "viewers": n, "lured": lured, "messages": kept})
	return nil
}

// readable looks for the ticket's secrets in what was captured.
func (l *luring) readable(how string) (certify.Result, bool) {
	l.mu.Lock()
	var ps []tape.Packet
	for _, b := range l.captured {
		ps = append(ps, tape.Packet{Payload: b})
	}
	l.mu.Unlock()
	hits, err := tape.Find(ps, l.secrets...)
	switch {
	case err != nil:
		return l.s.Judge(err), true
	case len(hits) > 0:
		return l.s.Fail("%s the impostor captured a credential: %s (%s) is readable in message %d of %d that viewers sent it, of %d bytes", how, hits[0].Secret,
			hits[0].How, hits[0].Packet+1, len(ps), len(ps[hits[0].Packet].Payload)), true
	}
	return certify.Result{}, false
}

// replay sends what was captured from a second attacker's host to the servers and to where the camera is seen: media for it means that it
// is let in.
func (l *luring) replay(ctx context.Context, when string) (certify.Result, bool) {
	s, x := l.s, l.x
	m := x.Host(farHost)
	c, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return s.Judge(err), true
	}
	defer c.Close()
	routes := x.Routes()
	var to []netip.AddrPort
	for _, p := range x.Tape().Packets(0, tape.CameTo("rendezvous", x.Relay()), tape.UDP, tape.By(routes.External(l.camera.Host())...)) {
		for _, at := range []netip.AddrPort{p.Src, p.Dst} {
			if !slices.Contains(to, at) && len(to) < 6 {
				to = append(to, at)
			}
		}
	}
	from := x.Tape().Mark()
	l.mu.Lock()
	all := slices.Clone(l.captured)
	l.mu.Unlock()
	l.draw.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(len(all), s.N(300, 30))]
	for _, b := range all {
		for _, at := range to {
			if len(b) <= 1400 {
				_, _ = c.WriteToUDPAddrPort(b, at)
			}
		}
	}
	if err := s.Pause(ctx, s.For(3*time.Second, 400*time.Millisecond)); err != nil { // in which it would be answered
		return s.Judge(err), true
	}
	media := x.Tape().Count(from, tape.CameTo(farHost), tape.Media)
	hosts := []string{l.camera.Host(), "rendezvous", x.Relay()}
	spoken := doorsOf(x.Tape().Packets(0, tape.From(hosts...), tape.UDP))
	taken := delivered(x.Tape().Packets(from, tape.At(hosts...)), spoken, m.Addrs, all)
	for i := range taken {
		s.Saw("tries", 1)
		s.Try(media > 0 && i == 0)
	}
	s.Record(map[string]any{"replayed": when, "messages": len(all), "to": len(to), "taken": taken, "media packets": media})
	s.Note("%s: a second attacker sent %d captured messages to %v, %d of which came to an open door, and got %d media packets",
		when, len(all), to, taken, media)
	if media > 0 {
		return s.Fail("%s a second attacker got in by what the impostor had captured: for %d messages sent again it got %d media packets", when, len(all), media), true
	}
	return certify.Result{}, false
}

// udpPort is one of a host, as it is numbered there.
type udpPort struct {
	host string
	port uint16
}

// doorsOf are those from which packets were sent.
func doorsOf(sent []tape.Packet) map[udpPort]bool {
	doors := map[udpPort]bool{}
	for _, p := range sent {
		doors[udpPort{p.Host, p.Src.Port()}] = true
	}
	return doors
}

// delivered counts the messages of which a copy by the attacker came to somebody: to a port that has spoken, and that its host did not refuse
// by ICMP meanwhile. What a NAT dropped, what a closed port refused, and what there was nobody to send to, is no try of anything.
func delivered(ps []tape.Packet, spoken map[udpPort]bool, attacker []netip.Addr, messages [][]byte) (n int) {
	closed := map[udpPort]bool{}
	for _, p := range tape.Select(ps, tape.Out, tape.ICMP) {
		if port, ok := refused(p.Payload); ok {
			closed[udpPort{p.Host, port}] = true
		}
	}
	came := map[string]bool{}
	for _, p := range tape.Select(ps, tape.In, tape.UDP, tape.By(attacker...)) {
		if at := (udpPort{p.Host, p.Dst.Port()}); spoken[at] && !closed[at] {
			came[string(p.Payload)] = true
		}
	}
	for _, b := range messages {
		if came[string(b)] {
			n++
		}
	}
	return n
}

// byFalseServer puts an impostor where the servers' names lead: viewers speak to him at the servers' address, as if DNS had lied.
func (l *luring) byFalseServer(ctx context.Context) (certify.Result, bool) {
	s, x := l.s, l.x
	p := x.Program(certify.RoleRendezvous)
	p.Kill()
	s.Note("host rendezvous is an impostor's now")
	f := newFalseServer(x, "rendezvous", l)
	// At the ports at which the camera has spoken to the true one, and those that viewers try.
	var err error
	for _, q := range x.Tape().Packets(0, tape.CameTo("rendezvous"), tape.Full) {
		err = errors.Join(err, f.listen(q.Dst, tape.TCP(&q)))
	}
	err = errors.Join(err, f.listen(netip.AddrPortFrom(x.Host("rendezvous").Addr(), 443), true))
	if err == nil {
		routes := x.Routes()
		err = l.lure(ctx, "by a false server", "viewer", s.N(24, 1), tape.All(tape.CameTo("rendezvous"), tape.Full, tape.By(routes.External("viewer")...)))
	}
	if e := f.close(); err == nil {
		err = e
	}
	if err == nil {
		err = p.Start(ctx)
		s.Note("host rendezvous is the true one again")
	}
	if err != nil {
		return s.Judge(err), true
	}
	if r, bad := l.readable("by a false server"); bad {
		return r, true
	}
	return l.replay(ctx, "after a false server")
}

// inTheLAN puts an impostor at the camera's own address in its network, as who wins a race there; the owner, at home, looks for the
// camera where it was.
func (l *luring) inTheLAN(ctx context.Context) (certify.Result, bool) {
	s, x := l.s, l.x
	if err := l.own(ctx, nearHost); err != nil {
		return s.Judge(err), true
	}
	s.Note("the right owner has watched in the camera's own network")
	if err := l.camera.Kill(); err != nil {
		return s.Judge(err), true
	}
	f := newFalseServer(x, l.camera.Host(), l)
	var err error
	for _, q := range x.Tape().Packets(0, tape.From(l.camera.Host()), tape.UDP) {
		if !q.Src.Addr().IsMulticast() && q.Src.Addr().Is4() {
			err = errors.Join(err, f.listen(q.Src, false))
		}
	}
	if err == nil {
		near := x.Host(nearHost).Addr()
		l.known = true
		err = l.lure(ctx, "in the camera's own network", nearHost, s.N(12, 1), tape.All(tape.CameTo(l.camera.Host()), tape.Full, tape.By(near)))
	}
	if e := f.close(); err == nil {
		err = e
	}
	if err == nil {
		err = l.camera.Start(ctx)
	}
	if err != nil {
		return s.Judge(err), true
	}
	if r, bad := l.readable("in the camera's own network"); bad {
		return r, true
	}
	if r, bad := l.replay(ctx, "after an impostor in its network"); bad || !l.bundled {
		return r, bad
	}
	return l.login(ctx, netip.AddrPortFrom(x.Host("rendezvous").Addr(), rendezvousAt), "after an impostor in its network")
}

// own has the right owner watch, on a host.
func (l *luring) own(ctx context.Context, host string) error {
	v, err := l.x.View(ctx, stage.Viewing{Camera: l.camera, Unit: ownerUnit, Host: host, For: time.Second})
	if err != nil {
		return err
	}
	patience, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	if _, err := v.FirstFrame(patience); err != nil {
		return err
	}
	_, err = v.Wait(patience)
	return err
}

// ownerUnit is the viewer that is the owner's.
const ownerUnit = 1
