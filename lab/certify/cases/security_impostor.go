package cases

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// bundledRendezvous is the key of the lab's rendezvous, which is public (CONTRACT.md, way C): who runs it may lie.
func bundledRendezvous() (ids.Key, error) {
	return ids.KeyFromPrivate(sha256.Sum256([]byte("punchlab lab rendezvous v1")))
}

// impostors is SEC-3: viewers are led to who is not the camera, and what they hand him is used against the camera.
func impostors(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	l := &luring{s: s, x: x, draw: rand.New(rand.NewPCG(s.Seed(30), 3))}
	if l.camera, err = x.Camera(ctx, 1); err != nil {
		return s.Judge(err)
	}
	if l.ticket, err = l.camera.Ticket(); err != nil {
		return s.Judge(err)
	}
	public, err := l.camera.Identity()
	if err != nil {
		return s.Judge(err)
	}
	var servers []string
	for _, v := range s.Decl().Servers {
		servers = append(servers, v.Name)
	}
	l.secrets = tokens(l.ticket, public, servers...)
	key, err := bundledRendezvous()
	if err != nil {
		return s.Judge(err)
	}
	label, bundled := labelOf(l.ticket)
	l.label, l.bundled = label, bundled && label.RendezvousKey == key.Public()
	r, bad := l.byFalseServer(ctx)
	if !bad && l.bundled {
		r, bad = l.byLyingServer(ctx, key)
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
	for i := range all {
		s.Saw("tries", 1)
		s.Try(media > 0 && i == 0)
	}
	s.Record(map[string]any{"replayed": when, "messages": len(all), "to": len(to), "media packets": media})
	s.Note("%s: a second attacker sent %d captured messages to %v, and got %d media packets", when, len(all), to, media)
	if media > 0 {
		return s.Fail("%s a second attacker got in by what the impostor had captured: for %d messages sent again it got %d media packets", when, len(all), media), true
	}
	return certify.Result{}, false
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

// byLyingServer has the rendezvous of the bundled protocol hand viewers to an impostor; then a second attacker logs in by what he was
// handed, at once and after the owner has watched.
func (l *luring) byLyingServer(ctx context.Context, key ids.Key) (certify.Result, bool) {
	s, x := l.s, l.x
	x.Program(certify.RoleRendezvous).Kill()
	if err := l.camera.Kill(); err != nil {
		return s.Judge(err), true
	}
	at := netip.AddrPortFrom(x.Host("rendezvous").Addr(), rendezvousAt)
	gone, err := whenFree(func() (*net.UDPConn, error) { return x.Host("rendezvous").ListenUDP(at) })
	if err != nil {
		return s.Judge(err), true
	}
	gone.Close()
	own, err := ids.NewKey(rand.NewChaCha8([32]byte{byte(s.Seed(31)), 7}))
	if err != nil {
		return s.Judge(err), true
	}
	var lying atomic.Bool
	var posing atomic.Pointer[netip.AddrPort]
	server := &attack.RogueRendezvous{
		Key: key, Seed: s.Seed(32),
		Lie: func(camera, viewer ids.PublicKey, truth wire.Introduce, random io.Reader) ([]attack.Told, error) {
			if at := posing.Load(); lying.Load() && at != nil && camera == l.label.Key {
				l.keep(truth.Noise1)
				return attack.HandOver(own.Public(), *at)(camera, viewer, truth, random)
			}
			return []attack.Told{{To: camera, Introduce: truth}}, nil
		},
		Peer: func(truth wire.Peer) wire.Peer {
			if at := posing.Load(); lying.Load() && at != nil {
				truth.Endpoint = wire.At(*at)
			}
			return truth
		},
	}
	within, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var errs [2]error
	var rogues attack.Report
	ready := make(chan struct{})
	server.Ready = func() { close(ready) }
	budget := attack.Budget{Packets: attack.MaxPackets, Duration: attack.MaxDuration}
	running.Go(func() { rogues, errs[0] = server.Run(within, x.Host("rendezvous"), budget) })
	defer func() { cancel(); running.Wait() }()
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		return s.Judge(errors.Join(errors.New("the lying rendezvous did not begin"), errs[0])), true
	}
	s.Note("host rendezvous is one that lies, with the true one's key")
	im := &attack.Impostor{
		Server: at, Key: key.Public(), Own: own, Victim: l.label.Key, Seed: s.Seed(33),
		Registered: func(seen netip.AddrPort) { posing.Store(&seen) },
	}
	running.Go(func() {
		_, err := im.Run(within, x.Host("rogue"), budget)
		errs[1] = err
	})
	if err := l.camera.Start(ctx); err != nil {
		return s.Judge(err), true
	}
	// That a right secret gets in shows that the tries are made as they should be. Nothing is confirmed by it, and nobody is paired.
	in, err := l.guess(ctx, at, 1, func(int) ids.Secret { return l.label.Secret })
	switch {
	case err != nil:
		return s.Judge(err), true
	case in == 0:
		return s.Inconclusive("who has the label's own secret is not let in either: the tries would show nothing"), true
	}
	lying.Store(true)
	routes := x.Routes()
	heard := tape.All(tape.CameTo("rogue"), tape.Full, tape.By(routes.External("viewer")...))
	if err := l.lure(ctx, "by a server that lies", "viewer", s.N(30, 1), heard); err != nil {
		return s.Judge(err), true
	}
	lying.Store(false)
	if r, bad := l.login(ctx, at, "at once"); bad {
		return r, true
	}
	if err := l.own(ctx, "viewer"); err != nil {
		return s.Judge(err), true
	}
	s.Note("the right owner has watched")
	if r, bad := l.login(ctx, at, "after the owner had watched"); bad {
		return r, true
	}
	if r, bad := l.readable("by a server that lies"); bad {
		return r, true
	}
	cancel()
	running.Wait()
	if err := errors.Join(errors.Join(errs[:]...), x.Program(certify.RoleRendezvous).Start(ctx), l.powerCut(ctx)); err != nil {
		return s.Judge(err), true
	}
	s.Note("host rendezvous is the true one again")
	if len(rogues.Gained) > 0 {
		return s.Fail("the server that lies captured a credential: %s", rogues.Gained[0]), true
	}
	return certify.Result{}, false
}

// powerCut has the camera begin anew, and so register where its server is now.
func (l *luring) powerCut(ctx context.Context) error {
	if err := l.camera.Kill(); err != nil {
		return err
	}
	return l.camera.Start(ctx)
}

// guess has a second attacker, who knows all that is public, ask to be let in by secrets.
func (l *luring) guess(ctx context.Context, at netip.AddrPort, n int, secret func(i int) ids.Secret) (in int, err error) {
	l.units++
	g := &attack.Guesser{
		Server: at, Key: l.label.RendezvousKey, Camera: l.label.Key, Secret: secret, Tries: n, Rate: 15, Wait: 1500 * time.Millisecond,
		Seed: l.s.Seed(300 + l.units),
	}
	if _, err := g.Run(ctx, l.x.Host(farHost), attack.Budget{Packets: 50*n + 100, Duration: time.Duration(n/10+30) * time.Second}); err != nil {
		return 0, err
	}
	answered := 0
	for _, a := range g.Guesses() {
		if a.In {
			in++
		}
		if a.Answered {
			answered++
		}
	}
	if n > 1 && answered == 0 {
		return 0, errors.New("a second attacker's tries were not answered at all")
	}
	return in, nil
}

// login has a second attacker make proofs of what was captured.
func (l *luring) login(ctx context.Context, at netip.AddrPort, when string) (certify.Result, bool) {
	s := l.s
	pieces := l.pieces(s.N(160, 12))
	in, err := l.guess(ctx, at, len(pieces), func(i int) ids.Secret { return pieces[i] })
	if err != nil {
		return s.Judge(err), true
	}
	for i := range pieces {
		s.Saw("tries", 1)
		s.Try(i < in)
	}
	s.Record(map[string]any{"logs in": when, "tries": len(pieces), "let in": in})
	s.Note("%s a second attacker asked %d times to be let in, by pieces of what the impostor had captured: %d times it was", when, len(pieces), in)
	if in > 0 {
		return s.Fail("%s a second attacker got in by what the impostor had captured, in %d of %d tries, each by 16 bytes of it as the label's secret", when, in, len(pieces)), true
	}
	return certify.Result{}, false
}

// pieces are what of the captured messages may be a secret: short ones whole, ends and beginnings, and anything.
func (l *luring) pieces(n int) (found []ids.Secret) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add := func(b []byte) {
		if p := ids.Secret(append(bytes.Clone(b), make([]byte, 16)...)[:16]); len(found) < n && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	all := slices.Clone(l.captured)
	slices.SortStableFunc(all, func(a, b []byte) int { return len(a) - len(b) })
	for _, b := range all {
		if len(b) <= 24 && len(found) < n/2 {
			add(b)
		}
	}
	for tries := 0; len(all) > 0 && len(found) < n && tries < 10*n; tries++ {
		b := all[l.draw.IntN(len(all))]
		switch at := l.draw.IntN(len(b)); l.draw.IntN(3) {
		case 0:
			add(b)
		case 1:
			add(b[max(0, len(b)-16):])
		default:
			add(b[at:])
		}
	}
	return found
}

// falseServer is an impostor of no protocol in particular: it takes what comes, and gives it back.
type falseServer struct {
	m interface {
		ListenUDP(at netip.AddrPort) (*net.UDPConn, error)
		ListenTCP(at netip.AddrPort) (*net.TCPListener, error)
	}
	l       *luring
	open    map[string]bool
	closers []io.Closer
	serving sync.WaitGroup
}

func newFalseServer(x *stage.Set, host string, l *luring) *falseServer {
	return &falseServer{m: x.Host(host), l: l, open: map[string]bool{}}
}

// listen takes what comes to an endpoint, by TCP in TLS too with a certificate that nobody has signed.
func (f *falseServer) listen(at netip.AddrPort, tcp bool) error {
	key := fmt.Sprint(at, tcp)
	if f.open[key] || len(f.open) >= 16 || !at.Addr().Is4() {
		return nil
	}
	f.open[key] = true
	if !tcp {
		c, err := whenFree(func() (*net.UDPConn, error) { return f.m.ListenUDP(at) })
		if err != nil {
			return err
		}
		f.closers = append(f.closers, c)
		f.serving.Go(func() {
			var buf [2048]byte
			for {
				n, from, err := c.ReadFromUDPAddrPort(buf[:])
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					_, _ = c.WriteToUDPAddrPort(buf[:n], from)
				}
			}
		})
		return nil
	}
	t, err := whenFree(func() (*net.TCPListener, error) { return f.m.ListenTCP(at) })
	if err != nil {
		return err
	}
	cert, err := selfSigned()
	if err != nil {
		return errors.Join(err, t.Close())
	}
	f.closers = append(f.closers, t)
	f.serving.Go(func() {
		for {
			c, err := t.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(3 * time.Second))
				s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
				var buf [4096]byte
				for {
					n, err := s.Read(buf[:])
					if err != nil {
						return
					}
					f.l.keep(buf[:n])
					_, _ = s.Write(buf[:n])
				}
			})
		}
	})
	return nil
}

// whenFree opens a socket as soon as the program is gone that had its port: its power was cut this moment.
func whenFree[S any](open func() (S, error)) (s S, err error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if s, err = open(); !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return s, err
		}
	}
}

func (f *falseServer) close() (err error) {
	for _, c := range f.closers {
		err = errors.Join(err, c.Close())
	}
	f.serving.Wait()
	return err
}

// selfSigned is a certificate that nobody else vouches for.
func selfSigned() (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return c, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), DNSNames: []string{"punchlab"}}
	der, err := x509.CreateCertificate(crand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
