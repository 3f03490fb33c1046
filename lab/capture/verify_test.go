package capture

import (
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

// replayOf builds the same net again.
func replayOf(t testing.TB, c playConfig) func() (*Replay, error) {
	return func() (*Replay, error) {
		p := newPlay(t, c)
		return &Replay{Fabric: p.f, Net: p.net, Inputs: p.senders}, nil
	}
}

// rough impairs in every way that a seed decides.
var rough = link.Impairment{
	Delay: 12 * time.Millisecond, Jitter: 8 * time.Millisecond, Loss: 0.05, Reorder: 0.05, ReorderBy: 9 * time.Millisecond,
	Duplicate: 0.05, Corrupt: 0.02, Rate: 2_000_000,
}

func TestVerify(t *testing.T) {
	c := playConfig{viewer: preset(t, "symmetric"), camera: preset(t, "port-restricted-cone"), link: rough, seed: 7}
	p := newPlay(t, c)
	p.trial(200)
	v, err := Verify(p.trace(), replayOf(t, c))
	check(t, err)
	if v.Mismatch != "" || v.Inputs < 300 || v.Sightings < 1000 {
		t.Errorf("%+v", v)
	}
}

// TestVerifyNoticesChanges: another seed, NAT or link, and any change of the capture, is a mismatch.
func TestVerifyNoticesChanges(t *testing.T) {
	c := playConfig{viewer: preset(t, "symmetric"), camera: preset(t, "port-restricted-cone"), link: rough, seed: 7}
	p := newPlay(t, c)
	p.trial(50)
	other := func(change func(*playConfig)) playConfig {
		c := c
		change(&c)
		return c
	}
	for name, c := range map[string]playConfig{
		"seed": other(func(c *playConfig) { c.seed++ }),
		"NAT":  other(func(c *playConfig) { c.viewer = preset(t, "full-cone") }),
		"link": other(func(c *playConfig) { c.link.Delay++ }),
		"loss": other(func(c *playConfig) { c.link.Loss *= 2 }),
	} {
		v, err := Verify(p.trace(), replayOf(t, c))
		check(t, err)
		if v.Mismatch == "" {
			t.Errorf("another %s was not noticed", name)
		}
	}
	for name, change := range map[string]func(tr *Trace, i int){
		"time":        func(tr *Trace, i int) { tr.Packets[i].T++ },
		"drop":        func(tr *Trace, i int) { tr.Packets[i].Comment.Drop = "lost" },
		"translation": func(tr *Trace, i int) { tr.Packets[i].Comment.Src = pcapng.Change{Old: viewerEnd, New: cameraEnd} },
		"interface":   func(tr *Trace, i int) { tr.Packets[i].Interface ^= 1 },
		"byte":        func(tr *Trace, i int) { tr.Packets[i].Data[27] ^= 1 },
		"omission":    func(tr *Trace, i int) { tr.Packets = append(tr.Packets[:i], tr.Packets[i+1:]...) },
	} {
		tr := p.trace()
		i := len(tr.Packets) / 2
		for tr.where(&tr.Packets[i]).Kind != router || tr.Packets[i].Comment.Drop != "" {
			i++
		}
		change(tr, i)
		v, err := Verify(tr, replayOf(t, c))
		check(t, err)
		if v.Mismatch == "" {
			t.Errorf("a change of %s was not noticed", name)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	c := playConfig{viewer: preset(t, "full-cone"), camera: preset(t, "full-cone"), seed: 7}
	p := newPlay(t, c)
	p.trial(2)
	for want, change := range map[string]func(tr *Trace){
		"begins with packet":        func(tr *Trace) { tr.Packets = tr.Packets[40:] },
		"is empty":                  func(tr *Trace) { tr.Packets = nil },
		"has no number":             func(tr *Trace) { tr.Packets[3].Comment.ID = 0 },
		"packets were cut":          func(tr *Trace) { tr.Packets[3].Data = tr.Packets[3].Data[:20] },
		"is a router of the kernel": func(tr *Trace) { tr.Interfaces[0].Kind = monitor },
	} {
		tr := p.trace()
		change(tr)
		if v, err := Verify(tr, replayOf(t, c)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v; want %q", v, err, want)
		}
	}
}

// TestVerifyRandomNets: whatever the NATs, the link and the traffic, a net in virtual time repeats.
func TestVerifyRandomNets(t *testing.T) {
	presets := nat.Presets()
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) nat.Behavior { return rapid.SampledFrom(presets).Draw(rt, label).Behavior }
		c := playConfig{viewer: draw("viewer"), camera: draw("camera"), seed: rapid.Uint64().Draw(rt, "seed"), link: rough}
		c.link.Loss = rapid.Float64Range(0, 0.3).Draw(rt, "loss")
		p := newPlay(t, c)
		p.trial(rapid.IntRange(0, 40).Draw(rt, "frames"))
		v, err := Verify(p.trace(), replayOf(t, c))
		if err != nil || v.Mismatch != "" {
			rt.Fatalf("%+v, %v", v, err)
		}
	})
}
