package classify

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

var dependencies = []wire.Dependency{wire.EndpointIndependent, wire.AddressDependent, wire.AddressAndPortDependent}

// models are the port models that every mapping and filtering is tried with.
var models = []struct {
	name string
	natConfig
}{
	{"preserved", natConfig{ports: wire.PortsPreserved}},
	{"sequential", natConfig{ports: wire.PortsSequential, step: 1}},
	{"sequential, by 2 down, wraps", natConfig{ports: wire.PortsSequential, step: -2, low: 20000, high: 20099}},
	{"sequential, cross traffic", natConfig{ports: wire.PortsSequential, step: 1, cross: 3}},
	{"random", natConfig{ports: wire.PortsRandom}},
	{"block", natConfig{ports: wire.PortsBlock, low: 30720, high: 31743}},
	{"block, not aligned", natConfig{ports: wire.PortsBlock, low: 20500, high: 21499}},
}

// check compares what was found out with the NAT.
func check(n natConfig, r wire.Class) error {
	want := wire.Class{Mapping: n.mapping, Filtering: n.filtering, Ports: n.ports, Hairpin: n.hairpin && r.Hairpin, Step: r.Step, BlockStart: r.BlockStart, BlockSize: r.BlockSize}
	if n.mapping == 0 {
		want.Mapping, want.NoNAT, want.Ports, want.Hairpin = wire.EndpointIndependent, true, wire.PortsPreserved, true
	}
	if n.filtering == 0 {
		want.Filtering = wire.EndpointIndependent
	}
	if n.ports == wire.PortsSequential && (r.Step == 0 || int(r.Step)%n.step != 0 || (r.Step > 0) != (n.step > 0)) {
		return fmt.Errorf("step %d, want %d", r.Step, n.step)
	}
	if n.ports == wire.PortsSequential && n.cross == 0 && int(r.Step) != n.step {
		return fmt.Errorf("step %d, want %d", r.Step, n.step)
	}
	if r != want {
		return fmt.Errorf("got %v, want %v", r, want)
	}
	return nil
}

// Every mapping, filtering and port model, with and without loss and jitter: what is found out, how often, and how long
// it takes.
func TestEveryNAT(t *testing.T) {
	for _, link := range []struct {
		name   string
		loss   float64
		jitter time.Duration
		most   time.Duration // of a classification, p99
		wrong  int           // of 1000
	}{
		{"clean", 0, 0, 250 * time.Millisecond, 0},
		{"jitter of 15 ms", 0, 15 * time.Millisecond, 300 * time.Millisecond, 2},
		{"10 % loss", 0.1, 0, 1200 * time.Millisecond, 10},
		{"10 % loss, jitter of 15 ms", 0.1, 15 * time.Millisecond, 1200 * time.Millisecond, 10},
	} {
		t.Run(link.name, func(t *testing.T) {
			var all []time.Duration
			wrong := map[string]int{}
			examples := map[string]error{}
			runs := 0
			for _, m := range dependencies {
				for _, f := range dependencies {
					for _, ports := range models {
						n := ports.natConfig
						n.mapping, n.filtering, n.hairpin = m, f, f == wire.EndpointIndependent
						for seed := range uint64(20) {
							w := newWorld(t, n, seed*31+uint64(m)*7+uint64(f))
							w.loss, w.jitter = link.loss, link.jitter
							r, took := w.run()
							runs++
							all = append(all, took)
							if n.ports != wire.PortsBlock && n.ports != wire.PortsSequential || m != wire.EndpointIndependent {
								if err := check(n, r); err != nil {
									wrong[ports.name]++
									examples[ports.name] = fmt.Errorf("mapping %v, filtering %v: %w", m, f, err)
								}
							}
						}
					}
				}
			}
			total := 0
			for name, n := range wrong {
				total += n
				t.Logf("%s: %d wrong, such as %v", name, n, examples[name])
			}
			slices.Sort(all)
			p99 := all[len(all)*99/100]
			t.Logf("%d classifications, %d wrong; median %v, p99 %v, longest %v", runs, total, all[len(all)/2], p99, all[len(all)-1])
			if total*1000 > link.wrong*runs {
				t.Errorf("%d of %d wrong", total, runs)
			}
			if p99 > link.most {
				t.Errorf("p99 %v, want at most %v", p99, link.most)
			}
		})
	}
}

