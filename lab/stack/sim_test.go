package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/sim"
	"github.com/punchlab/punchlab/topologies"
	"golang.org/x/sys/unix"
)

// simTopology is a shipped topology with settings, resolved.
func simTopology(t testing.TB, name string, settings ...string) *lab.Topology {
	t.Helper()
	topo, _, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := topo.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

func simulate(t testing.TB, topo *lab.Topology, tr Trial, events ...lab.Event) (Observation, []record.Event) {
	t.Helper()
	if tr.Timeout == 0 {
		tr.Timeout = 8 * time.Second
	}
	for _, e := range events {
		if err := e.Validate(topo); err != nil {
			t.Fatal(err)
		}
	}
	o, happened, err := Bundled{}.Simulate(context.Background(), topo, tr, events)
	if err != nil {
		t.Fatal(err)
	}
	return o, happened
}

// What a trial measures in virtual time is what it measures in a namespace.
func TestSimMeasuresWhatHappened(t *testing.T) {
	for _, tt := range []struct {
		topology, camera, viewer, strategy string
		media                              time.Duration
		want                               record.Outcome
	}{
		{"two-homes", "full-cone", "symmetric", "direct", 400 * time.Millisecond, record.Direct},
		{"two-homes", "port-restricted-cone", "restricted-cone", "adaptive", 400 * time.Millisecond, record.Direct},
		{"two-homes", "port-restricted-cone", "symmetric", "adaptive", 400 * time.Millisecond, record.Direct},
		{"two-homes", "symmetric", "port-restricted-cone", "birthday", 400 * time.Millisecond, record.Direct},
		{"two-homes", "symmetric-sequential", "port-restricted-cone", "prediction", 400 * time.Millisecond, record.Direct},
		{"two-homes", "symmetric", "symmetric", "adaptive", 400 * time.Millisecond, record.Relayed},
		{"two-homes", "port-restricted-cone", "symmetric", "direct", 400 * time.Millisecond, record.Failed},
		{"two-homes", "port-restricted-cone", "full-cone", "low-ttl", 400 * time.Millisecond, record.Direct},
		{"two-homes", "open", "open", "relay", 400 * time.Millisecond, record.Relayed},
		{"two-homes", "port-restricted-cone", "port-restricted-cone", "direct", 0, record.Direct},
		{"same-lan", "", "", "direct", 400 * time.Millisecond, record.Direct},
		{"ipv6-only", "", "", "ipv6", 400 * time.Millisecond, record.Direct},
		{"ipv6-only", "", "", "relay", 400 * time.Millisecond, record.Relayed},
		{"double-nat", "", "", "adaptive", time.Second, record.Direct},
		{"dual-stack", "", "", "ipv6", time.Second, record.Direct},
	} {
		t.Run(fmt.Sprintf("%s/%s×%s/%s/%v", tt.topology, tt.camera, tt.viewer, tt.strategy, tt.media), func(t *testing.T) {
			var set []string
			if tt.camera != "" {
				set = []string{"camera.nat", tt.camera, "viewer.nat", tt.viewer}
			}
			o, _ := simulate(t, simTopology(t, tt.topology, append(set, "link", "lan")...), Trial{Seed: 7, Strategy: tt.strategy, Media: tt.media})
			check(t, o, tt.want, tt.media)
		})
	}
}

// The same trial gives the same record, byte for byte, at whatever time and beside whatever others; another seed gives another.
func TestSimIsDeterministic(t *testing.T) {
	topo := simTopology(t, "two-homes", "camera.nat", "symmetric", "viewer.nat", "port-restricted-cone", "link", "lte")
	events := []lab.Event{{Do: lab.DoReboot, Site: "viewer", On: lab.OnFirstFrame, At: 300 * time.Millisecond}}
	once := func(strategy string, seed uint64) []byte {
		o, happened := simulate(t, topo, Trial{Seed: seed, Strategy: strategy, Media: time.Second, Idle: time.Minute}, events...)
		b, err := json.Marshal([]any{o, happened})
		if err != nil {
			t.Error(err)
		}
		return b
	}
	for _, strategy := range []string{"direct", "adaptive", "prediction", "birthday:64x128", "relay", "low-ttl"} {
		want := once(strategy, 5)
		var again [3][]byte
		var wg sync.WaitGroup
		for i := range again {
			wg.Go(func() { again[i] = once(strategy, 5) })
		}
		wg.Wait()
		for _, got := range again {
			if !bytes.Equal(got, want) {
				t.Errorf("strategy %s, the same trial again: %s", strategy, cmp.Diff(string(want), string(got)))
			}
		}
		if bytes.Equal(once(strategy, 6), want) {
			t.Errorf("strategy %s: another seed gives the same", strategy)
		}
	}
}

// Over all pairs of the nine behaviours and those of port assignment, with the strategy that knows what to do, trials come out as the
// oracle says: direct where that is possible, relayed where nothing is.
func TestSimAgreesWithTheOracle(t *testing.T) {
	names := []string{
		"open", "firewall", "full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "symmetric-sequential", "cgn-port-block",
		"adm-eif", "adm-adf", "adm-apdf", "apdm-eif", "apdm-adf", "linux",
	}
	for _, n := range names {
		if _, ok := nat.Lookup(n); !ok {
			t.Fatalf("there is no preset %s", n)
		}
	}
	var wg sync.WaitGroup
	busy := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, a := range names {
		for _, b := range names {
			topo := simTopology(t, "two-homes", "camera.nat", a, "viewer.nat", b)
			wg.Go(func() {
				busy <- struct{}{}
				defer func() { <-busy }()
				adaptive, _ := simulate(t, topo, Trial{Seed: 3, Strategy: "adaptive"})
				relay, _ := simulate(t, topo, Trial{Seed: 3, Strategy: "relay"})
				if want := oracleOutcome(topo); want != "" && adaptive.Outcome != want {
					t.Errorf("%s × %s is %v, adaptive came out %s: %s", a, b, topo.Oracle("camera", "viewer"), adaptive.Outcome, adaptive.Cause)
				}
				if relay.Outcome != record.Relayed {
					t.Errorf("%s × %s: relay came out %s: %s", a, b, relay.Outcome, relay.Cause)
				}
			})
		}
	}
	wg.Wait()
}

// oracleOutcome is how a trial has to come out; empty: either way.
func oracleOutcome(t *lab.Topology) record.Outcome {
	switch t.Oracle("camera", "viewer") {
	case nat.Direct, nat.Predictable:
		return record.Direct
	case nat.RelayOnly:
		return record.Relayed
	}
	return ""
}

// In namespaces, on tables with the same seed, a trial comes out the same: by the same path, with the same frames and as many sockets.
// It is never sooner.
func TestSimAgreesWithEngineTable(t *testing.T) {
	netnstest.Require(t, "netns", "nftables")
	fabric, err := live.Start(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fabric.Close() })
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, tt := range []struct{ camera, viewer, strategy string }{
		{"full-cone", "symmetric", "direct"}, {"port-restricted-cone", "symmetric", "direct"}, {"symmetric", "symmetric", "adaptive"},
		{"symmetric-sequential", "port-restricted-cone", "prediction"}, {"firewall", "restricted-cone", "relay"}, {"open", "cgn-port-block", "low-ttl"},
	} {
		topo := simTopology(t, "two-homes", "camera.nat", tt.camera, "viewer.nat", tt.viewer)
		topo.UseEngine(lab.EngineTable)
		tr := Trial{Seed: 9, Strategy: tt.strategy, Media: 400 * time.Millisecond, Timeout: 20 * time.Second}
		virtual, _ := simulate(t, topo, tr)
		wg.Go(func() {
			l, err := lab.Up(fabric, topo, tr.Seed)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			o, err := Bundled{}.Try(t.Context(), l, tr)
			if err != nil {
				t.Error(err)
			}
			compareEngines(t, fmt.Sprint(tt), virtual, o)
		})
	}
}

