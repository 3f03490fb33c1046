package punch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// What is possible between two NATs, for each pair of mapping and filtering (Independent, by Address, by Port), the viewer's in rows, the
// camera's in columns: the table of the lab's oracle, written out.
//
//	= both at once   v the viewer silent   c the camera silent   p by prediction   b by birthday   - not at all
const (
	bothRandom = `
	      II   IA   IP   AI   AA   AP   PI   PA   PP
	 II  =vc   =v   =v  =vc   =v   =v  =vc   =v   =v
	 IA   =c    =    =   =c    =    =   =c    =    =
	 IP   =c    =    =    c    b    b    c    b    b
	 AI  =vc   =v    v  =vc   =v    v  =vc   =v    v
	 AA   =c    =    b   =c    b    b   =c    b    b
	 AP   =c    =    b    c    b    -   =c    b    -
	 PI  =vc   =v    v  =vc   =v   =v  =vc   =v   =v
	 PA   =c    =    b   =c    b    b   =c    b    b
	 PP   =c    =    b    c    b    -   =c    b    -`
	bothSequential = `
	      II   IA   IP   AI   AA   AP   PI   PA   PP
	 II  =vc   =v   =v  =vc   =v   =v  =vc   =v   =v
	 IA   =c    =    =   =c    =    =   =c    =    =
	 IP   =c    =    =    c    p    p    c    p    p
	 AI  =vc   =v    v  =vc   =v    v  =vc   =v    v
	 AA   =c    =    p   =c    p    p   =c    p    p
	 AP   =c    =    p    c    p    p   =c    p    p
	 PI  =vc   =v    v  =vc   =v   =v  =vc   =v   =v
	 PA   =c    =    p   =c    p    p   =c    p    p
	 PP   =c    =    p    c    p    p   =c    p    p`
)

type cell struct {
	viewer, camera wire.Class
	possible       string
}

func (c cell) String() string { return fmt.Sprintf("viewer %v, camera %v", c.viewer, c.camera) }

func cells(table string, model wire.PortModel) (out []cell) {
	class := func(s string) wire.Class {
		of := func(b byte) wire.Dependency { return wire.Dependency(strings.IndexByte("IAP", b) + 1) }
		c := wire.Class{Mapping: of(s[0]), Filtering: of(s[1]), Ports: model}
		if model == wire.PortsSequential {
			c.Step = 1
		}
		return c
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	columns := strings.Fields(lines[0])
	for _, l := range lines[1:] {
		f := strings.Fields(l)
		for i, possible := range f[1:] {
			out = append(out, cell{class(f[0]), class(columns[i]), possible})
		}
	}
	return out
}

func TestDecisionsAreTheOraclesTable(t *testing.T) {
	names := map[[2]part]string{
		{plain, plain}: "=-", {silent, plain}: "v", {plain, silent}: "c",
		{shows, guesses}: "p", {guesses, shows}: "p", {mirrors, mirrors}: "p",
		{opens, probes}: "b", {probes, opens}: "b",
	}
	for _, c := range append(cells(bothRandom, wire.PortsRandom), cells(bothSequential, wire.PortsSequential)...) {
		v, k := decide(c.viewer, c.camera, true)
		if !strings.ContainsAny(c.possible, names[[2]part{v, k}]) {
			t.Errorf("%v: viewer %v, camera %v; possible is %s", c, v, k, c.possible)
		}
		if k2, v2 := decide(c.camera, c.viewer, true); (v == silent) != (v2 == silent) || (k == silent) != (k2 == silent) {
			t.Errorf("%v: another decision with the roles exchanged", c)
		}
		want := c.possible
		switch guess := map[wire.PortModel]string{wire.PortsRandom: "b", wire.PortsSequential: "p"}[c.viewer.Ports]; {
		case strings.Contains(want, "="):
			want = "="
		case strings.ContainsAny(want, "vc"):
			want = guess
		}
		if v, k := decide(c.viewer, c.camera, false); !strings.ContainsAny(want, names[[2]part{v, k}]) {
			t.Errorf("%v, without silence: viewer %v, camera %v; possible is %s", c, v, k, want)
		}
	}
	if len(cells(bothRandom, wire.PortsRandom)) != 81 {
		t.Error("not 81 cells")
	}
}

// Birthday alone finds almost the same cells as adaptive, and direct those where both may punch at once.
func TestEveryCellOfOtherStrategies(t *testing.T) {
	for _, c := range cells(bothRandom, wire.PortsRandom) {
		// There the side with the open filter hears the other one by its main socket, too, where its answers come to nothing; they
		// are all that the other's unconfirmed endpoint may have.
		inVain := strings.ContainsAny(c.possible, "vc") && !strings.Contains(c.possible, "=") &&
			c.viewer.Mapping == wire.AddressDependent && c.camera.Mapping == wire.AddressDependent
		for name, want := range map[string]bool{
			"birthday:256x2048": c.possible != "-" && !inVain,
			"direct":            strings.Contains(c.possible, "="), "prediction": strings.Contains(c.possible, "="),
		} {
			w := newSimulation(world{policy: mustLookup(name), viewer: c.viewer, camera: c.camera, seed: 5})
			if direct := w.run(6 * time.Second); direct != want {
				t.Errorf("%s: %v (%s): direct %v; viewer %s, camera %s", name, c,
					c.possible, direct, w.viewer.agent.Plan(), w.camera.agent.Plan())
			}
		}
	}
}

// Each cell finds its path where there is one, and none where there is none.
func TestEveryCell(t *testing.T) {
	for _, table := range []struct {
		cells []cell
		seeds uint64
	}{{cells(bothRandom, wire.PortsRandom), 4}, {cells(bothSequential, wire.PortsSequential), 4}} {
		for _, c := range table.cells {
			for seed := range table.seeds {
				w := newSimulation(world{policy: adaptive, viewer: c.viewer, camera: c.camera, seed: seed})
				direct := w.run(6 * time.Second)
				if want := c.possible != "-"; direct != want {
					t.Errorf("%v (%s), seed %d: direct %v; viewer %s, %d probes; camera %s, %d probes",
						c, c.possible, seed, direct, w.viewer.agent.Plan(), w.viewer.sent, w.camera.agent.Plan(), w.camera.sent)
				}
			}
		}
	}
}