// Hosts without a NAT, and behind a firewall, are told from others: by the address a socket is bound to, or by those that
// the owner names.
func TestNoNAT(t *testing.T) {
	for _, filtering := range []wire.Dependency{0, wire.AddressAndPortDependent} {
		for _, wild := range []bool{false, true} {
			w := newWorld(t, natConfig{filtering: filtering}, 1)
			if w.wild = wild; wild {
				w.c.cfg.Host = []netip.Addr{external}
			}
			r, _ := w.run()
			if err := check(w.nat, r); err != nil {
				t.Errorf("filtering %v, bound to 0.0.0.0: %v: %v", filtering, wild, err)
			}
		}
	}
	w := newWorld(t, natConfig{mapping: wire.EndpointIndependent, filtering: wire.EndpointIndependent, ports: wire.PortsPreserved}, 1)
	w.c.cfg.Host = []netip.Addr{host}
	if r, _ := w.run(); r.NoNAT || w.c.Reflexive().Addr() != external {
		t.Errorf("a NAT that keeps ports: %v, appears from %v", r, w.c.Reflexive())
	}
}

// Hairpinning is seen where the NAT has it, with loss as well.
func TestHairpin(t *testing.T) {
	missed := 0
	for _, loss := range []float64{0, 0.1} {
		for seed := range uint64(50) {
			for _, hairpin := range []bool{false, true} {
				w := newWorld(t, natConfig{mapping: wire.EndpointIndependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsRandom, hairpin: hairpin}, seed)
				w.loss, w.lan = loss, loss/2
				r, _ := w.run()
				switch {
				case r.Hairpin == hairpin:
				case hairpin && loss > 0: // a socket never got an answer
					missed++
				default:
					t.Errorf("loss %v, seed %d: hairpin %v, want %v", loss, seed, r.Hairpin, hairpin)
				}
			}
		}
	}
	if missed > 1 {
		t.Errorf("missed %d times in 50", missed)
	}
}

// Loss between host and NAT leaves it open which mapping was made first: the sequence is seen nevertheless.
func TestLossBeforeTheNAT(t *testing.T) {
	wrong := 0
	for seed := range uint64(200) {
		w := newWorld(t, natConfig{mapping: wire.AddressAndPortDependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsSequential, step: 1, cross: 1}, seed)
		w.lan = 0.1
		if r, _ := w.run(); check(w.nat, r) != nil {
			wrong++
		}
	}
	if wrong > 4 {
		t.Errorf("%d of 200 wrong", wrong)
	}
}

// A server with one address says less, and what it cannot say is left unknown.
func TestOneAddress(t *testing.T) {
	for _, m := range dependencies {
		w := newWorld(t, natConfig{mapping: m, filtering: wire.EndpointIndependent, ports: wire.PortsRandom, hairpin: true}, 3)
		w.server.alone = true
		r, took := w.run()
		if want := (wire.Class{Ports: wire.PortsRandom, Hairpin: m == wire.EndpointIndependent || r.Hairpin}); r != want || took > 300*time.Millisecond {
			t.Errorf("mapping %v: %v after %v, want %v", m, r, took, want)
		}
		if w.sent[netip.AddrPortFrom(servers[1], 3478)]+w.sent[netip.AddrPortFrom(servers[1], 3479)] > 0 {
			t.Error("asked an address that nobody named")
		}
		w = newWorld(t, w.nat, 3)
		w.server.alone = true
		w.c.cfg.Others = []netip.AddrPort{netip.AddrPortFrom(servers[0], 3479), netip.AddrPortFrom(servers[1], 3478)}
		r, _ = w.run()
		if want := m == wire.EndpointIndependent; (r.Mapping == wire.EndpointIndependent) != want || r.Mapping > wire.EndpointIndependent {
			t.Errorf("mapping %v with another address: %v", m, r.Mapping)
		}
	}
}

// A server that ignores CHANGE-REQUEST passes no filter.
func TestIgnoredChangeRequest(t *testing.T) {
	w := newWorld(t, natConfig{mapping: wire.EndpointIndependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsRandom}, 5)
	w.server.obstinat = true
	if r, _ := w.run(); r.Filtering != 0 || r.Mapping != wire.EndpointIndependent {
		t.Errorf("%v", r)
	}
}