func compareEngines(t *testing.T, name string, virtual, o Observation) {
	type essence struct {
		Outcome      record.Outcome
		Sent, Intact int
		Sockets      float64
	}
	of := func(o Observation) essence {
		e := essence{Outcome: o.Outcome, Sockets: o.Probes["sockets"]}
		if o.Media != nil {
			e.Sent, e.Intact = o.Media.FramesSent, o.Media.FramesIntact
		}
		return e
	}
	if diff := cmp.Diff(of(o), of(virtual)); diff != "" {
		t.Errorf("%s: engine table and virtual time (-table +sim): %s\n%s\n%s", name, diff, o.Cause, virtual.Cause)
	}
	if o.FirstPacket < virtual.FirstPacket*8/10 { // the links' jitter
		t.Errorf("%s: the first packet came after %v on engine table, after %v in virtual time, where nothing but the links takes time",
			name, o.FirstPacket, virtual.FirstPacket)
	}
}

// Nobody asks before the rendezvous knows what both have found: a strategy that lives by it never fails for that.
func TestSimAsksWhenTheRendezvousKnows(t *testing.T) {
	topo := simTopology(t, "two-homes", "camera.nat", "symmetric-sequential", "viewer.nat", "port-restricted-cone")
	for seed := range uint64(12) {
		if o, _ := simulate(t, topo, Trial{Seed: seed, Strategy: "prediction"}); o.Outcome != record.Direct {
			t.Errorf("seed %d: %s: %s", seed, o.Outcome, o.Cause)
		}
	}
}

