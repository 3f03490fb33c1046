package suite

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// Programs are told cases that they have to do, and mostly not the one that is run; the same in each run of the seed. One whose programs know
// is no certification.
func TestBlind(t *testing.T) {
	said := func(named bool) map[string]string {
		g := newRig(t)
		g.Named, g.Keys = named, []*evidence.Key{key(t, 1)}
		told, mu := map[string]string{}, sync.Mutex{}
		g.seam.open = func(o stage.Options) (*stage.Stage, func(certify.Result) certify.Result, error) {
			mu.Lock()
			told[o.Case.ID] = o.Told
			mu.Unlock()
			return g.open(o)
		}
		if out := g.run(t); named {
			noCertificate(t, out, "told which case was run")
		} else if out.Certificate == nil {
			t.Error(out.Unsealed)
		}
		return told
	}
	first, again, open := said(false), said(false), said(true)
	others := 0
	for id, told := range first {
		if c, _ := certify.Lookup(told); told != again[id] || open[id] != id || first[told] == "" || !c.Binding() {
			t.Errorf("%s is said to be %s, then %s, and openly %s", id, told, again[id], open[id])
		}
		if told != id {
			others++
		}
	}
	if others < len(first)/2 {
		t.Errorf("%d of %d cases are said to be others", others, len(first))
	}
	g := newRig(t)
	r := &run{o: g.Options}
	if c := unknownCase(7); r.told(c) != c.ID {
		t.Errorf("the probe asks for %s", r.told(c))
	}
}

// A program that was changed while it ran is not certified.
func TestChangedMeanwhile(t *testing.T) {
	g := newRig(t)
	g.Keys = []*evidence.Key{key(t, 1)}
	g.Still = func() error { return errors.New("acme was changed while it was certified") }
	noCertificate(t, g.run(t), "acme was changed")
	g = newRig(t)
	g.Keys, g.Still = []*evidence.Key{key(t, 1)}, func() error { return nil }
	if out := g.run(t); out.Certificate == nil || slices.Contains(out.Certificate.Issuers, "") {
		t.Error(out.Unsealed)
	}
}
