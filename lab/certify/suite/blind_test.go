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

// Blind, programs are told cases that they have to know, and mostly not the one that is run; the same in each run of the seed.
func TestBlind(t *testing.T) {
	said := func(blind bool) map[string]string {
		g := newRig(t)
		g.Blind = blind
		told, mu := map[string]string{}, sync.Mutex{}
		g.seam.open = func(o stage.Options) (*stage.Stage, func(certify.Result) certify.Result, error) {
			mu.Lock()
			told[o.Case.ID] = o.Told
			mu.Unlock()
			return g.open(o)
		}
		g.run(t)
		return told
	}
	first, again, open := said(true), said(true), said(false)
	others := 0
	for id, told := range first {
		if told != again[id] || open[id] != id || first[told] == "" {
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
	g.Blind = true
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
