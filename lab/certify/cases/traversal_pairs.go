package cases

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/nat"
)

// nine are the mapping and filtering behaviours of RFC 4787, by preset.
var nine = []string{
	"full-cone", "restricted-cone", "port-restricted-cone",
	"adm-eif", "adm-adf", "adm-apdf",
	"apdm-eif", "apdm-adf", "symmetric",
}

// natPair is what stands before the camera and before the viewer.
type natPair struct{ camera, viewer string }

func (p natPair) String() string { return p.camera + " × " + p.viewer }

// dependent reports whether both mappings depend on the endpoint they are for.
func (p natPair) dependent() bool {
	c, _ := nat.Lookup(p.camera)
	v, _ := nat.Lookup(p.viewer)
	return c.Mapping != nat.EndpointIndependent && v.Mapping != nat.EndpointIndependent
}

// pairs are all of them; in brief one of each sort.
func pairs(brief bool) (all []natPair) {
	if brief {
		return []natPair{{"port-restricted-cone", "port-restricted-cone"}, {"symmetric", "full-cone"}, {"symmetric", "symmetric"}}
	}
	for _, c := range nine {
		for _, v := range nine {
			all = append(all, natPair{c, v})
		}
	}
	return all
}

// everyPair is NAT-1: camera and viewer connect behind every pair of NATs.
func everyPair(ctx context.Context, s *stage.Stage) certify.Result {
	m := &matrix{Stage: s, relay: s.Decl().Has(certify.FeatureRelay)}
	for _, p := range pairs(s.Brief()) {
		if err := m.try(ctx, p); err != nil {
			return s.Judge(err)
		}
		s.Saw("pairs", 1)
	}
	switch {
	case len(m.never) > 0:
		return s.Fail("%d of %d pairs of NATs got no direct path, or none at all, in %d tries each: %s",
			len(m.never), s.Observed("pairs"), s.N(2, 1), strings.Join(m.never, "; "))
	case len(m.relayed) > 0 && s.Claim().Holds(s.Case().Rate):
		return s.PassNonstrict("behind %d pairs of two endpoint-dependent mappings media went by the relay, though the oracle says that a direct "+
			"path is possible: %s", len(m.relayed), strings.Join(m.relayed, ", "))
	}
	return rated(s, m.missed)
}

// matrix is what has come of the pairs so far.
type matrix struct {
	*stage.Stage
	relay   bool     // the camera has one
	never   []string // pairs of which no try did what it has to, and why
	relayed []string // pairs that went by the relay, which is let pass
	missed  string   // what the first try missed that missed anything
}

// try has a pair connect, twice.
func (m *matrix) try(ctx context.Context, p natPair) error {
	x, err := m.Set(ctx, "two-homes", "camera.nat", p.camera, "viewer.nat", p.viewer)
	if err != nil {
		return err
	}
	prospect := x.Lab().Topology().Oracle("camera", "viewer")
	if prospect != nat.Direct && !m.relay {
		m.Note("%s: the oracle says %s, and the camera declares no relay: nothing is asked for", p, prospect)
		return nil
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return err
	}
	a := ask{within: 15 * time.Second, watch: m.For(15*time.Second, 6*time.Second)}
	if prospect == nat.Direct {
		a.direct = m.For(10*time.Second, 4*time.Second)
	}
	var missed []string
	byRelay := false
	for range m.N(2, 1) {
		g, err := connect(ctx, m.Stage, x, camera, a)
		if err != nil {
			return err
		}
		if g.why != "" && g.route != "" && p.dependent() && m.relay { // media came, by the relay
			byRelay, g.why = true, ""
		}
		m.Note("%s: the oracle says %s; first frame after %s, media went %s %s", p, prospect, ms(g.took), g.route, g.why)
		if g.why != "" {
			missed = append(missed, g.why)
		}
		if err := retake(m.Stage, g, map[string]any{"camera": p.camera, "viewer": p.viewer, "oracle": prospect.String()}); err != nil {
			return err
		}
	}
	if len(missed) > 0 && m.missed == "" {
		m.missed = fmt.Sprintf("%s: %s", p, missed[0])
	}
	if len(missed) == m.N(2, 1) {
		m.never = append(m.never, fmt.Sprintf("%s: %s", p, missed[0]))
	}
	if byRelay {
		m.relayed = append(m.relayed, p.String())
	}
	return nil
}

