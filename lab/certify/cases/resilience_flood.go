package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/stats"
)

// A flood is bounded: what a home's router and this machine bear.
const (
	floodRate    = 1000 // packets a second at each target
	floodSources = 2048 // endpoints that it claims to come from, each of which costs a NAT a mapping
	floodWhole   = 512  // handshakes of the bundled protocol that are right in all but who they are of
)

// floodedFrom is where the flood claims to come from: nobody is there (RFC 2544).
var floodedFrom = netip.MustParsePrefix("198.18.0.0/15")

// What is granted beside the criterion's factors: what a machine that does other things too adds to a connect, and a page more or less
// to a program.
const (
	grantedTime   = 100 * time.Millisecond
	grantedMemory = 4 << 20
)

// siege is a run of RES-4.
type siege struct {
	*stage.Stage
	x       *stage.Set
	camera  *stage.Camera
	targets []target
	memory  []*measured
	missed  string // why the first connect failed that did
	counted int    // up to which position of the tape the flood was counted
}

// target is what is flooded.
type target struct {
	what   string
	host   string // at which it arrives
	at     netip.AddrPort
	tcp    bool     // it is asked for connections; else:
	shots  [][]byte // datagrams that look right
	copies int      // the first of shots, of which each that is sent is another
}

// measured is a program's memory.
type measured struct {
	what       string
	now        func() (int64, error)
	idle, most int64
}

// flooded is RES-4.
func flooded(ctx context.Context, s *stage.Stage) certify.Result {
	f := &siege{Stage: s}
	if err := f.begin(ctx); err != nil {
		return outcome(s, err)
	}
	if len(f.targets) == 0 {
		return s.Inconclusive("nothing that a viewer sent went to the camera or to a server of the vendor's, by UDP or TCP: there is no handshake to imitate")
	}
	calm, err := f.connects(ctx, s.N(100, 5), func(m *measured, now int64) { m.idle = max(m.idle, now) }, false)
	if err != nil {
		return s.Judge(err)
	}
	if len(calm) == 0 {
		return s.Fail("no connect succeeded before the flood: %s", f.missed)
	}
	var stormy []float64
	f.counted = f.x.Tape().Mark()
	err = f.during(ctx, func(ctx context.Context) (err error) {
		stormy, err = f.connects(ctx, s.N(299, 5), func(m *measured, now int64) { m.most = max(m.most, now) }, true)
		return err
	})
	f.count()
	if err != nil {
		return s.Judge(err)
	}
	return f.verdict(calm, stormy)
}

// begin finds out what handshakes look like, and has the programs take the memory that they take at work.
func (f *siege) begin(ctx context.Context) (err error) {
	if f.x, err = f.Set(ctx, "attackers", "camera.nat", "full-cone"); err != nil {
		return err
	}
	if f.camera, err = f.x.Camera(ctx, 1); err != nil {
		return err
	}
	within := f.Decl().Bounds.Recovery
	for i := range 3 {
		mark := f.x.Tape().Mark()
		what := fmt.Sprintf("before the flood, connect %d,", i+1)
		if _, err := glance(ctx, f.x, stage.Viewing{Camera: f.camera, For: shortLook}, what, time.Now(), within); err != nil {
			return err
		}
		if i == 0 {
			if err := f.aim(mark); err != nil {
				return err
			}
		}
	}
	f.weigh("the camera", f.camera.Memory)
	for _, role := range []certify.Role{certify.RoleRendezvous, certify.RoleRelay} {
		if p := f.x.Program(role); p != nil && p.Vendors {
			f.weigh("the "+string(role), p.Memory)
		}
	}
	if len(f.targets) == 0 {
		return nil
	}
	// The first of a flood fills caches and heaps, as any other load would: that is not what the case is about.
	return f.during(ctx, func(ctx context.Context) error { return f.Pause(ctx, f.For(30*time.Second, time.Second)) })
}

// weigh has a program's memory watched, if it can be seen.
func (f *siege) weigh(what string, now func() (int64, error)) {
	if _, err := now(); err != nil {
		f.Note("memory of %s is not judged: %v", what, err)
		return
	}
	f.memory = append(f.memory, &measured{what: what, now: now})
}

