package punch

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// pace is when guesses leave, besides what a policy says.
var pace = struct {
	probe, open, late, rest    time.Duration
	sample, show               time.Duration
	repeat                     []time.Duration
	spare, spareGap, spareLead time.Duration
}{
	probe: 20 * time.Millisecond,  // a birthday's first probe: the peer's sockets open meanwhile
	open:  time.Millisecond,       // between the packets of a birthday's sockets
	late:  700 * time.Millisecond, // after the last guess, for what a hit is followed by
	rest:  750 * time.Millisecond, // guesses rest once the peer was heard: if the path is good, the owner stops the agent meanwhile

	sample: 80 * time.Millisecond,  // between the samples of one socket, for the sake of loss: all show the same mapping
	show:   100 * time.Millisecond, // between the punches by the mapping that follows
	// A round's guesses leave again: by the same mappings, now into a filter that the peer's own have opened.
	repeat: []time.Duration{0, 80 * time.Millisecond, 250 * time.Millisecond},

	// What a spare socket sends first goes to where the peer wants it; candidates that say so come with the peer's endpoint.
	spare:     20 * time.Millisecond,
	spareGap:  120 * time.Millisecond,
	spareLead: 400 * time.Millisecond, // before a birthday begins, where it may make it needless
}

// How many of them leave.
const (
	samples      = 4  // a round
	shown        = 5  // a round
	sampleSize   = 48 // bytes: about what a sealed sample takes
	sparePunches = 5
)

// volley is a number of probes, paced.
type volley struct {
	start time.Time
	gap   time.Duration // between two; zero: all at once
	n     int
	shot  func(i int) Probe

	sent int
	at   time.Time // when the next leave
}

func (a *Agent) volley(start time.Time, gap time.Duration, n int, shot func(i int) Probe) {
	if n > 0 {
		a.volleys = append(a.volleys, &volley{start: start, gap: gap, n: n, shot: shot, at: start})
	}
}

// fire sends what is due of the volleys.
func (a *Agent) fire(now time.Time, send func(Probe)) {
	for _, v := range a.volleys {
		for v.sent < v.n && core.Due(now, v.at) && !now.Before(v.start.Add(time.Duration(v.sent)*v.gap)) {
			ok, at := a.ledger.ready(now, reserved)
			if !ok {
				if v.at = at; at.IsZero() {
					v.n = v.sent // the budget is spent
				}
				break
			}
			p := v.shot(v.sent)
			v.sent++
			if p.Sample {
				a.ledger.probe(p.Size)
			}
			send(p)
		}
		v.schedule(now)
	}
	a.volleys = slices.DeleteFunc(a.volleys, func(v *volley) bool { return v.sent >= v.n })
}

// schedule says when the next of a volley leave: those of ten milliseconds together, so that a timer need not go off for each.
func (v *volley) schedule(now time.Time) {
	next := v.start.Add(time.Duration(v.sent) * v.gap)
	if together := now.Add(10 * time.Millisecond); v.sent > 0 && next.Before(together) && v.gap < 10*time.Millisecond {
		next = together
	}
	if next.After(v.at) {
		v.at = next
	}
}

// guess is a probe that is one of many.
func guess(from, to netip.AddrPort) Probe {
	return Probe{From: from, To: to, Size: wire.MinPunch, Bare: true}
}

// plan sets up what the own part takes beside the candidates' punches.
func (a *Agent) plan(now time.Time) {
	p := &a.cfg.Policy
	begin := now
	if ordered(a.cfg.Mine) || ordered(a.cfg.Theirs) {
		begin = now.Add(pace.spareLead)
	}
	if a.spared() {
		a.volley(now.Add(pace.spare), pace.spareGap, sparePunches, func(int) Probe {
			return Probe{From: a.cfg.Spare, To: a.spareTarget(), Size: wire.DefaultPunch}
		})
	}
	switch a.part {
	case silent:
		if a.nextRound = now; !a.spoilt() {
			a.nextRound = now.Add(unspoilt)
		}
	case shows, mirrors:
		a.nextRound = now
		fallthrough
	case guesses:
		a.extend(now.Add(time.Duration(p.Predict.Rounds)*p.Predict.Every + pace.late))
	case opens:
		n, m := p.Birthday.size(a.cfg.Mine)
		a.open(begin, n, m)
		a.extend(begin.Add(p.Birthday.length(m) + pace.late))
	case probes:
		_, m := p.Birthday.size(a.cfg.Theirs)
		first, last := ports(a.cfg.Theirs)
		order := newShuffle(int(last)-int(first)+1, a.seed)
		a.volley(begin.Add(pace.probe), time.Second/time.Duration(p.Birthday.Rate), m, func(i int) Probe {
			return guess(netip.AddrPort{}, netip.AddrPortFrom(a.peer.Addr(), first+uint16(order.at(i))))
		})
		a.extend(begin.Add(p.Birthday.length(m) + pace.late))
	}
}

func (a *Agent) extend(until time.Time) {
	if until.After(a.until) {
		a.until = until
	}
}

// spareTarget is the peer's own spare socket, if it has one, else its endpoint.
func (a *Agent) spareTarget() netip.AddrPort {
	for _, c := range a.cands {
		if c.Kind == Mapped && a.atPeer(c.Addr) {
			return c.Addr
		}
	}
	return a.peer
}

// ordered says whether a fresh socket's first mapping has the socket's own port, so that a spare one may make guesses needless.
func ordered(c wire.Class) bool { return dependent(c) && c.Ports == wire.PortsPreserved }

// spared says whether this side has a spare socket and a use for it.
func (a *Agent) spared() bool {
	return a.cfg.Policy.Direct && a.cfg.Spare.IsValid() && dependent(a.cfg.Mine)
}

