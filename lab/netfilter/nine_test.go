package netfilter_test

import (
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// supported are the presets that netfilter can do; TestSupportsNamesWhatIsMissing knows the others.
func supported() []nat.Preset {
	return slices.DeleteFunc(nat.Presets(), func(p nat.Preset) bool { return netfilter.Supports(p.Behavior) != nil })
}

func TestPresetsClassifyAsPromised(t *testing.T) {
	t.Parallel()
	core := newCore(t)
	srv := startServer(t, core)
	home := newSite(t, core, wanA, "10.0", 1)
	for _, p := range supported() {
		if p.Behavior.Kind == nat.NoNAT {
			continue // see TestFirewall
		}
		t.Run(p.Name, func(t *testing.T) {
			home.install(p.Behavior)
			r := classify(t, home.hosts[0], "10.0.0.2", srv)
			if err := r.Check([]nat.Behavior{p.Behavior}); err != nil {
				t.Error(err)
			}
		})
	}
}
