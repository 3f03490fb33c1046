package netfilter_test

import (
	"fmt"
	"testing"

	"github.com/punchlab/punchlab/lab/agree"

	"github.com/punchlab/punchlab/lab/nat"
)

// Each of these packets is verified with every checksum in it, those of a quote too (RFC 5508 REQ-4, REQ-5).
func TestICMPErrorChecksums(t *testing.T) {
	for _, name := range []string{"full-cone", "symmetric", "linux"} {
		t.Run(name, func(t *testing.T) {
			r := newRawRouter(t, sequential(preset(t, name)))
			ext := "203.0.113.2:20000"
			if name != "symmetric" {
				ext = "203.0.113.2:5000"
			}
			const inner, server = "192.168.1.2:5000", "198.51.100.1:3478"
			for _, csum := range []string{"", " nocsum"} {
				r.out("udp "+inner+" > "+server+csum, "udp "+ext+" > "+server+csum)
				for _, kind := range []string{"unreachable", "ttl", "toobig=1280"} {
					r.in("icmp 192.0.2.9 > 203.0.113.2 "+kind+" about (udp "+ext+" > "+server+csum+")",
						"icmp 192.0.2.9 > 192.168.1.2 "+kind+" about (udp "+inner+" > "+server+csum+")")
				}
				r.in("udp "+server+" > "+ext+csum, "udp "+server+" > "+inner+csum)
				for _, kind := range []string{"unreachable", "ttl", "toobig=1280"} {
					r.out("icmp 192.168.1.2 > 198.51.100.1 "+kind+" about (udp "+server+" > "+inner+csum+")",
						"icmp 203.0.113.2 > 198.51.100.1 "+kind+" about (udp "+server+" > "+ext+csum+")")
				}
			}
			// What quotes no packet of ours goes nowhere, and shows no internal address (RFC 5508 REQ-4, REQ-5).
			r.in("icmp 192.0.2.9 > 203.0.113.2 unreachable about (udp 203.0.113.2:9 > 198.51.100.1:3478)", "")
			if name != "linux" {
				r.out("icmp 192.168.1.2 > 198.51.100.1 unreachable about (udp "+server+" > 192.168.1.2:9)", "")
				r.out("gre 192.168.1.2 > 198.51.100.1", "")
			}
		})
	}
}

// sequential makes ports known beforehand.
func sequential(b nat.Behavior) nat.Behavior {
	if b.PortAssignment == nat.PortRandom {
		b.PortAssignment = nat.PortSequential
	}
	return b
}

// TestOwnErrors has the router itself refuse packets that it has translated: too long for the LAN, or out of hops.
func TestOwnErrors(t *testing.T) {
	for _, name := range []string{"full-cone", "symmetric", "firewall", "linux"} {
		t.Run(name, func(t *testing.T) {
			b := sequential(preset(t, name))
			r := newRawRouter(t, b)
			lan, err := r.NS.Netlink().LinkByName("lan0")
			must(t, err)
			must(t, r.NS.Netlink().LinkSetMTU(lan, 1280))
			ext := map[string]string{"full-cone": "203.0.113.2:5000", "symmetric": "203.0.113.2:20000", "firewall": "192.168.1.2:5000", "linux": "203.0.113.2:5000"}[name]
			const inner, server = "192.168.1.2:5000", "198.51.100.1:3478"
			r.out("udp "+inner+" > "+server, "udp "+ext+" > "+server)
			r.refused("udp "+server+" > "+ext+" df size=1400", "icmp 203.0.113.2 > 198.51.100.1 toobig=1280 about (udp "+server+" > "+ext+" size=520)")
			r.refused("udp "+server+" > "+ext+" ttl=1", "icmp 203.0.113.2 > 198.51.100.1 ttl about (udp "+server+" > "+ext+")")
			r.hairpin("udp "+inner+" > "+server+" ttl=1", "icmp 192.168.1.1 > 192.168.1.2 ttl about (udp "+inner+" > "+server+")")
			r.in("udp "+server+" > "+ext, "udp "+server+" > "+inner)
		})
	}
}