// open asks for n sockets, and has each send to the peer's endpoint: at once, when half of the peer's m probes are out, and when
// all are. Where a probe was lost on its way in, the socket's own packet finds the peer's filter opened by it.
func (a *Agent) open(begin time.Time, n, m int) {
	length := a.cfg.Policy.Birthday.length(m)
	a.sockets.want(n, func(now time.Time, socks []netip.AddrPort) {
		if now.After(begin) {
			begin = now
		}
		for _, after := range []time.Duration{0, length/2 + pace.probe, length + pace.probe} {
			a.volley(begin.Add(after), pace.open, len(socks), func(i int) Probe { return guess(socks[i], a.peer) })
		}
	})
}

// size is how many sockets and probes a class takes: for a block of ports in proportion to its size.
func (b Birthday) size(c wire.Class) (sockets, probes int) {
	if c.Ports != wire.PortsBlock || b.BlockSockets == 0 {
		return b.Sockets, b.Probes
	}
	size := among(c)
	sockets = min(max(b.BlockSockets*size/1024, 4), b.Sockets, max(size/4, 1))
	probes = min(max(b.BlockProbes*size/1024, 16), b.Probes, size)
	return sockets, probes
}

// length is how long so many probes take.
func (b Birthday) length(probes int) time.Duration {
	return time.Duration(probes) * time.Second / time.Duration(b.Rate)
}

// forecast is the state of a prediction.
type forecast struct {
	nextRound time.Time // zero: none
	rounds    int       // begun
	began     time.Time // the last one
	socket    netip.AddrPort
	mirrored  bool // this round's guesses are out
	sample    netip.AddrPort
	sampleAt  time.Time
	samples   int
}

// foresee begins a round when it is due: with a fresh socket, because only what is sent to a destination for the first time makes a
// mapping.
func (a *Agent) foresee(now time.Time) {
	if !core.Due(now, a.nextRound) {
		return
	}
	p := a.cfg.Policy.Predict
	a.rounds++
	a.nextRound = time.Time{}
	if a.rounds < p.Rounds {
		a.nextRound = now.Add(p.Every)
	}
	a.began, a.socket, a.mirrored = now, netip.AddrPort{}, false
	a.sockets.want(1, a.show)
}

// show samples the allocator by a round's socket. What comes next is the mapping towards the peer, at once where the peer's
// endpoint is known, else when the peer's own sample came.
func (a *Agent) show(now time.Time, socks []netip.AddrPort) {
	s := socks[0]
	a.socket = s
	a.volley(now, pace.sample, samples, func(int) Probe { return Probe{From: s, Size: sampleSize, Sample: true} })
	if a.part == shows {
		a.volley(now, pace.show, shown, func(int) Probe { return guess(s, a.peer) })
	}
	a.mirror(now)
}

// Sampled notes where the peer's newest mapping was seen by the rendezvous. It is about to make the next one, and guesses start from there;
// or it is silent there until it is punched. A sample elsewhere than at the peer's IP address is ignored.
func (a *Agent) Sampled(now time.Time, at netip.AddrPort) {
	if a.part != plain && a.part != guesses && a.part != mirrors || a.stopped || at == a.sample || !a.atPeer(at) ||
		a.samples >= 2*a.cfg.Policy.Predict.Rounds || core.Due(now, a.until) {
		return
	}
	a.samples++
	a.sample, a.sampleAt = at, now
	if a.part == plain {
		a.awaited(now, at)
		return
	}
	if a.part == guesses {
		a.aim(now, netip.AddrPort{}, 1)
		return
	}
	a.mirror(now)
}

// mirror sends a round's guesses by its socket, once the peer's sample of the same round is here: samples are of the same round when
// they come within half a round of its beginning.
//
// Cross traffic moves both allocators meanwhile, by x here and y there. Where both map by address and port, the k-th packet of
// either leaves by its k-th port after x or y, and one of its own has to go exactly where one of the peer's leaves: the viewer
// aims at every second port and the camera at every one, so that k = x+y of the viewer meets 2x+y of the camera, whatever x and y.
func (a *Agent) mirror(now time.Time) {
	half := a.cfg.Policy.Predict.Every / 2
	if a.part != mirrors || a.mirrored || !a.socket.IsValid() || !a.sample.IsValid() ||
		a.sampleAt.Before(a.began.Add(-half)) || a.rounds > 1 && a.sampleAt.After(a.began.Add(half)) {
		return
	}
	a.mirrored = true
	stride := 1
	if a.cfg.Role != Camera && min(a.cfg.Mine.Mapping, a.cfg.Theirs.Mapping) == wire.AddressAndPortDependent {
		stride = 2
	}
	a.aim(now, a.socket, stride)
}

// aim sends to a window of the ports after the peer's sample.
func (a *Agent) aim(now time.Time, from netip.AddrPort, stride int) {
	var targets []netip.AddrPort
	for i := range a.cfg.Policy.Predict.Window {
		port := int(a.sample.Port()) + (i*stride+1)*int(a.cfg.Theirs.Step)
		if port > 0 && port <= lastPort {
			targets = append(targets, netip.AddrPortFrom(a.peer.Addr(), uint16(port)))
		}
	}
	for _, after := range pace.repeat {
		a.volley(now.Add(after), 0, len(targets), func(i int) Probe { return guess(from, targets[i]) })
	}
}

// Plan says in words what the agent has chosen to try beside the relay, for records and logs.
func (a *Agent) Plan() string {
	if !a.cfg.Policy.Direct {
		return "nothing"
	}
	return a.part.String()
}
