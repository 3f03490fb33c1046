package netfilter_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
)

// bench is one home and the core, with a plain UDP socket on each of the server's endpoints.
type bench struct {
	*site
	core   *netns.NS
	server [2][2]*sock
}

func newBench(t *testing.T, hosts int) *bench {
	core := newCore(t)
	b := &bench{site: newSite(t, core, wanA, "10.0", hosts), core: core}
	for i, a := range serverAddrs {
		for j, p := range serverPorts {
			b.server[i][j] = open(t, core, a.String(), p)
		}
	}
	return b
}

// seen returns the external ports of n fresh sockets of a host.
func (b *bench) seen(host, n int) (ports []uint16) {
	b.t.Helper()
	for range n {
		ports = append(ports, b.host(host, 0).reaches(b.server[0][0].addr, b.server[0][0]).Port())
	}
	return ports
}

// eif is the laxest translator with that port assignment.
func eif(p nat.PortAssignment) nat.Behavior {
	return nat.Behavior{Mapping: nat.EndpointIndependent, Filtering: nat.EndpointIndependent, PortAssignment: p}
}

func TestPortPreservation(t *testing.T) {
	b := newBench(t, 2)
	b.install(eif(nat.PortPreservation))
	srv := b.server[0][0]
	x, y := b.host(0, 5000), b.host(1, 5000)
	atX, atY := x.reaches(srv.addr, srv), y.reaches(srv.addr, srv)
	if atX.Port() != 5000 {
		t.Errorf("first host's port 5000 became %d", atX.Port())
	}
	if p := atY.Port(); p < nat.DefaultPortMin || p > nat.DefaultPortMax {
		t.Errorf("second host's port 5000, which is taken, became %d: want one of the range", p)
	}
	srv.reaches(atX, x)
	srv.reaches(atY, y)
}

func TestPortOverloading(t *testing.T) {
	b := newBench(t, 2)
	behavior := eif(nat.PortPreservation)
	behavior.PortOverloading = true
	b.install(behavior)
	srv := b.server[0][0]
	x, y := b.host(0, 5000), b.host(1, 5000)
	for _, owner := range []*sock{x, y, x, y} {
		if p := owner.reaches(srv.addr, srv).Port(); p != 5000 {
			t.Fatalf("port 5000 became %d", p)
		}
		srv.reaches(at(wanA+".2", 5000), owner)
	}
}

func TestPortSequential(t *testing.T) {
	b := newBench(t, 1)
	for step, want := range map[int][]uint16{1: {30000, 30001, 30002, 30003}, 3: {30000, 30003, 30006, 30009}} {
		behavior := eif(nat.PortSequential)
		behavior.PortMin, behavior.PortMax, behavior.PortStep = 30000, 30100, step
		r := b.install(behavior)
		for range 2 {
			if d := cmp.Diff(want, b.seen(0, 4)); d != "" {
				t.Errorf("step %d (-want +got):\n%s", step, d)
			}
			must(t, r.Reset(1)) // the order starts again
		}
	}
	symmetric := preset(t, "symmetric-sequential")
	b.install(symmetric)
	var got []uint16
	s := b.host(0, 0)
	for _, row := range b.server {
		for _, srv := range row {
			got = append(got, s.reaches(srv.addr, srv).Port())
		}
	}
	if d := cmp.Diff([]uint16{20000, 20001, 20002, 20003}, got); d != "" {
		t.Errorf("one socket to four remotes (-want +got):\n%s", d)
	}
}

func TestPortRandomIsSeeded(t *testing.T) {
	b := newBench(t, 1)
	behavior := eif(nat.PortRandom)
	behavior.PortMin, behavior.PortMax = 1024, 65535
	r := b.install(behavior)
	const n = 60
	runs := map[uint64][]uint16{}
	for _, seed := range []uint64{1, 2, 1, 2, 1 << 40} {
		must(t, r.Reset(seed))
		got := b.seen(0, n)
		if before, ok := runs[seed]; ok && !slices.Equal(before, got) {
			t.Errorf("seed %d gave another order the second time:\n%v\n%v", seed, before, got)
		}
		runs[seed] = got
	}
	if slices.Equal(runs[1], runs[2]) || slices.Equal(runs[1], runs[1<<40]) {
		t.Error("two seeds gave one order")
	}
	all := append(runs[1], runs[2]...)
	low, high := slices.Min(all), slices.Max(all)
	steps := 0
	for i := range n - 1 {
		if runs[1][i+1] == runs[1][i]+1 {
			steps++
		}
	}
	if low > 8000 || high < 58000 || steps > 3 {
		t.Errorf("ports from %d to %d with %d sequential steps do not look random", low, high, steps)
	}
	must(t, r.Apply(behavior, 2))
	if got := b.seen(0, n); !slices.Equal(got, runs[2]) {
		t.Errorf("Apply with seed 2 gave another order than Reset with seed 2")
	}
}

func TestPortBlock(t *testing.T) {
	b := newBench(t, 2)
	behavior := eif(nat.PortBlock)
	behavior.PortMin, behavior.PortMax, behavior.PortBlockSize = 2048, 6143, 64
	r := b.install(behavior)
	check := func() {
		t.Helper()
		for host := range 2 {
			low := uint16(2048 + 64*host)
			got := b.seen(host, 12)
			for _, p := range got {
				if p < low || p >= low+64 {
					t.Errorf("host %d has ports %v outside its block from %d", host, got, low)
				}
			}
			slices.Sort(got)
			if len(slices.Compact(got)) != 12 {
				t.Errorf("host %d has one port twice", host)
			}
		}
	}
	check()
	must(t, r.Reset(7))
	check()
}

// A range that is used up drops new flows and keeps the old ones.
func TestPortsExhausted(t *testing.T) {
	b := newBench(t, 1)
	behavior := eif(nat.PortSequential)
	behavior.PortMin, behavior.PortMax = 30000, 30003
	b.install(behavior)
	srv := b.server[0][0]
	first := b.host(0, 0)
	at := first.reaches(srv.addr, srv)
	b.seen(0, 3)
	b.host(0, 0).misses(srv.addr, srv)
	if again := first.reaches(srv.addr, srv); again != at {
		t.Errorf("old flow moved from %v to %v", at, again)
	}
}

func TestPooling(t *testing.T) {
	b := newBench(t, 2)
	external := []string{wanA + ".2", wanA + ".3", wanA + ".4"}
	for _, a := range external[1:] {
		addAddr(t, b.ns, "wan0", a+"/24")
	}
	srv := b.server[0][0]
	addresses := func(host, n int) (seen []string) {
		for range n {
			s := b.host(host, 0)
			m := s.reaches(srv.addr, srv)
			srv.reaches(m, s)
			if a := m.Addr().String(); !slices.Contains(seen, a) {
				seen = append(seen, a)
			}
		}
		return seen
	}
	behavior := eif(nat.PortRandom)
	r := b.install(behavior, external...)
	for range 2 {
		for host, want := range external[:2] {
			if d := cmp.Diff([]string{want}, addresses(host, 8)); d != "" {
				t.Errorf("paired, host %d (-want +got):\n%s", host, d)
			}
		}
		must(t, r.Reset(3))
	}
	behavior.Pooling = nat.Arbitrary
	must(t, r.Apply(behavior, 1))
	if got := addresses(0, 40); len(got) != 3 {
		t.Errorf("arbitrary pooling: 40 flows have the addresses %v, want all of %v", got, external)
	}
}