// aim finds the targets in what a viewer has sent since a position of the tape, and what its handshakes look like.
func (f *siege) aim(mark int) error {
	sent := f.x.Tape().Packets(mark, tape.From("viewer"), tape.Any(tape.UDP, tape.TCP), tape.Not(tape.IPv6))
	ticket, err := f.camera.Ticket()
	if err != nil {
		return err
	}
	label, bundled := labelOf(ticket)
	routes := f.x.Routes()
	if direct := preferred(tape.Select(sent, routes.By(tape.Direct))); len(direct) > 0 {
		t := aimAt("the camera", f.camera.Host(), direct, direct[len(direct)-1])
		if bundled && !t.tcp {
			if err := t.imitate(attack.ToCamera, label.Key, f.Seed(3)); err != nil {
				return err
			}
		}
		f.targets = append(f.targets, t)
	}
	asked := preferred(tape.Select(sent, tape.To(f.x.Servers("viewer")...)))
	if p := f.x.Program(certify.RoleRendezvous); len(asked) > 0 && p != nil && p.Vendors {
		t := aimAt("the server", p.Host, asked, asked[0])
		if bundled && !t.tcp {
			if err := t.imitate(attack.ToRendezvous, label.RendezvousKey, f.Seed(4)); err != nil {
				return err
			}
		}
		f.targets = append(f.targets, t)
	}
	for _, t := range f.targets {
		if t.tcp {
			f.Note("%s is flooded at %v, %d requests for a TCP connection a second, of which none is completed", t.what, t.at, floodRate)
		} else {
			f.Note("%s is flooded at %v, %d datagrams a second, made of %d that look right", t.what, t.at, floodRate, len(t.shots))
		}
	}
	return nil
}

// preferred are the datagrams among packets, which cost a flooder less and who gets them more; TCP's segments where there are none.
func preferred(ps []tape.Packet) []tape.Packet {
	if datagrams := tape.Select(ps, tape.UDP); len(datagrams) > 0 {
		return datagrams
	}
	return ps
}

// aimAt is what a viewer's packet was for, imitated by what the viewer sent there: its datagrams, or TCP's handshake.
func aimAt(what, host string, sent []tape.Packet, p tape.Packet) target {
	const handshake = 6 // packets at most
	t := target{what: what, host: host, at: p.Dst, tcp: tape.TCP(&p)}
	if !t.tcp {
		t.copy(sent, handshake)
	}
	return t
}

// copy takes the first datagrams that a viewer sent to the target.
func (t *target) copy(ps []tape.Packet, most int) {
	for _, p := range ps {
		if p.Dst == t.at && len(p.Payload) > 0 && len(t.shots) < most {
			t.shots = append(t.shots, p.Payload)
			t.copies++
		}
	}
}

// imitate adds handshakes of the bundled protocol: by keys that nobody knows, and such whose sealed part is forged.
func (t *target) imitate(to string, key ids.PublicKey, seed uint64) error {
	for _, kind := range attack.Kinds(to, key, rand.NewChaCha8(seed32(seed))) {
		if !strings.HasPrefix(kind.Name, "initiation") {
			continue
		}
		for range floodWhole / 2 {
			b, err := kind.Make()
			if err != nil {
				return err
			}
			t.shots = append(t.shots, b)
		}
	}
	return nil
}

func seed32(seed uint64) (b [32]byte) {
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	return b
}

// next makes the flood's i-th datagram. Copies of a viewer's differ from them in one byte.
func (t *target) next(draw *rand.Rand) func(int) (attack.Shot, bool) {
	var sources []netip.AddrPort
	base := floodedFrom.Addr().As4()
	for range floodSources {
		sources = append(sources, netip.AddrPortFrom(netip.AddrFrom4([4]byte{base[0], base[1] | byte(draw.IntN(2)), byte(draw.Uint32()), byte(draw.Uint32())}),
			uint16(1024+draw.IntN(64512))))
	}
	return func(int) (attack.Shot, bool) {
		n := draw.IntN(len(t.shots))
		b := t.shots[n]
		if n < t.copies {
			b = bytes.Clone(b)
			b[min(4+draw.IntN(len(b)), len(b)-1)] ^= byte(1 + draw.IntN(255))
		}
		return attack.Shot{From: sources[draw.IntN(len(sources))], To: t.at, B: b}, true
	}
}

// during has something done while everything is flooded. It begins when the flood has arrived.
func (f *siege) during(ctx context.Context, do func(context.Context) error) error {
	storm, cancel := context.WithCancel(ctx)
	defer cancel()
	from := f.x.Tape().Mark()
	var floods sync.WaitGroup
	errs := make([]error, len(f.targets)+1)
	for i, t := range f.targets {
		var a attack.Attack = &attack.Spoofer{Rate: floodRate, Next: t.next(rand.New(rand.NewPCG(f.Seed(10+i), 1)))}
		if t.tcp {
			a = &attack.SYNFlooder{Target: t.at, Rate: floodRate, Sources: floodedFrom, Endpoints: floodSources, Seed: f.Seed(10 + i)}
		}
		floods.Go(func() {
			r, err := a.Run(storm, f.x.Host("off-path"), attack.Budget{Packets: floodRate * 1800, Duration: 30 * time.Minute})
			f.Note("flooded %s with %d packets in %v: %s", t.what, r.Sent.Packets, r.Took.Round(time.Millisecond), r.Ended)
			errs[i] = err
		})
	}
	err := f.arrives(storm, from)
	if err == nil {
		err = do(ctx)
	}
	cancel()
	floods.Wait()
	errs[len(errs)-1] = err
	return errors.Join(errs...)
}

// arrives waits until the flood is at all targets. That it does not is no fault of the camera's.
func (f *siege) arrives(ctx context.Context, from int) error {
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, t := range f.targets {
		if n, err := f.x.Tape().Wait(limit, from, 10, t.arrived()); err != nil {
			return fmt.Errorf("the flood does not arrive at %s, %d packets did", t.what, n)
		}
	}
	return nil
}

