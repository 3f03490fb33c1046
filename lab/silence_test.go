package lab

import (
	"os"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// A pause changes nothing that outlasts it: a kernel router without IPv6 does not begin to forward it.
func TestSilenceLeavesTheRouterAsItWas(t *testing.T) {
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, mode := range []string{"none", "firewall"} {
		t.Run(mode, func(t *testing.T) {
			topo := &Topology{Name: "one", Sites: []Site{{Name: "home", NAT: "linux", IPv6: mode, Link: "lan", Hosts: []Host{{Name: "a"}}}}}
			if err := topo.Resolve(); err != nil {
				t.Fatal(err)
			}
			l, err := Up(f, topo, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			before := forwarding(t, l)
			undo, err := l.Do(Event{Do: DoReboot, Site: "home", For: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			if after := forwarding(t, l); after != before {
				t.Errorf("forwarding by IPv4 and IPv6 was %q, and is %q after a pause", before, after)
			}
		})
	}
}

// forwarding is what the kernel of the home's router forwards.
func forwarding(t *testing.T, l *Lab) (is [2]string) {
	t.Helper()
	err := l.sites["home"].kernel.Do(func() error {
		for i, family := range []string{"ipv4", "ipv6"} {
			b, err := os.ReadFile("/proc/sys/net/" + family + "/conf/all/forwarding")
			if err != nil {
				return err
			}
			is[i] = string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return is
}