// A ping is translated without conntrack, by a mapping of its own kind (RFC 5508 REQ-1).
func TestPingIsMapped(t *testing.T) {
	r := newRawRouter(t, preset(t, "symmetric"))
	r.out("icmp 192.168.1.2 > 198.51.100.1 echo 7", "icmp 203.0.113.2 > 198.51.100.1 echo 7")
	r.out("icmp 192.168.1.2 > 198.51.100.2 echo 7", "icmp 203.0.113.2 > 198.51.100.2 echo 7")
	r.in("icmp 198.51.100.3 > 203.0.113.2 reply 7", "")
	r.out("icmp 192.168.1.3 > 198.51.100.3 echo 7", "icmp 203.0.113.2 > 198.51.100.3 echo 7")
	r.in("icmp 198.51.100.3 > 203.0.113.2 reply 7", "icmp 198.51.100.3 > 192.168.1.3 reply 7")
	must(t, r.LAN.Send(mustParse(t, "icmp 192.168.1.3 > 198.51.100.1 echo 7").Bytes(true)))
	b, err := r.WAN.Receive(comes)
	must(t, err)
	id := mustRead(t, b).ID
	if id == 7 {
		t.Fatal("two hosts have one identifier towards one remote")
	}
	other := fmt.Sprint(id)
	r.in("icmp 198.51.100.1 > 203.0.113.2 reply 7", "icmp 198.51.100.1 > 192.168.1.2 reply 7")
	r.in("icmp 198.51.100.1 > 203.0.113.2 reply "+other, "icmp 198.51.100.1 > 192.168.1.3 reply 7")
	r.in("icmp 198.51.100.2 > 203.0.113.2 reply "+other, "")
	r.in("icmp 192.0.2.9 > 203.0.113.2 ttl about (icmp 203.0.113.2 > 198.51.100.1 echo "+other+")",
		"icmp 192.0.2.9 > 192.168.1.3 ttl about (icmp 192.168.1.3 > 198.51.100.1 echo 7)")
	r.out("icmp 192.168.1.3 > 198.51.100.1 unreachable about (icmp 198.51.100.1 > 192.168.1.3 reply 7)",
		"icmp 203.0.113.2 > 198.51.100.1 unreachable about (icmp 198.51.100.1 > 203.0.113.2 reply "+other+")")
}

// An error about a hairpinned packet finds its sender (RFC 5508 REQ-7).
func TestErrorAboutHairpin(t *testing.T) {
	r := newRawRouter(t, preset(t, "full-cone"))
	r.out("udp 192.168.1.2:5000 > 198.51.100.1:3478", "udp 203.0.113.2:5000 > 198.51.100.1:3478")
	r.out("udp 192.168.1.3:6000 > 198.51.100.1:3478", "udp 203.0.113.2:6000 > 198.51.100.1:3478")
	r.hairpin("udp 192.168.1.2:5000 > 203.0.113.2:6000", "udp 203.0.113.2:5000 > 192.168.1.3:6000")
	r.hairpin("icmp 192.168.1.3 > 203.0.113.2 unreachable about (udp 203.0.113.2:5000 > 192.168.1.3:6000)",
		"icmp 203.0.113.2 > 192.168.1.2 unreachable about (udp 192.168.1.2:5000 > 203.0.113.2:6000)")
}

func TestICMPErrorsDropped(t *testing.T) {
	b := preset(t, "full-cone")
	b.ICMPErrors = nat.ICMPErrorsDropped
	r := newRawRouter(t, b)
	r.out("udp 192.168.1.2:5000 > 198.51.100.1:3478", "udp 203.0.113.2:5000 > 198.51.100.1:3478")
	r.in("icmp 192.0.2.9 > 203.0.113.2 unreachable about (udp 203.0.113.2:5000 > 198.51.100.1:3478)", "")
	r.out("icmp 192.168.1.2 > 198.51.100.1 unreachable about (udp 198.51.100.1:3478 > 192.168.1.2:5000)", "")
	r.in("udp 198.51.100.1:3478 > 203.0.113.2:5000", "udp 198.51.100.1:3478 > 192.168.1.2:5000")
}

func TestFragmentsDropped(t *testing.T) {
	for _, policy := range []nat.FragmentPolicy{nat.FragmentsAnyOrder, nat.FragmentsDropped} {
		b := preset(t, "full-cone")
		b.Fragments = policy
		r := newRawRouter(t, b)
		r.out("udp 192.168.1.2:5000 > 198.51.100.1:3478 size=600 id=3 frag=2/2", "")
		p, err := agree.ParsePacket("udp 192.168.1.2:5000 > 198.51.100.1:3478 size=600 id=3 frag=1/2")
		must(t, err)
		must(t, r.LAN.Send(p.Bytes(true)))
		first, err := r.WAN.Receive(20 * never)
		must(t, err)
		if passes := first != nil; passes != (policy == nat.FragmentsAnyOrder) {
			t.Errorf("fragments %v: passes %v", policy, passes)
		}
	}
}

// A packet that finds no free port is answered if the behavior says so (RFC 5508 REQ-8).
func TestExhausted(t *testing.T) {
	b := eif(nat.PortSequential)
	b.PortMin, b.PortMax, b.Exhausted = 30000, 30000, nat.ICMP
	r := newRawRouter(t, b)
	r.out("udp 192.168.1.2:5000 > 198.51.100.1:3478", "udp 203.0.113.2:30000 > 198.51.100.1:3478")
	r.hairpin("udp 192.168.1.2:5001 > 198.51.100.1:3478", "icmp 192.168.1.1 > 192.168.1.2 prohibited about (udp 192.168.1.2:5001 > 198.51.100.1:3478)")
}
