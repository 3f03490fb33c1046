package netfilter_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
)

// timeout reads one of a namespace's conntrack timeouts.
func timeout(t *testing.T, ns *netns.NS, key string) (seconds string) {
	t.Helper()
	must(t, ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + key)
		seconds = strings.TrimSpace(string(b))
		return err
	}))
	return seconds
}

// TestConntrackTimeouts follows the settings from behavior to behavior; what one does not ask for is as it was.
func TestConntrackTimeouts(t *testing.T) {
	b := newBench(t, 1)
	usual := map[string]string{}
	keys := []string{"udp_timeout", "udp_timeout_stream", "tcp_timeout_established", "tcp_timeout_fin_wait", "tcp_timeout_close"}
	for _, key := range keys {
		usual[key] = timeout(t, b.ns, key)
	}
	cone, masq := preset(t, "full-cone"), preset(t, "linux")
	cone.TCPEstablished, cone.TCPTransitory = 100*time.Second, 20*time.Second
	masq.UDPTimeout = 7 * time.Second
	for _, step := range []struct {
		behavior nat.Behavior
		want     map[string]string
	}{
		{cone, map[string]string{"tcp_timeout_established": "100", "tcp_timeout_fin_wait": "20"}}, // close is below it already
		{masq, map[string]string{"udp_timeout": "7", "udp_timeout_stream": "7"}},
		{preset(t, "linux"), nil},
		{preset(t, "full-cone"), map[string]string{"tcp_timeout_established": "7440"}},
	} {
		b.install(step.behavior)
		for _, key := range keys {
			want, changed := step.want[key]
			if !changed {
				want = usual[key]
			}
			if got := timeout(t, b.ns, key); got != want {
				t.Errorf("%v: %s is %s, want %s", step.behavior, key, got, want)
			}
		}
	}
}

// TestTCPLifetimes looks at how long the table would keep a mapping: the transitory timeout before its connection is
// established, the long one after (RFC 5382 REQ-5).
func TestTCPLifetimes(t *testing.T) {
	b := newBench(t, 1)
	behavior := preset(t, "port-restricted-cone")
	behavior.TCPEstablished, behavior.TCPTransitory = 100*time.Second, 20*time.Second
	b.install(behavior)
	left := func() (least, most time.Duration) {
		t.Helper()
		conn, err := nftables.New(nftables.WithNetNSFd(b.ns.FD()))
		must(t, err)
		least = time.Hour
		for _, name := range []string{"fwd_tcp", "rev_tcp", "filter_tcp"} {
			set, err := conn.GetSetByName(&nftables.Table{Name: "punchlab", Family: nftables.TableFamilyIPv4}, name)
			must(t, err)
			elements, err := conn.GetSetElements(set)
			must(t, err)
			if len(elements) != 1 {
				t.Fatalf("%s has %d elements", name, len(elements))
			}
			least, most = min(least, elements[0].Expires), max(most, elements[0].Expires)
		}
		return least, most
	}
	nobody := at(wanA+".99", 81) // no host has the address, so the SYN gets no answer
	if err := dialTCP(b.hosts[0], "10.0.0.2", nobody, 100*time.Millisecond); err == nil {
		t.Fatal("somebody answered")
	}
	if _, most := left(); most > 20*time.Second {
		t.Errorf("not established: the table forgets after %v, want at most 20 s", most)
	}
	must(t, b.router.Reset(1))
	var l net.Listener
	must(t, b.core.Do(func() (err error) { l, err = net.Listen("tcp4", "198.51.100.1:81"); return err }))
	defer l.Close()
	c, err := dial(b.hosts[0], at("10.0.0.2", 9800), at("198.51.100.1", 81), comes)
	must(t, err)
	defer c.Close()
	least, most := left()
	for end := time.Now().Add(comes); least <= 20*time.Second && time.Now().Before(end); { // the kernel tells of a connection before it acknowledges it
		least, most = left()
	}
	if least <= 20*time.Second || most > 100*time.Second {
		t.Errorf("established: the table forgets after %v to %v, want between 20 s and 100 s", least, most)
	}
}
