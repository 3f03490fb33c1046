package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// thirdParty is a host that has nothing to do with the camera.
const thirdParty = "third-party"

// anotherPort is NAT-8: routers give a flow in mid-stream another external port.
//
// In turn the router keeps the flow's own port and draws one from a block, and forgets with that what it had mapped. The camera's lets in
// whoever sends to it, so that what the camera does when a viewer comes from elsewhere is its own doing.
func anotherPort(ctx context.Context, s *stage.Stage) certify.Result {
	m := &moving{Stage: s, changes: map[string]lab.Event{
		"camera": {Do: lab.DoNAT, Site: "camera", NAT: "cgn-port-block"},
		"viewer": {Do: lab.DoNAT, Site: "viewer", NAT: "cgn-port-block"},
	}}
	return m.run(ctx)
}

// anotherAddress is NAT-9: routers get another external address in mid-stream.
func anotherAddress(ctx context.Context, s *stage.Stage) certify.Result {
	m := &moving{Stage: s, address: true, changes: map[string]lab.Event{
		"camera": {Do: lab.DoReaddress, Site: "camera"},
		"viewer": {Do: lab.DoReaddress, Site: "viewer"},
	}}
	return m.run(ctx)
}

// moving is a stream whose ends appear from other endpoints as it goes.
type moving struct {
	*stage.Stage
	set     *stage.Set
	camera  *stage.Camera
	address bool                 // the address changes; else the port does
	changes map[string]lab.Event // by site: what is done, and undone, in turn

	view  *stage.View
	views []*stage.View
	undo  map[string]func() error
	moves []move
	began time.Time // from here on the stream flows
}

// move is one change.
type move struct {
	site string
	n    int       // of that site's, from 1
	from time.Time // before it
	done time.Time // it has happened
	to   time.Time // it has been watched
}

// Pace of the changes.
const (
	// inFlight is how long what was sent before a change may still arrive.
	inFlight = 300 * time.Millisecond
	// between two changes the stream flows at least so long.
	midStream, midStreamBrief = 1500 * time.Millisecond, 700 * time.Millisecond
)

// run has each side's router change, ten times, and a third party send what the viewer sends.
func (m *moving) run(ctx context.Context) certify.Result {
	if err := m.begin(ctx); err != nil {
		return m.Judge(err)
	}
	lacking, err := m.changeAll(ctx)
	if err == nil && lacking == "" {
		err = m.impersonate(ctx)
	}
	if err != nil {
		return m.Judge(err)
	}
	for _, v := range m.views {
		if err := v.Stop(); err != nil {
			return m.Judge(err)
		}
		m.Saw("frames", len(v.Frames()))
	}
	// What was sent where nobody had shown to be counts first: the rest is of comfort.
	if r, bad := m.judgeTrust(); bad {
		return r
	}
	if lacking != "" {
		return m.Fail("%s", lacking)
	}
	return m.judgeFrames()
}

// changeAll has each side's router change, ten times; lacking says which change the stream did not survive.
func (m *moving) changeAll(ctx context.Context) (lacking string, err error) {
	for _, site := range []string{"camera", "viewer"} {
		for n := range m.N(10, 1) {
			if lacking, err = m.change(ctx, site, n+1); err != nil || lacking != "" {
				return lacking, err
			}
		}
	}
	return "", nil
}

// begin has a viewer watch.
func (m *moving) begin(ctx context.Context) error {
	t, err := m.Load("two-homes", "camera.nat", "full-cone", "viewer.nat", "port-restricted-cone")
	if err != nil {
		return err
	}
	t.Site("camera").Override = map[string]string{"filtering": "endpoint-independent"} // of what it becomes, too
	t.Public = append(t.Public, lab.PublicHost{Name: thirdParty, Link: "lan"})
	if err := t.Resolve(); err != nil {
		return err
	}
	if m.set, err = m.Topology(ctx, t); err != nil {
		return err
	}
	if m.camera, err = m.set.Camera(ctx, 1); err != nil {
		return err
	}
	m.undo = map[string]func() error{}
	if err := m.watch(ctx); err != nil {
		return err
	}
	if err := m.Pause(ctx, m.For(3*time.Second, time.Second)); err != nil { // until it is in mid-stream
		return err
	}
	m.began = time.Now()
	return nil
}

// watch starts a viewer, and waits for its first media.
func (m *moving) watch(ctx context.Context) error {
	g, err := connect(ctx, m.Stage, m.set, m.camera, ask{within: 15 * time.Second})
	if err != nil {
		return err
	}
	if g.why != "" {
		return errors.Join(&stage.Timeout{What: "a stream: " + g.why, After: 15 * time.Second}, g.view.Stop())
	}
	m.view = g.view
	m.views = append(m.views, g.view)
	return nil
}

// change has a site's router change, and waits until the stream goes on; why says that it did not within the recovery.
func (m *moving) change(ctx context.Context, site string, n int) (why string, err error) {
	before := flowsOf(m.fromSite(site, m.view.Mark()))
	mark := m.set.Tape().Mark()
	c := move{site: site, n: n, from: time.Now()}
	if err := m.toggle(site); err != nil {
		return "", err
	}
	c.done = time.Now()
	seen, err := m.recovered(ctx, c, before, mark)
	if err != nil {
		return "", err
	}
	first, ok := tape.First(m.set.Tape().Packets(mark, tape.CameTo("viewer"), tape.Media), c.done.Add(inFlight))
	if ok {
		m.Saw("rebinds", min(seen, 1))
		m.Note("%s: %d flows go on from another endpoint; of what was not on its way media came to the viewer %s later", m.name(c), seen,
			ms(first.At.Sub(c.done)))
		err = m.Pause(ctx, m.For(midStream, midStreamBrief)) // the stream flows in between
	} else {
		why = fmt.Sprintf("%s: no media came to the viewer within the declared recovery of %v", m.name(c), m.Decl().Bounds.Recovery)
	}
	c.to = time.Now()
	m.moves = append(m.moves, c)
	return why, err
}

