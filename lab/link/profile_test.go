package link

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPresets(t *testing.T) {
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
		if got, ok := Lookup(p.Name); !ok || got.Name != p.Name {
			t.Errorf("%s: not found", p.Name)
		}
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		if p.Source == "" {
			t.Errorf("%s: no source", p.Name)
		}
	}
	want := strings.Fields("perfect lan broadband cable adsl lte satellite broadband-codel bufferbloat mtu-blackhole " +
		"dsl-bursty wifi-lossy lte-bursty 3g in-flight starlink lte-drive wifi-crowded")
	if !slices.Equal(names, want) {
		t.Errorf("presets %q, want %q", names, want)
	}
	if _, ok := Lookup("carrier-pigeon"); ok {
		t.Error("an unknown link was found")
	}
	b, _ := Lookup("broadband")
	if rtt := 2 * (b.Up.Delay + b.Down.Delay); rtt < 40*time.Millisecond || rtt > 60*time.Millisecond {
		t.Errorf("round trip between two homes on broadband: %v, want about 50ms", rtt)
	}
}

func TestValidate(t *testing.T) {
	for want, i := range map[string]Impairment{
		"loss":        {Loss: -0.1},
		"duplicate":   {Duplicate: 1.1},
		"corrupt":     {Corrupt: math.NaN()},
		"reorder":     {Reorder: 2},
		"bad-to-good": {Burst: &GilbertElliott{BadToGood: 3}},
		"delay":       {Delay: -1},
		"jitter":      {Jitter: 2 * MaxDelay},
		"rate":        {Rate: -1},
		"queue":       {QueueBytes: MaxQueue + 1},
		"MTU":         {MTU: 20},
		"contradict":  {Rate: 1, Trace: &Trace{Times: []uint32{1}}},
		"management":  {AQM: 2},
		"target":      {Target: -1},
		"interval":    {Interval: 2 * MaxDelay},
		"empty":       {Trace: &Trace{}},
	} {
		err := Profile{Name: "x", Down: i}.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "down") {
			t.Errorf("%+v: error %v, want one that names %s and the direction", i, err, want)
		}
	}
	if err := (Profile{}).Validate(); err != nil {
		t.Errorf("a perfect link: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		in    Impairment
		mtu   int
		queue int
	}{
		{Impairment{}, 1500, 0},
		{Impairment{Rate: 80_000_000}, 1500, 1_000_000},
		{Impairment{Rate: 1000}, 1500, 3000},
		{Impairment{Rate: 1000, QueueBytes: 5, MTU: 576}, 576, 5},
		{Impairment{Rate: MaxRate}, 1500, MaxQueue},
		{Impairment{Trace: &Trace{Times: []uint32{1}}}, 1500, 150_000},
	} {
		if got := c.in.defaults(); got.MTU != c.mtu || got.QueueBytes != c.queue {
			t.Errorf("%+v: MTU %d, queue %d, want %d, %d", c.in, got.MTU, got.QueueBytes, c.mtu, c.queue)
		}
	}
}
