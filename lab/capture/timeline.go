package capture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// View says what of a capture a timeline shows.
type View struct {
	Roles
	Requested time.Duration // when the viewer asked for the camera, on the trace's clock; zero: inferred from its packets
	Events    []Event       // what the lab did meanwhile
}

// Event is something that the lab did during the trial: a router's reboot, a host's move.
type Event struct {
	At   time.Duration // on the trace's clock
	What string
}

// Timeline is a trial as a sequence of packets between the hosts and routers of the two ways.
type Timeline struct {
	Lanes     []Lane
	Rows      []Row     // in the order of time, from the request on
	Journeys  []Journey // of all packets, the earlier ones and those of other hosts too
	Requested time.Duration
	Earlier   int // packets before the request
	Others    int // packets of other hosts since

	view  View
	trace *Trace
}

// Lane is a lifeline.
type Lane struct {
	Node  string // as in Step
	Name  string // the host's or router's
	Title string // its role
	Addr  string // its first address; empty: none is known
}

// Row is a packet, or several alike, or an event of the lab.
type Row struct {
	T     time.Duration // since the request: when the first one left
	Until time.Duration // when the last one left
	Came  time.Duration // when the last one arrived or ended
	Label string
	Kind  Kind
	Count int // packets; zero: the row is an event

	// Way is where it passed, by the numbers of the lanes; the fraction of a last or first number says that it ended
	// or began between two of them.
	Way      []float64
	Relayed  bool
	Drop     string // why it ended; empty: it arrived, or the capture ended first
	Inferred bool
	Open     bool // the capture ended before the packet's way did
}

// Packets of one kind on one way are shown singly up to shown; more make one row, and a new one after an event. Media's make
// one row from the beginning, and a new one after a pause, too.
const (
	shown      = 3
	pause      = 2 * time.Second
	largeFrame = 300 // bytes: a sealed message that is larger carries an initiation (PROTOCOL.md §5.1: at least 256)
)

// Timeline arranges a trial's packets.
func (t *Trace) Timeline(v View) (*Timeline, error) {
	journeys, err := t.Follow(v.Roles)
	if err != nil {
		return nil, err
	}
	l := &Timeline{Journeys: journeys, view: v, trace: t, Requested: v.Requested}
	l.lanes()
	if l.Requested == 0 {
		l.Requested = l.inferRequest()
	}
	g := grouping{rows: map[rowKey]*group{}}
	for _, e := range v.Events {
		g.parts = append(g.parts, e.At-l.Requested)
	}
	for i := range journeys {
		j := &journeys[i]
		row, ok := l.row(j)
		switch {
		case j.Start() < l.Requested:
			l.Earlier++
		case !ok:
			l.Others++
		default:
			g.add(row)
		}
	}
	for _, e := range v.Events { // before the packets of the same time
		at := e.At - l.Requested
		l.Rows = append(l.Rows, Row{T: at, Until: at, Came: at, Label: e.What})
	}
	l.Rows = append(l.Rows, g.list...)
	slices.SortStableFunc(l.Rows, func(a, b Row) int { return cmp.Compare(a.T, b.T) })
	return l, nil
}

// lanes puts the rendezvous between the two sides. A router of both is among the viewer's.
func (l *Timeline) lanes() {
	r := &l.view.Roles
	add := func(node, name, title, addr string) {
		if node != "" && l.lane(node) < 0 {
			l.Lanes = append(l.Lanes, Lane{Node: node, Name: name[strings.LastIndexByte(name, '/')+1:], Title: title, Addr: addr})
		}
	}
	host := func(name, title string) {
		if h := r.host(name); h != nil && len(h.Addrs) > 0 {
			add(name, name, title, h.Addrs[0].String())
		} else {
			add(name, name, title, "")
		}
	}
	gate := func(k *Router, title string) {
		if r.isOnWay(r.Viewer, k.node()) && r.isOnWay(r.Camera, k.node()) {
			title = "shared router"
		}
		if len(k.Addrs) > 0 {
			add(k.node(), k.Name, title, k.Addrs[0].String())
		} else {
			add(k.node(), k.Name, title, "")
		}
	}
	host(r.Viewer, "viewer")
	for _, k := range r.routers(r.Viewer) {
		gate(k, "viewer's router")
	}
	host(r.Rendezvous, "rendezvous")
	for _, k := range slices.Backward(r.routers(r.Camera)) {
		gate(k, "camera's router")
	}
	host(r.Camera, "camera")
}

// lane is a node's number, or -1.
func (l *Timeline) lane(node string) int {
	return slices.IndexFunc(l.Lanes, func(k Lane) bool { return k.Node == node })
}

// inferRequest finds the viewer's connect: its first large sealed message to the rendezvous, or else its first packet.
func (l *Timeline) inferRequest() time.Duration {
	var first *Journey
	for i := range l.Journeys {
		j := &l.Journeys[i]
		if j.sender() != l.view.Viewer {
			continue
		}
		if l.isConnect(j) {
			return j.Start()
		}
		if first == nil {
			first = j
		}
	}
	switch {
	case first != nil:
		return first.Start()
	case len(l.Journeys) > 0:
		return l.Journeys[0].Start()
	}
	return 0
}

func (l *Timeline) isConnect(j *Journey) bool {
	return j.Kind == Sealed && !j.Relayed && j.Size >= largeFrame && j.sender() == l.view.Viewer && l.to(j) == l.view.Rendezvous
}

