package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/capture/pcapng"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

// asKernel is what would have been captured had the routers been of the kernel: no word of theirs, monitors in place of
// stations, and at the uplinks what was delivered to the routers' WAN devices.
func asKernel(tr *Trace) *Trace {
	k := &Trace{}
	add := func(kind, name string, p Packet, c pcapng.Comment) {
		iface := Interface{kind, name}
		n := slices.Index(k.Interfaces, iface)
		if n < 0 {
			n = len(k.Interfaces)
			k.Interfaces = append(k.Interfaces, iface)
		}
		p.Interface, p.Comment = n, c
		k.Packets = append(k.Packets, p)
	}
	last := map[uint64]Packet{} // as it was on the way down
	for i := range tr.Packets {
		p := tr.Packets[i]
		where, c := tr.where(&p), p.Comment
		switch where.Kind {
		case station:
			add(monitor, where.Name, p, pcapng.Comment{})
		case uplink:
			last[c.ID] = p
			add(uplink, where.Name, p, c)
		case router:
			if c.At == atInbound {
				came := last[c.ID]
				came.T, came.TTL = p.T, came.TTL-1
				add(uplink, where.Name, came, pcapng.Comment{ID: c.ID, Parent: c.Parent, At: atDelivered})
			}
		}
	}
	return k
}

// fates lists what became of every packet that a host sent: a line each, in a fixed order.
func fates(t testing.TB, tr *Trace, r Roles) []string {
	t.Helper()
	journeys, err := tr.Follow(r)
	check(t, err)
	var lines []string
	for _, j := range journeys {
		end := "in flight"
		if at, ok := j.Delivered(); ok {
			end = fmt.Sprintf("to %s at %v", j.receiver(), at)
		} else if j.Drop != "" {
			end = "dropped: " + j.Drop + " at " + j.lastDrop().Node
		}
		line := fmt.Sprintf("%v %s %v→%v %x", j.Start(), j.sender(), j.Src, j.Dst, j.payload[:min(len(j.payload), 8)])
		for _, s := range j.Steps {
			if s.Src != (pcapng.Change{}) {
				line += fmt.Sprintf(" %v→%v", s.Src.Old, s.Src.New)
			}
			if s.Dst != (pcapng.Change{}) {
				line += fmt.Sprintf(" to %v→%v", s.Dst.Old, s.Dst.New)
			}
		}
		lines = append(lines, line+" "+end)
	}
	slices.Sort(lines)
	return lines
}

// TestInferenceAgrees: from what monitors and uplinks saw, the inference finds the translations, drops and reasons that
// the tables gave, for all nine pairs of mapping and filtering, idle times beyond the mappings' life, and lossy links.
func TestInferenceAgrees(t *testing.T) {
	deps := []nat.Dependency{nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent}
	reasons := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		behavior := func(who string) nat.Behavior {
			return nat.Behavior{
				Mapping: rapid.SampledFrom(deps).Draw(rt, who+" mapping"), Filtering: rapid.SampledFrom(deps).Draw(rt, who+" filtering"),
				PortAssignment: nat.PortRandom, UDPTimeout: 30 * time.Second, InboundRefresh: rapid.Bool().Draw(rt, who+" inbound refresh"),
			}
		}
		c := playConfig{viewer: behavior("viewer"), camera: behavior("camera"), seed: rapid.Uint64().Draw(rt, "seed")}
		c.link = link.Impairment{Delay: 10 * ms1, Loss: rapid.SampledFrom([]float64{0, 0.2}).Draw(rt, "loss")}
		p := newPlay(t, c)
		randomTraffic(rt, p)
		tr := p.trace()
		exact, inferred := fates(t, tr, roles(c)), fates(t, asKernel(tr), roles(c))
		if d := gocmp.Diff(exact, inferred); d != "" {
			rt.Fatalf("fates (-exact +inferred):\n%s", d)
		}
		journeys, _ := tr.Follow(roles(c))
		for _, j := range journeys {
			reasons[j.Drop]++
		}
	})
	for _, want := range []string{"", "lost", "filtered", "no mapping", "expired"} {
		if reasons[want] == 0 {
			t.Errorf("no packet was dropped for %q: the test tests too little (%v)", want, reasons)
		}
	}
}

// randomTraffic lets hosts send to each other's mappings, and beside them, with pauses.
func randomTraffic(rt *rapid.T, p *play) {
	targets := []netip.AddrPort{rendezvousEnd, netip.AddrPortFrom(rendezvousEnd.Addr(), 4434)}
	p.react["rendezvous"] = func(p *play, from netip.AddrPort, b []byte) {
		if !slices.Contains(targets, from) {
			targets = append(targets, from, netip.AddrPortFrom(from.Addr(), from.Port()^1))
		}
	}
	for i := range rapid.IntRange(1, 60).Draw(rt, "packets") {
		host := rapid.SampledFrom([]string{"viewer", "camera", "rendezvous"}).Draw(rt, "host")
		pause := rapid.SampledFrom([]time.Duration{time.Millisecond, 5 * ms1, 50 * ms1, time.Second, 29 * time.Second, 31 * time.Second}).Draw(rt, "pause")
		if p.now+pause > memory { // a table forgets ended mappings about then
			pause = time.Millisecond
		}
		p.run(p.now + pause)
		to := targets[rapid.IntRange(0, 1<<20).Draw(rt, "to")%len(targets)]
		if to.Addr() == map[string]netip.Addr{"viewer": viewerWAN, "camera": cameraWAN, "rendezvous": rendezvousEnd.Addr()}[host] {
			continue
		}
		port := p.ends[host].Port() + uint16(rapid.IntRange(0, 1).Draw(rt, "port"))
		// Some again, as retransmissions are, and to other ports.
		p.sendFrom(host, port, to, binary.BigEndian.AppendUint64(nil, uint64(i/4)<<32|uint64(port)))
	}
	p.run(p.now + time.Second)
	p.send("viewer", rendezvousEnd, []byte("the last packet, so that the one before is not at the end"))
	p.run(p.now + time.Second)
}

// TestCopiesToSeveralPorts: of copies of one datagram that come at once the mappings tell which one passed.
func TestCopiesToSeveralPorts(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "port-restricted-cone")}
	c.link.Delay = 10 * ms1
	for _, dropped := range []int{0, 1} {
		p := newPlay(t, c)
		var mapped []netip.AddrPort
		p.react["rendezvous"] = func(_ *play, from netip.AddrPort, _ []byte) { mapped = append(mapped, from) }
		for i := range uint16(2) { // the rendezvous answers from 4433, which one of the two has not sent to
			to := netip.AddrPortFrom(rendezvousEnd.Addr(), rendezvousEnd.Port()+(i^uint16(dropped)))
			p.sendFrom("camera", cameraEnd.Port()+i, to, []byte{byte(i)})
			p.run(p.now + time.Second)
		}
		for _, to := range mapped {
			p.send("rendezvous", to, []byte("the same"))
		}
		p.run(p.now + time.Second)
		p.send("camera", rendezvousEnd, []byte("the last packet"))
		p.run(p.now + time.Second)
		tr := p.trace()
		exact, inferred := fates(t, tr, roles(c)), fates(t, asKernel(tr), roles(c))
		if d := gocmp.Diff(exact, inferred); d != "" {
			t.Errorf("fates where the camera's port %d is closed (-exact +inferred):\n%s", dropped, d)
		}
	}
}