// recovered waits until a change shows and media comes again, or the recovery is over, and says how many flows show it. A viewer that has
// ended is started again.
func (m *moving) recovered(ctx context.Context, c move, before map[receiver]flow, mark int) (seen int, err error) {
	for time.Since(c.done) <= m.Decl().Bounds.Recovery+grace {
		media := m.set.Tape().Count(mark, tape.CameTo("viewer"), tape.Media, tape.Between(c.done.Add(inFlight), time.Time{}))
		if seen = rebound(before, m.fromSite(c.site, mark), m.address); seen > 0 && media >= leastMedia {
			return seen, nil
		}
		if !m.view.Alive() {
			m.Note("the viewer has ended: it is started again, as its user would")
			var late *stage.Timeout
			if err := m.watch(ctx); errors.As(err, &late) {
				m.Note("%v", err) // until the recovery is over its user asks again
			} else if err != nil {
				return seen, err
			}
		}
		if err := m.Pause(ctx, 25*time.Millisecond); err != nil { // until more has come
			return seen, err
		}
	}
	return seen, nil
}

// name is a change in words.
func (m *moving) name(c move) string {
	what := "port"
	if m.address {
		what = "address"
	}
	return fmt.Sprintf("change %d of the external %s of the %s's router", c.n, what, c.site)
}

// toggle does a site's event, or undoes it.
func (m *moving) toggle(site string) error {
	if undo := m.undo[site]; undo != nil {
		m.undo[site] = nil
		return undo()
	}
	undo, err := m.set.Do(m.changes[site])
	m.undo[site] = undo
	return err
}

// flowing is how many packets one endpoint has had from another to be called a flow: a question to a STUN server is none.
const flowing = 3

// receiver is an endpoint of a host to which a site sends.
type receiver struct {
	host     string
	protocol uint8
	at       netip.AddrPort
}

// flow is what comes to a receiver: from where at last, and how many packets from there.
type flow struct {
	from netip.AddrPort
	n    int
}

// fromSite are the packets that came to other hosts from a site, from a position of the tape on.
func (m *moving) fromSite(site string, mark int) []tape.Packet {
	others := []string{"rendezvous", m.set.Relay(), "viewer", "camera"}
	others = slices.DeleteFunc(others, func(host string) bool { return host == site })
	return m.set.Tape().Packets(mark, tape.CameTo(others...), tape.By(externalOf(m.set, site)...), tape.Full)
}

// flowsOf are the flows that packets show.
func flowsOf(ps []tape.Packet) map[receiver]flow {
	flows := map[receiver]flow{}
	for _, p := range ps {
		to := receiver{p.Host, p.Protocol, p.Dst}
		if f := flows[to]; f.from == p.Src {
			flows[to] = flow{p.Src, f.n + 1}
		} else {
			flows[to] = flow{p.Src, 1}
		}
	}
	return flows
}

// rebound counts the flows that packets show to go on from another endpoint, or if it is asked for, from another address.
func rebound(before map[receiver]flow, ps []tape.Packet, address bool) int {
	changed := map[receiver]bool{}
	for _, p := range ps {
		to := receiver{p.Host, p.Protocol, p.Dst}
		f := before[to]
		if f.n >= flowing && p.Src != f.from && (!address || p.Src.Addr() != f.from.Addr()) {
			changed[to] = true
		}
	}
	return len(changed)
}

// judgeFrames holds the frames to the recovery.
func (m *moving) judgeFrames() certify.Result {
	recovery, anew := m.Decl().Bounds.Recovery, 0
	var frames []stage.Frame
	for _, v := range m.views {
		frames = append(frames, v.Frames()...)
	}
	for _, c := range m.moves {
		longest, restarted, after := gapOf(frames, c)
		m.Record(map[string]any{"change": m.name(c), "longest gap ms": longest.Milliseconds(), "frames after": after, "asked anew": restarted})
		if restarted {
			anew++
		}
		if after == 0 || longest > recovery {
			return m.Fail("%s: the viewer got no whole frame for %s (%d frames came after it), and the declared recovery is %v",
				m.name(c), ms(longest), after, recovery)
		}
	}
	if anew > 0 {
		return m.PassNonstrict("in %d of %d changes the viewer asked for the camera anew, and frames came within the recovery", anew, len(m.moves))
	}
	return m.Pass()
}

// gapOf is the longest time without a frame from a change to the end of its watch, and how many frames came after it; restarted: their
// numbers began anew.
func gapOf(frames []stage.Frame, c move) (longest time.Duration, restarted bool, after int) {
	last, n := c.from, 0
	for _, f := range frames {
		switch {
		case f.T.Before(c.from):
			n = f.N
			continue
		case f.T.After(c.to):
			continue
		}
		longest, restarted = max(longest, f.T.Sub(last)), restarted || f.N < n-stage.SourceRate
		last, n = f.T, f.N
		if f.T.After(c.done.Add(inFlight)) {
			after++
		}
	}
	return max(longest, c.to.Sub(last)), restarted, after
}