func (l *Timeline) isIntroduce(j *Journey) bool {
	return j.Kind == Sealed && !j.Relayed && j.Size >= largeFrame && j.sender() == l.view.Rendezvous
}

// to is the node that a packet was sent to, as far as addresses tell.
func (l *Timeline) to(j *Journey) string { return l.view.owner(j.Dst.Addr()) }

// row draws one packet's way. It is false for a packet that did not begin or end on a lane.
func (l *Timeline) row(j *Journey) (Row, bool) {
	last := j.Last()
	r := Row{T: j.Start() - l.Requested, Kind: j.Kind, Count: 1, Relayed: j.Relayed, Label: l.label(j), Drop: j.Drop, Inferred: j.Inferred, Open: j.Open}
	r.Until, r.Came = r.T, last.T-l.Requested
	for _, s := range j.Steps {
		n := l.lane(s.Node)
		if n < 0 && s.Node != "" {
			return r, false
		}
		if n >= 0 && (len(r.Way) == 0 || r.Way[len(r.Way)-1] != float64(n)) {
			r.Way = append(r.Way, float64(n))
		}
		if s == last {
			break
		}
	}
	if len(r.Way) == 0 {
		return r, false
	}
	if j.Steps[0].Node == "" { // an error from the core
		r.Way = slices.Insert(r.Way, 0, r.Way[0]+l.side(int(r.Way[0]), l.view.Rendezvous)/2)
	}
	if j.Drop != "" && last.Node == "" {
		at := r.Way[len(r.Way)-1]
		to := l.target(last, int(at))
		r.Way = append(r.Way, l.between(last.At, at, float64(to)))
	}
	return r, len(r.Way) > 1 || j.Drop != "" || j.Open
}

// between is where a packet got lost on its way from one lane to another.
func (l *Timeline) between(at string, from, to float64) float64 {
	step := 0.5
	if to < from {
		step = -0.5
	}
	switch at {
	case atArrived: // on the way down
		return to - step
	case atCore:
		return (from+to)/2 + step/4 // never on a lane
	}
	return from + step
}

// target is the lane that a packet was on its way to when it was at a step.
func (l *Timeline) target(s Step, from int) int {
	if s.Packet >= 0 {
		if n := l.lane(l.view.owner(l.trace.Packets[s.Packet].Dst.Addr())); n >= 0 && n != from {
			return n
		}
	}
	if side := l.side(from, l.view.Rendezvous); side < 0 {
		return from - 1
	}
	return from + 1
}

// side is +1 if a node's lane is right of a lane, else -1.
func (l *Timeline) side(lane int, node string) float64 {
	if l.lane(node) > lane {
		return 1
	}
	return -1
}

// label says what a packet is, in a word or two, and of sealed ones what they must be.
func (l *Timeline) label(j *Journey) string {
	switch {
	case l.isConnect(j):
		return "connect"
	case l.isIntroduce(j):
		return "introduce"
	case l.isSample(j):
		return "sample"
	}
	return j.name()
}

// isSample reports whether a device sends the rendezvous a sealed message at an address at which it has no session: there the
// next mapping is looked at (PROTOCOL.md §8.2).
func (l *Timeline) isSample(j *Journey) bool {
	if j.Kind != Sealed || j.Relayed || l.to(j) != l.view.Rendezvous || j.sender() == l.view.Rendezvous {
		return false
	}
	initiated := false
	for i := range l.Journeys {
		if k := &l.Journeys[i]; k.Kind == Initiation && k.sender() == j.sender() && l.to(k) == l.view.Rendezvous {
			if k.Dst == j.Dst {
				return false
			}
			initiated = true
		}
	}
	return initiated
}

// rowKey is what packets have in common that may share a row.
type rowKey struct {
	kind    Kind
	relayed bool
	label   string // for kinds whose details don't count, without them
	way     string
	drop    string
	open    bool
}

type group struct {
	n    int // of this key so far
	open int // index into grouping.list of the row that more are added to; -1: none
}

// grouping collects rows.
type grouping struct {
	list  []Row
	rows  map[rowKey]*group
	parts []time.Duration // when something happened: no row goes on over it
}

func (g *grouping) parted(from, to time.Duration) bool {
	return slices.ContainsFunc(g.parts, func(t time.Duration) bool { return from < t && t <= to })
}

func (g *grouping) add(r Row) {
	key := rowKey{r.Kind, r.Relayed, r.Label, fmt.Sprint(r.Way), r.Drop, r.Open}
	atOnce := false
	switch r.Kind {
	case Media, RTCP:
		atOnce = true
	case TCP:
		atOnce = r.Label == "TCP data" || r.Label == "TCP ACK" || r.Label == tlsPrefix+"data" ||
			strings.HasSuffix(r.Label, Media.String()) || strings.HasSuffix(r.Label, RTCP.String())
	case Punch:
		key.label = "punch"
		if strings.HasSuffix(r.Label, lowTTL) {
			key.label += lowTTL
		}
	}
	k := g.rows[key]
	if k == nil {
		k = &group{open: -1}
		g.rows[key] = k
	}
	if k.open >= 0 {
		if row := &g.list[k.open]; (r.T-row.Until <= pause || !atOnce) && !g.parted(row.Until, r.T) {
			row.Until, row.Came = r.T, max(row.Came, r.Came)
			row.Count++
			return
		}
	}
	k.n++
	if atOnce || k.n > shown {
		k.open = len(g.list)
		r.Label = key.label
	}
	g.list = append(g.list, r)
}
