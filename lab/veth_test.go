package lab_test

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// Where no TUN device can be made the fabric uses veth pairs: topologies come up, events happen, and a capture of engine
// table is replayed, as anywhere.
func TestWithoutTUN(t *testing.T) {
	t.Parallel()
	netnstest.Require(t, "netns", "nftables")
	f, err := live.Start(live.Options{NoTUN: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, engine := range lab.RouterEngines() {
		for _, name := range []string{"two-homes", "cgn", "dual-stack", "same-lan"} {
			t.Run(name+"/"+engine, func(t *testing.T) {
				l := up(t, f, on(t, engine, name, "link", "lan"))
				if err := l.Prove(t.Context()); err != nil {
					t.Error(err)
				}
				for _, host := range []string{"camera", "viewer"} {
					reaches(t, l, host)
				}
			})
		}
		t.Run("events/"+engine, func(t *testing.T) {
			l := up(t, f, twoWays(t, engine))
			home := seenAs(l.Topology().Site("wifi").WAN[0])
			for _, tt := range []struct {
				event lab.Event
				want  func(*testing.T, *lab.Lab)
			}{
				{lab.Event{Do: lab.DoReaddress, Site: "wifi"}, seenAs(l.Topology().FreeWAN("wifi", 1)[0])},
				{lab.Event{Do: lab.DoReboot, Site: "wifi", For: time.Second}, unreachable},
				{lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}, unreachable},
				{lab.Event{Do: lab.DoMove, Host: "viewer", To: "lte"}, seenAs(l.Topology().Site("lte").WAN[0])},
				{lab.Event{Do: lab.DoMTUBlackhole, Site: "wifi", MTU: 600}, largePacketsVanish},
			} {
				undo := do(t, l, tt.event)
				tt.want(t, l)
				undo()
				home(t, l)
				if t.Failed() {
					t.Fatalf("by %s", tt.event)
				}
			}
		})
	}
	t.Run("replay", func(t *testing.T) {
		topo := on(t, lab.EngineTable, "two-homes", "link", "lte")
		l := up(t, f, topo)
		if err := l.Reset(5); err != nil {
			t.Fatal(err)
		}
		trace, err := capture.Open(captured(t, l, func() { chat(t, l) }))
		if err != nil {
			t.Fatal(err)
		}
		v, err := capture.Verify(trace, func() (*capture.Replay, error) { return topo.Replay(5) })
		if err != nil || v.Mismatch != "" {
			t.Errorf("%+v, %v", v, err)
		}
	})
}
