package lab_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/probe"
)

// The nine pairs of RFC 4787 by preset, and what two programs that others wrote call them. Debian's stun (RFC 3489) looks at
// filters only behind independent mappings.
var nine = []struct{ preset, stun string }{
	{"full-cone", "Independent Mapping, Independent Filter"},
	{"restricted-cone", "Independent Mapping, Address Dependent Filter"},
	{"port-restricted-cone", "Independent Mapping, Port Dependent Filter"},
	{"adm-eif", "Dependent Mapping"}, {"adm-adf", "Dependent Mapping"}, {"adm-apdf", "Dependent Mapping"},
	{"apdm-eif", "Dependent Mapping"}, {"apdm-adf", "Dependent Mapping"}, {"symmetric", "Dependent Mapping"},
}

var natdiscoveryWords = map[nat.Dependency]string{
	nat.EndpointIndependent:     "Endpoint Independent",
	nat.AddressDependent:        "Address Dependent",
	nat.AddressAndPortDependent: "Address and Port Dependent",
}

// TestStrangersAgreeInsideTheLab runs both inside the camera's host, through a router of each engine, the fabric and the
// probe's server. Both wait most of the time: all labs are up at once.
func TestStrangersAgreeInsideTheLab(t *testing.T) {
	t.Parallel()
	netnstest.Require(t, "stun", "turnutils_natdiscovery")
	f := startFabric(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, engine := range lab.RouterEngines() {
		for _, n := range nine {
			topo := on(t, engine, "two-homes", "camera.nat", n.preset, "link", "lan")
			l := up(t, f, topo)
			rv := l.Host("rendezvous")
			listen := func(network, address string) (c net.PacketConn, err error) {
				err = rv.Do(func() (err error) { c, err = net.ListenPacket(network, address); return err })
				return c, err
			}
			server, err := probe.NewServer(listen, [2]netip.Addr{rv.Addrs[0], rv.Addrs[1]}, [2]uint16{3478, 3479})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Close() })
			wg.Go(func() { opinions(t, l, engine+", "+n.preset, n.stun, topo.Site("camera").Behavior) })
		}
	}
}

func opinions(t *testing.T, l *lab.Lab, name, stun string, b nat.Behavior) {
	m := l.Host("camera")
	server := l.Host("rendezvous").Addr().String()
	if said := output(m, "stun", server); !strings.Contains(said, "Primary: "+stun) {
		t.Errorf("%s: stun says\n%s\nwant %q", name, said, stun)
	}
	if err := l.Reset(2); err != nil {
		t.Error(err)
		return
	}
	said := output(m, "turnutils_natdiscovery", "-m", "-f", "-L", m.Addr().String(), server)
	for _, want := range []string{
		"NAT with " + natdiscoveryWords[b.Mapping] + " Mapping!", "NAT with " + natdiscoveryWords[b.Filtering] + " Filtering!",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%s: turnutils_natdiscovery says\n%s\nwant %q", name, said, want)
		}
	}
}

// patience is for a program that should have ended long ago.
const patience = 30 * time.Second

// output runs a program on a host. Its exit code is not looked at: stun's is its verdict.
func output(m *lab.Machine, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := m.Start(cmd); err != nil {
		return fmt.Sprint(err)
	}
	_ = cmd.Wait()
	return out.String()
}