// twoSymmetric is NAT-2: no direct path is possible, and the first frame comes all the same, in the time that the camera declares.
func twoSymmetric(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "two-homes", "camera.nat", "symmetric", "viewer.nat", "symmetric")
	if err != nil {
		return s.Judge(err)
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	bound := s.Decl().Bounds.RelayFrame
	first := ""
	for i := range s.N(93, 3) { // one failure in 93 still shows 95 %
		g, err := connect(ctx, s, x, camera, ask{within: bound, watch: s.For(10*time.Second, 3*time.Second)})
		if err != nil {
			return s.Judge(err)
		}
		s.Note("connect %d: first frame after %s, media went %s %s", i+1, ms(g.took), g.route, g.why)
		if first == "" {
			first = g.why
		}
		if err := retake(s, g, map[string]any{"connect": i + 1}); err != nil {
			return s.Judge(err)
		}
		if s.Brief() && first != "" {
			break
		}
	}
	return rated(s, first)
}

// behind is a case of NAT-3: what stands before camera and viewer.
type behind struct {
	name           string
	camera, viewer string // the carrier's NAT; empty: none. The same name: the same one
}

// carriers is NAT-3: home routers hang on a carrier's NAT.
func carriers(ctx context.Context, s *stage.Stage) certify.Result {
	relay := s.Decl().Has(certify.FeatureRelay)
	first := ""
	for _, b := range []behind{
		{"the camera is behind a carrier's NAT", "carrier", ""},
		{"the viewer is behind a carrier's NAT", "", "carrier"},
		{"both are behind carriers' NATs", "carrier", "carrier-2"},
		{"both are behind the same carrier's NAT", "carrier", "carrier"},
	} {
		t, err := b.topology()
		if err != nil {
			return s.Judge(err)
		}
		missed, err := b.try(ctx, s, t, relay)
		if err != nil {
			return s.Judge(err)
		}
		if first == "" && missed != "" {
			first = b.name + ": " + missed
		}
		if s.Brief() && first != "" {
			break
		}
	}
	return rated(s, first)
}

// topology has a home router for each side, and carriers' NATs before those that have one.
func (b behind) topology() (*lab.Topology, error) {
	const home, carrier, line = "port-restricted-cone", "cgn-port-block", "broadband"
	t := &lab.Topology{Name: "carriers", Summary: b.name, Public: []lab.PublicHost{{Name: "rendezvous", Link: "lan"}}}
	for _, name := range []string{b.camera, b.viewer} {
		if name != "" && t.Site(name) == nil {
			t.Sites = append(t.Sites, lab.Site{Name: name, NAT: carrier, Link: line})
		}
	}
	for _, side := range []struct{ name, behind string }{{"camera", b.camera}, {"viewer", b.viewer}} {
		site := lab.Site{Name: side.name, NAT: home, Behind: side.behind, Hosts: []lab.Host{{Name: side.name}}}
		if side.behind == "" {
			site.Link = line
		}
		t.Sites = append(t.Sites, site)
	}
	if err := t.Resolve(); err != nil {
		return nil, fmt.Errorf("topology of %s: %w", b.name, err)
	}
	return t, nil
}

// try has the sides connect; missed is what the first try missed that missed anything.
func (b behind) try(ctx context.Context, s *stage.Stage, t *lab.Topology, relay bool) (missed string, err error) {
	x, err := s.Topology(ctx, t)
	if err != nil {
		return "", err
	}
	prospect := t.Oracle("camera", "viewer")
	if prospect != nat.Direct && !relay {
		s.Note("%s: the oracle says %s, and the camera declares no relay: nothing is asked for", b.name, prospect)
		return "", nil
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return "", err
	}
	a := ask{within: 15 * time.Second, watch: s.For(15*time.Second, 6*time.Second)}
	if prospect == nat.Direct {
		a.direct = s.For(10*time.Second, 4*time.Second)
	}
	for range s.N(24, 1) { // 96 in all: one failure still shows 95 %
		g, err := connect(ctx, s, x, camera, a)
		if err != nil {
			return "", err
		}
		s.Note("%s: the oracle says %s; first frame after %s, media went %s %s", b.name, prospect, ms(g.took), g.route, g.why)
		if missed == "" {
			missed = g.why
		}
		if err := retake(s, g, map[string]any{"behind": b.name, "oracle": prospect.String()}); err != nil {
			return "", err
		}
	}
	return missed, nil
}