// A camera that has been idle for an hour has kept its mapping, and sent little.
func TestSimIdle(t *testing.T) {
	topo := simTopology(t, "two-homes")
	begun := time.Now()
	o, _ := simulate(t, topo, Trial{Seed: 1, Strategy: "direct", Idle: time.Hour})
	if o.Outcome != record.Direct || o.Bytes["camera_idle_up"] < 1000 || o.Bytes["camera_idle_up"] > 1<<20 {
		t.Errorf("after an hour: %s (%s), %d bytes", o.Outcome, o.Cause, o.Bytes["camera_idle_up"])
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("an hour took %v", took)
	}
}

// The rendezvous relays what it says, and hears nobody after the direct path stands; a stranger reaches an open camera alone.
func TestSimCounts(t *testing.T) {
	for preset, reached := range map[string]float64{"open": 1, "firewall": 0} {
		topo := simTopology(t, "two-homes", "camera.nat", preset)
		o, _ := simulate(t, topo, Trial{Seed: 1, Strategy: "adaptive", Media: time.Second, Stranger: true})
		if o.Probes["stranger_reached"] != reached {
			t.Errorf("%s: strangers reached the camera at %v endpoints, want %v", preset, o.Probes["stranger_reached"], reached)
		}
		if after, ok := o.Bytes["relay_after_direct"]; !ok || after != 0 || o.Bytes["relay"] <= 0 || o.Bytes["relay"] > o.Bytes["camera_up"] {
			t.Errorf("%s: bytes %v", preset, o.Bytes)
		}
	}
}