func (t *target) arrived() tape.Match {
	transport := tape.UDP
	if t.tcp {
		transport = tape.TCP
	}
	return tape.All(tape.CameTo(t.host), transport, func(p *tape.Packet) bool { return floodedFrom.Contains(p.Src.Addr()) })
}

// count counts what of the flood has arrived since it was last counted, and has the tape forget it.
func (f *siege) count() {
	for _, t := range f.targets {
		f.Saw("flood", f.x.Tape().Count(f.counted, t.arrived()))
	}
	f.counted = f.x.Tape().Mark()
	f.x.Tape().Forget(f.counted)
}

// connects has a viewer connect n times, and returns how long those took that succeeded, in seconds.
func (f *siege) connects(ctx context.Context, n int, weigh func(*measured, int64), flooded bool) (took []float64, err error) {
	for i := range n {
		t, why, err := f.connect(ctx)
		if err != nil {
			return took, err
		}
		if flooded {
			f.Try(why != "")
		}
		if why != "" && f.missed == "" {
			f.missed = why
		}
		if why == "" {
			took = append(took, t.Seconds())
		}
		f.Record(map[string]any{"connect": i + 1, "flooded": flooded, "seconds": t.Seconds(), "failed": why})
		for _, m := range f.memory {
			now, err := m.now()
			if err != nil {
				return took, err
			}
			weigh(m, now)
		}
		if flooded {
			f.count()
		} else {
			f.x.Tape().Forget(f.x.Tape().Mark())
		}
	}
	return took, nil
}

// connect is one, and how long it took; why says why it failed.
func (f *siege) connect(ctx context.Context) (took time.Duration, why string, err error) {
	within := max(2*f.Decl().Bounds.FirstFrame, 5*time.Second)
	limit, cancel := context.WithTimeout(ctx, within+shortLook+writeLate)
	defer cancel()
	w, err := f.x.View(ctx, stage.Viewing{Camera: f.camera, For: shortLook})
	if err != nil {
		return 0, "", err
	}
	f.Saw("connects", 1)
	first, err := w.FirstFrame(limit)
	if left := leave(f.Stage, w); left != nil {
		return 0, "", left
	}
	asked := w.Asked()
	if asked.IsZero() {
		asked = w.Started()
	}
	var ended *stage.Ended
	switch {
	case err == nil && first.T.Sub(asked) > within:
		return 0, fmt.Sprintf("its first frame came after %v", first.T.Sub(asked).Round(time.Millisecond)), nil
	case err == nil:
		return first.T.Sub(asked), "", nil
	case ctx.Err() == nil && (errors.As(err, &ended) || errors.Is(err, context.DeadlineExceeded)):
		return 0, err.Error(), nil
	}
	return 0, "", err
}

func (f *siege) verdict(calm, stormy []float64) certify.Result {
	if f.Observed("flood") == 0 {
		return f.Inconclusive("nothing of the flood arrived")
	}
	if c := f.Claim(); c.Failures > 0 && (f.Brief() || c.Refutes(f.Case().Rate)) {
		return f.Fail("under the flood %d of %d connects failed; the first: %s", c.Failures, c.Tries, f.missed)
	}
	slices.Sort(calm)
	slices.Sort(stormy)
	idle, under := stats.Quantile(calm, 0.99), stats.Quantile(stormy, 0.99)
	allowed := max(2*idle, idle+grantedTime.Seconds())
	if f.Brief() { // a 99th percentile of a few is the worst of them
		allowed = max(allowed, f.Decl().Bounds.FirstFrame.Seconds())
	}
	f.Note("99 of 100 connects take %.3f s at most when idle (n %d), %.3f s under the flood (n %d); %.3f s allowed", idle, len(calm), under, len(stormy), allowed)
	if under > allowed {
		return f.Fail("under the flood 99 of 100 connects take %.3f s at most (n %d), when idle %.3f s (n %d), and %.3f s are allowed",
			under, len(stormy), idle, len(calm), allowed)
	}
	for _, m := range f.memory {
		allowed := m.idle + max(m.idle/10, int64(f.N(grantedMemory, 4*grantedMemory))) // in brief heaps are young
		f.Note("memory of %s: %.1f MiB when idle, %.1f MiB under the flood, %.1f MiB allowed", m.what, mib(m.idle), mib(m.most), mib(allowed))
		f.Record(map[string]any{"memory of": m.what, "idle bytes": m.idle, "under the flood": m.most, "allowed": allowed})
		if m.most > allowed {
			return f.Fail("under the flood the memory of %s grew from %.1f MiB to %.1f MiB, and %.1f MiB are allowed", m.what, mib(m.idle), mib(m.most), mib(allowed))
		}
	}
	if len(f.memory) == 0 {
		return f.PassNonstrict("the memory of the programs cannot be seen")
	}
	return f.Pass()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
