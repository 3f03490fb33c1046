package attack

import (
	"testing"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// Who guesses a label's secret is refused each time, and let in by the right one: otherwise the refusals would mean nothing.
func TestGuesser(t *testing.T) {
	t.Parallel()
	c := newCast(t, newLab(t, lab.EngineTable))
	c.serve()
	cam := c.camera("direct")
	until(t, "the camera registers", func() bool { return saw[camera.Registered](cam) })
	try := func(made identity.PublicKey, secret func(int) identity.Secret, tries int) ([]Guessed, Report) {
		t.Helper()
		g := &Guesser{Server: c.at, Key: c.serverKey.Public(), Camera: c.label.Key, Made: made, Secret: secret, Tries: tries, Rate: 50, Wait: patience, Seed: 3}
		r, err := g.Run(t.Context(), c.l.Host("off-path"), Budget{1000, enough})
		if err != nil || r.Ended != Done || len(g.Guesses()) != tries {
			t.Fatalf("%d tries, %+v, %v", len(g.Guesses()), r, err)
		}
		return g.Guesses(), r
	}
	wrong, r := try(identity.PublicKey{}, nil, 20)
	nothing(t, r)
	for i, x := range wrong {
		if x.In || x.Code != wire.CodeNotPaired {
			t.Errorf("guess %d: %+v", i, x)
		}
	}
	other, err := identity.NewKey(seeded(9))
	if err != nil {
		t.Fatal(err)
	}
	secret := func(int) identity.Secret { return c.label.Secret }
	if x, r := try(other.Public(), secret, 1); x[0].In || x[0].Code == 0 {
		t.Errorf("made for another camera: %+v %v", x, r.Gained)
	}
	if x, r := try(identity.PublicKey{}, secret, 1); !x[0].In || len(r.Gained) != 1 {
		t.Errorf("with the right secret: %+v %v", x, r.Gained)
	}
}
