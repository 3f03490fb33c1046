package netfilter_test

import (
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

var benchmarked = []string{"full-cone", "symmetric", "cgn-port-block", "linux", "firewall"}

func benchConfig(b *testing.B, name string) netfilter.Config {
	behavior, ok := nat.Lookup(name)
	if !ok {
		b.Fatalf("no preset %q", name)
	}
	return netfilter.Config{
		LAN: "lan*", WAN: "wan0", LANPrefix: netip.MustParsePrefix(lanPrefix), Behavior: behavior, Seed: 1,
		External: []netip.Addr{netip.MustParseAddr(wanA + ".2")},
	}
}

func BenchmarkInstall(b *testing.B) {
	for _, name := range benchmarked {
		b.Run(name, func(b *testing.B) {
			ns := newCore(b)
			for b.Loop() {
				r, err := netfilter.Install(ns, benchConfig(b, name))
				must(b, err)
				b.StopTimer() // closing the netlink connection waits for the kernel
				must(b, r.Close())
				b.StartTimer()
			}
		})
	}
}

func benchRouter(b *testing.B, name string, f func(r *netfilter.Router) error) {
	r, err := netfilter.Install(newCore(b), benchConfig(b, name))
	must(b, err)
	defer r.Close()
	for b.Loop() {
		must(b, f(r))
	}
}

func BenchmarkApply(b *testing.B) {
	for _, name := range benchmarked {
		behavior, _ := nat.Lookup(name)
		b.Run(name, func(b *testing.B) {
			benchRouter(b, name, func(r *netfilter.Router) error { return r.Apply(behavior, 1) })
		})
	}
}

// BenchmarkReset forgets what one flow has left behind.
func BenchmarkReset(b *testing.B) {
	for _, name := range benchmarked {
		b.Run(name, func(b *testing.B) {
			core := newCore(b)
			home := newSite(b, core, wanA, "10.0", 1)
			behavior, _ := nat.Lookup(name)
			r := home.install(behavior)
			c := home.host(0, 0)
			for b.Loop() {
				b.StopTimer()
				c.send(at("198.51.100.1", 3478))
				b.StartTimer()
				must(b, r.Reset(1))
			}
		})
	}
}