// A fleet registers before the trial's camera does, and a trial beside it comes out as one without.
func TestSimFleet(t *testing.T) {
	topo := simTopology(t, "fleet")
	var seen []Observation
	for _, n := range []string{"0", "100", "100"} {
		o, _ := simulate(t, topo, Trial{Seed: 1, Strategy: "direct", Media: time.Second, Options: map[string]string{"fleet": n}})
		seen = append(seen, o)
	}
	if seen[0].Outcome != record.Direct || seen[1].Outcome != record.Direct || seen[1].Media.FramesIntact != 25 {
		t.Errorf("%s alone, %s beside a fleet: %+v", seen[0].Outcome, seen[1].Outcome, seen[1].Media)
	}
	if diff := cmp.Diff(seen[1], seen[2]); diff != "" {
		t.Errorf("the same fleet again: %s", diff)
	}
	net, err := sim.New(topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &simulation{net: net}
	if err := s.start(t.Context(), topo, Trial{Options: map[string]string{"fleet": "100"}}, punch.Policy{}); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Run(t.Context(), time.Second, func() bool { return s.server.core.Stats().Online == 100 }); err != nil {
		t.Fatal(err)
	}
	if n := s.server.core.Stats().Online; n != 100 {
		t.Errorf("%d cameras are online at the rendezvous, want 100", n)
	}
}

// simEvents are what happens in a trial, and what it costs.
var simEvents = []struct {
	name   string
	events []lab.Event
	want   record.Outcome
	gap    time.Duration // the picture stood still at least so long
	what   []string
}{
	{"reboot of the camera's router", []lab.Event{{Do: lab.DoReboot, Site: "camera", On: lab.OnFirstFrame, At: time.Second}},
		record.Direct, 0, []string{"reboot"}},
	{"viewer without internet", []lab.Event{{Do: lab.DoUplinkDown, Site: "viewer", On: lab.OnConnected, At: time.Second, For: 1500 * time.Millisecond}},
		record.Direct, 1500 * time.Millisecond, []string{"uplink-down", "end of uplink-down"}},
	{"dead rendezvous", []lab.Event{{Do: lab.DoKill, Host: "rendezvous", On: lab.OnFirstPacket, At: 500 * time.Millisecond, For: 2 * time.Second}},
		record.Direct, 0, []string{"kill", "end of kill"}},
	{"sleeping viewer", []lab.Event{{Do: lab.DoSleep, Host: "viewer", On: lab.OnFirstFrame, At: time.Second, For: time.Second}},
		record.Direct, time.Second, []string{"sleep", "end of sleep"}},
	{"renumbered home", []lab.Event{{Do: lab.DoReaddress, Site: "camera", On: lab.OnRequested, At: 2 * time.Second}},
		record.Direct, 0, []string{"readdress"}},
	{"slower link", []lab.Event{{Do: lab.DoLink, Site: "viewer", Link: "satellite", On: lab.OnFirstFrame, At: time.Second}},
		record.Direct, 0, []string{"link"}},
	{"no way before anybody asks", []lab.Event{{Do: lab.DoBlackhole, Between: [2]string{"camera", "viewer"}}},
		record.Relayed, 0, []string{"blackhole"}},
}

// Events happen at their times and cost what they cost; the media survives them.
func TestSimEvents(t *testing.T) {
	for _, tt := range simEvents {
		topo := simTopology(t, "two-homes")
		o, happened := simulate(t, topo, Trial{Seed: 4, Strategy: "adaptive", Media: 6 * time.Second, Timeout: 30 * time.Second}, tt.events...)
		var what []string
		for i, e := range happened {
			word, _, _ := strings.Cut(strings.TrimPrefix(e.What, "end of "), " ")
			if strings.HasPrefix(e.What, "end of ") {
				word = "end of " + word
			}
			what = append(what, word)
			if e.Error != "" || i > 0 && e.AtS < happened[i-1].AtS {
				t.Errorf("%s: %+v", tt.name, happened)
			}
		}
		if !slices.Equal(what, tt.what) {
			t.Errorf("%s: happened %q, want %q", tt.name, what, tt.what)
		}
		if o.Outcome != tt.want || o.Media == nil || o.Media.FramesReceived < 100 || *o.Media.GapS < tt.gap.Seconds() {
			t.Errorf("%s: %s, want %s with a gap of %v: %s %+v", tt.name, o.Outcome, tt.want, tt.gap, o.Cause, o.Media)
		}
	}
}

// What a rendezvous had relayed before it was killed counts.
func TestSimCountsWhatTheDeadRelayed(t *testing.T) {
	topo := simTopology(t, "two-homes")
	kill := lab.Event{Do: lab.DoKill, Host: "rendezvous", On: lab.OnFirstFrame, At: 1500 * time.Millisecond}
	o, _ := simulate(t, topo, Trial{Seed: 1, Strategy: "relay", Media: 2 * time.Second, Timeout: 4 * time.Second}, kill)
	if o.Bytes["relay"] < 250_000 {
		t.Errorf("relayed %d bytes in 1.5 s of 2 Mbit/s", o.Bytes["relay"])
	}
}

// What comes to pass is told once and in order, to whoever asks.
func TestSimTellsMoments(t *testing.T) {
	var got []Moment
	simulate(t, simTopology(t, "two-homes"), Trial{Seed: 1, Strategy: "direct", Media: time.Second, Reached: func(m Moment) { got = append(got, m) }})
	if want := []Moment{Requested, Connected, FirstPacket, FirstFrame}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// A trial without a rendezvous has failed before it began.
func TestSimWithoutRendezvous(t *testing.T) {
	o, _ := simulate(t, simTopology(t, "two-homes"), Trial{Seed: 1, Strategy: "direct"}, lab.Event{Do: lab.DoUplinkDown, Host: "rendezvous"})
	if o.Outcome != record.Failed || o.Error != "no rendezvous" || o.Cause != "the camera did not register within 10s" {
		t.Errorf("%+v", o)
	}
}

// A trial that is ended early says so, and nothing else.
func TestSimEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := Bundled{}.Simulate(ctx, simTopology(t, "two-homes"), Trial{Strategy: "direct", Timeout: time.Second}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What engine sim cannot do it says, why, and which engine can.
func TestSimRefuses(t *testing.T) {
	home := simTopology(t, "two-homes")
	for _, tt := range []struct {
		topo     *lab.Topology
		strategy string
		options  map[string]string
		events   []lab.Event
		why      string
	}{
		{home, "tcp", nil, nil, "strategy tcp needs TCP"},
		{home, "tls443", nil, nil, "strategy tls443 needs TCP"},
		{home, "turn", nil, nil, "strategy turn needs a TURN server, which is a program of its own"},
		{home, "port-forward", nil, nil, "strategy port-forward needs TCP, by which a camera tells a provider of dynamic names where it is"},
		{home, "ice", nil, nil, "system ice (strategy ice) is programs on real sockets"},
		{home, "adaptive", map[string]string{"fleet": "1001"}, nil,
			"it registers a fleet in every trial, and 1001 cameras are more than the 1000 that are cheap"},
		{home, "adaptive", map[string]string{"fleet": "9"}, nil, `topology two-homes has no host "fleet", which trial.fleet needs`},
		{home, "adaptive", map[string]string{"scan": "photo"}, nil, "it has no trial.scan (photo)"},
		{home, "adaptive", map[string]string{"camera-lost": "goodbye"}, nil, "it has no trial.camera-lost (goodbye)"},
		{home, "adaptive", nil, []lab.Event{{Do: lab.DoReboot, Site: "camera"}, {Do: lab.DoNAT, Site: "camera", NAT: "udp-blocked"}},
			"after event 2 (nat camera to udp-blocked) UDP does not pass, and devices need TLS"},
		{simTopology(t, "two-homes", "viewer.nat", "udp-blocked"), "direct", nil, nil, "host viewer is where UDP does not pass, and needs TLS"},
		{simTopology(t, "two-homes", "camera.nat", "tcp443-only"), "adaptive", nil, nil, "host camera is where UDP does not pass, and needs TLS"},
		{simTopology(t, "two-homes", "camera.portmap", "all"), "adaptive", nil, nil,
			"strategy adaptive asks site camera's router for port mappings, and its servers (portmap: all) need sockets"},
		{simTopology(t, "three-rendezvous"), "direct", nil, nil, "3 rendezvous nodes meet over NATS, which needs TCP"},
	} {
		s, err := ForStrategy(tt.strategy)
		if err != nil {
			t.Fatal(err)
		}
		tr := Trial{Strategy: tt.strategy, Options: tt.options, Timeout: time.Second}
		err = CheckSim(s, tt.topo, tr, tt.events)
		want := "engine sim cannot have this trial: " + tt.why + "; run it on engine netfilter or table"
		var p *lab.Problem
		if !errors.As(err, &p) || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
		if b, ok := s.(Bundled); ok {
			if _, _, err := b.Simulate(t.Context(), tt.topo, tr, tt.events); err == nil || err.Error() != want {
				t.Errorf("tried all the same: %v", err)
			}
		}
	}
	if err := CheckSim(Bundled{}, simTopology(t, "two-homes", "camera.portmap", "all"), Trial{Strategy: "direct", Options: map[string]string{"fleet": "0"}}, nil); err != nil {
		t.Errorf("a strategy that asks for no mapping, and a fleet of nobody: %v", err)
	}
}

// BenchmarkSim is a whole trial: keys, three handshakes, what the strategy does, and the video. cpu-ms/op is what it costs of one core,
// collecting garbage included, whoever else has the machine: so many trials as there are cores run at once.
func BenchmarkSim(b *testing.B) {
	for _, strategy := range []string{"direct", "adaptive"} {
		for _, media := range []time.Duration{0, time.Second} {
			b.Run(fmt.Sprintf("%s/media=%v", strategy, media), func(b *testing.B) {
				topo := simTopology(b, "two-homes", "camera.nat", "full-cone", "viewer.nat", "port-restricted-cone", "link", "broadband")
				b.ReportAllocs()
				begun := ownTime(b)
				for i := 0; b.Loop(); i++ {
					if o, _ := simulate(b, topo, Trial{Seed: uint64(i), Strategy: strategy, Media: media}); o.Outcome != record.Direct {
						b.Fatalf("%+v", o)
					}
				}
				b.ReportMetric((ownTime(b)-begun).Seconds()*1e3/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

// ownTime is what this process has had of the processor.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