// OTHER-ADDRESS is the server's word alone: it leads nowhere but to a like address, and few packets go there.
func TestOtherAddress(t *testing.T) {
	for _, s := range []string{"198.51.100.1:3479", "192.168.1.1:3479", "127.0.0.1:53", "198.51.100.2:3478", "224.0.0.1:53", "0.0.0.0:53", "[2001:db8::1]:53", "169.254.1.1:53", "198.51.100.2:0"} {
		w := newWorld(t, natConfig{mapping: wire.EndpointIndependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsRandom}, 5)
		w.server.other = netip.MustParseAddrPort(s)
		w.run()
		for to := range w.sent {
			if to != s00 && to.Addr() != external {
				t.Errorf("OTHER-ADDRESS %s: sent to %v", s, to)
			}
		}
	}
	w := newWorld(t, natConfig{mapping: wire.AddressAndPortDependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsRandom}, 5)
	w.server.other = netip.MustParseAddrPort("192.0.2.77:53") // a victim
	r, took := w.run()
	for to, n := range w.sent {
		if to.Addr() == w.server.other.Addr() && n > tries {
			t.Errorf("%d packets to %v", n, to)
		}
	}
	if r.Mapping != wire.AddressAndPortDependent || took > 3*time.Second {
		t.Errorf("%v after %v", r, took)
	}
}

// What ends a classification without a result: blocked UDP, refused sockets, a bad configuration, Cancel. Sockets never stay.
func TestEnds(t *testing.T) {
	full := natConfig{mapping: wire.EndpointIndependent, filtering: wire.EndpointIndependent, ports: wire.PortsRandom}
	w := newWorld(t, full, 1)
	w.loss = 1
	r, took := w.run()
	if !errors.Is(w.c.Err(), ErrNoAnswer) || r != (wire.Class{}) || took > 2*time.Second || len(w.closed) != Sockets {
		t.Errorf("blocked: %v after %v, %v; %d sockets closed", r, took, w.c.Err(), len(w.closed))
	}
	w = newWorld(t, full, 1)
	w.refuse = errors.New("none left")
	if w.run(); !errors.Is(w.c.Err(), ErrSockets) || !errors.Is(w.c.Err(), w.refuse) || len(w.closed) != 0 {
		t.Errorf("refused: %v", w.c.Err())
	}
	for name, c := range map[string]Config{"no server": {Rand: random(1)}, "no randomness": {Server: s00}, "exhausted": {Server: s00, Rand: bytes.NewReader(nil)}} {
		w := newWorld(t, full, 1)
		w.c.cfg = c
		if w.run(); !errors.Is(w.c.Err(), ErrConfig) || w.opens != len(w.closed) {
			t.Errorf("%s: %v; %d sockets opened, %d closed", name, w.c.Err(), w.opens, len(w.closed))
		}
	}
	w = newWorld(t, full, 1)
	w.c.Start(w.now)
	w.c.Cancel(w.now)
	w.drain()
	if _, done := w.c.Result(); !done || !errors.Is(w.c.Err(), ErrCancel) || w.opens != Sockets || len(w.closed) != Sockets || !w.c.Deadline().IsZero() {
		t.Errorf("cancelled: %v; %d sockets opened, %d closed", w.c.Err(), w.opens, len(w.closed))
	}
	w.run()
	w = newWorld(t, full, 1)
	w.run()
	if len(w.closed) != Sockets || w.c.Err() != nil || w.c.Handle(w.now, s00, netip.AddrPortFrom(host, 1), nil) {
		t.Errorf("over: %d sockets closed, %v", len(w.closed), w.c.Err())
	}
}

// Blocks are found where they are, with ends that are not far off.
func TestBlocks(t *testing.T) {
	for _, b := range [][2]int{{1024, 2047}, {30720, 31743}, {64512, 65535}, {4096, 8191}, {2048, 2111}, {20500, 21499}, {32000, 33000}} {
		within := 0
		for seed := range uint64(100) {
			n := natConfig{mapping: wire.AddressAndPortDependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsBlock, low: b[0], high: b[1]}
			r, _ := newWorld(t, n, seed).run()
			start, end := int(r.BlockStart), int(r.BlockStart)+int(r.BlockSize)-1
			size := b[1] - b[0] + 1
			covered := min(end, b[1]) - max(start, b[0]) + 1
			if r.Ports == wire.PortsBlock && covered*10 >= size*8 && int(r.BlockSize) <= 2*size+minBlock {
				within++
			}
		}
		if within < 95 {
			t.Errorf("block %v: %d of 100 found", b, within)
		}
	}
}
