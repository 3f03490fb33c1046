package cases

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// bundledRendezvous is the key of the lab's rendezvous, which is public (CONTRACT.md, way C): who runs it may lie.
func bundledRendezvous() (ids.Key, error) {
	return ids.KeyFromPrivate(sha256.Sum256([]byte("punchlab lab rendezvous v1")))
}

// liar is a rendezvous of the bundled protocol that has the true one's key and place, and can hand viewers to an impostor.
type liar struct {
	l      *luring
	at     netip.AddrPort // the rendezvous
	key    ids.Key        // its
	own    ids.Key        // the impostor's
	lying  atomic.Bool
	posing atomic.Pointer[netip.AddrPort] // where the impostor is seen; nil: he has not registered yet

	cancel  context.CancelFunc
	running sync.WaitGroup
	errs    [2]error
	report  attack.Report // once it has ended
}

// usurp has a liar take the true rendezvous' place, and the camera register with it.
func (l *luring) usurp(ctx context.Context, key ids.Key) (*liar, error) {
	host := l.x.Host("rendezvous")
	r := &liar{l: l, key: key, at: netip.AddrPortFrom(host.Addr(), rendezvousAt)}
	l.x.Program(certify.RoleRendezvous).Kill()
	if err := l.camera.Kill(); err != nil {
		return nil, err
	}
	gone, err := whenFree(func() (*net.UDPConn, error) { return host.ListenUDP(r.at) })
	if err != nil {
		return nil, err
	}
	gone.Close()
	if r.own, err = ids.NewKey(rand.NewChaCha8([32]byte{byte(l.s.Seed(31)), 7})); err != nil {
		return nil, err
	}
	within, cancel := context.WithCancel(ctx)
	r.cancel = cancel
	budget := attack.Budget{Packets: attack.MaxPackets, Duration: attack.MaxDuration}
	server, ready := r.server(), make(chan struct{})
	server.Ready = func() { close(ready) }
	r.running.Go(func() { r.report, r.errs[0] = server.Run(within, host, budget) })
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		return nil, errors.Join(errors.New("the lying rendezvous did not begin"), r.stop())
	}
	l.s.Note("host rendezvous is one that lies, with the true one's key")
	im := &attack.Impostor{
		Server: r.at, Key: key.Public(), Own: r.own, Victim: l.label.Key, Seed: l.s.Seed(33),
		Registered: func(seen netip.AddrPort) { r.posing.Store(&seen) },
	}
	r.running.Go(func() { _, r.errs[1] = im.Run(within, l.x.Host("rogue"), budget) })
	if err := l.camera.Start(ctx); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

// server is the rogue rendezvous: as long as it lies the viewer and the impostor are told of each other, and what the viewer says to the
// camera is captured.
func (r *liar) server() *attack.RogueRendezvous {
	impostor := func() (netip.AddrPort, bool) {
		at := r.posing.Load()
		if at == nil || !r.lying.Load() {
			return netip.AddrPort{}, false
		}
		return *at, true
	}
	return &attack.RogueRendezvous{
		Key: r.key, Seed: r.l.s.Seed(32),
		Lie: func(camera, viewer ids.PublicKey, truth wire.Introduce, random io.Reader) ([]attack.Told, error) {
			if at, lies := impostor(); lies && camera == r.l.label.Key {
				r.l.keep(truth.Noise1)
				return attack.HandOver(r.own.Public(), at)(camera, viewer, truth, random)
			}
			return []attack.Told{{To: camera, Introduce: truth}}, nil
		},
		Peer: func(truth wire.Peer) wire.Peer {
			if at, lies := impostor(); lies {
				truth.Endpoint = wire.At(at)
			}
			return truth
		},
	}
}

// stop ends the liar and the impostor; a second time nothing happens. The errors are theirs.
func (r *liar) stop() error {
	r.cancel()
	r.running.Wait()
	return errors.Join(r.errs[:]...)
}

// byLyingServer has the rendezvous of the bundled protocol hand viewers to an impostor; then a second attacker logs in by what he was
// handed, at once and after the owner has watched.
func (l *luring) byLyingServer(ctx context.Context, key ids.Key) (certify.Result, bool) {
	s := l.s
	r, err := l.usurp(ctx, key)
	if err != nil {
		return s.Judge(err), true
	}
	defer r.stop()
	if bad, is := l.handedOver(ctx, r); is {
		return bad, true
	}
	if err := errors.Join(r.stop(), l.x.Program(certify.RoleRendezvous).Start(ctx), l.powerCut(ctx)); err != nil {
		return s.Judge(err), true
	}
	s.Note("host rendezvous is the true one again")
	if len(r.report.Gained) > 0 {
		return s.Fail("the server that lies captured a credential: %s", r.report.Gained[0]), true
	}
	return certify.Result{}, false
}

// handedOver lures viewers by a liar, and has a second attacker use what that has captured.
func (l *luring) handedOver(ctx context.Context, r *liar) (certify.Result, bool) {
	s := l.s
	// That a right secret gets in shows that the tries are made as they should be. Nothing is confirmed by it, and nobody is paired.
	in, err := l.guess(ctx, r.at, 1, func(int) ids.Secret { return l.label.Secret })
	switch {
	case err != nil:
		return s.Judge(err), true
	case in == 0:
		return s.Inconclusive("who has the label's own secret is not let in either: the tries would show nothing"), true
	}
	r.lying.Store(true)
	routes := l.x.Routes()
	heard := tape.All(tape.CameTo("rogue"), tape.Full, tape.By(routes.External("viewer")...))
	if err := l.lure(ctx, "by a server that lies", "viewer", s.N(30, 1), heard); err != nil {
		return s.Judge(err), true
	}
	r.lying.Store(false)
	if bad, is := l.login(ctx, r.at, "at once"); is {
		return bad, true
	}
	if err := l.own(ctx, "viewer"); err != nil {
		return s.Judge(err), true
	}
	s.Note("the right owner has watched")
	if bad, is := l.login(ctx, r.at, "after the owner had watched"); is {
		return bad, true
	}
	return l.readable("by a server that lies")
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
