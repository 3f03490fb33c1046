package capture

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
)

// Journey is one packet's way through the lab, with its duplicates.
type Journey struct {
	ID, Parent uint64 // zero: unknown
	Info              // as its sender sent it, or as it was first seen
	Steps      []Step // in the order of the file
	Drop       string // why it never arrived; empty: it arrived, or the capture ended first
	Inferred   bool   // Drop is inferred and not the lab's own word
	Open       bool   // it did not come to an end that the taps would have seen: the capture ended first
}

// Step is a packet at one point.
type Step struct {
	Packet   int    // index into Trace.Packets; -1: it was inferred that the packet ended here
	Node     string // the host, by its name, or router, by "router " and its name, at which it is; empty: between them
	T        time.Duration
	At       string // the point
	Src, Dst pcapng.Change
	Drop     string
}

// Start is when the packet was first seen.
func (j *Journey) Start() time.Duration { return j.Steps[0].T }

// Last is where it was last seen: of duplicates, where the first came that a host got, else where the last one ended.
func (j *Journey) Last() Step {
	for _, s := range j.Steps {
		if s.At == atDelivered && s.Drop == "" {
			return s
		}
	}
	return j.Steps[len(j.Steps)-1]
}

// Delivered reports whether a host got it, and when first.
func (j *Journey) Delivered() (time.Duration, bool) {
	s := j.Last()
	return s.T, s.At == atDelivered && s.Drop == ""
}

// sender and receiver are the first and the last node that saw it.
func (j *Journey) sender() string { return j.Steps[0].Node }

func (j *Journey) receiver() string { return j.Last().Node }

// Follow puts together what the taps saw of each packet. The journeys are in the order of their starts.
func (t *Trace) Follow(roles Roles) ([]Journey, error) {
	if err := roles.validate(); err != nil {
		return nil, fmt.Errorf("follow packets: %w", err)
	}
	f := follower{t: t, roles: &roles, byID: map[uint64]int{}, at: map[string][]sighting{}, joined: map[int]int{}, watched: map[string]bool{}, prints: map[int]uint64{}}
	for i := range t.Packets {
		f.add(i)
	}
	f.infer()
	f.journeys = slices.DeleteFunc(f.journeys, func(j Journey) bool { return len(j.Steps) == 0 })
	for _, i := range t.Interfaces {
		if i.Kind == router {
			f.watched[routerNode+i.Name] = true
		}
	}
	for i := range f.journeys {
		j := &f.journeys[i]
		j.settle()
		_, came := j.Delivered()
		at := j.Last().Node
		j.Open = !came && j.Drop == "" && (roles.routerAt(at) == nil || f.watched[at])
	}
	slices.SortStableFunc(f.journeys, func(a, b Journey) int { return cmp.Compare(a.Start(), b.Start()) })
	return f.journeys, nil
}

// follower puts journeys together. A monitored packet begins as a journey of its own, which joins another one when
// its partner is found.
type follower struct {
	t        *Trace
	roles    *Roles
	journeys []Journey
	byID     map[uint64]int        // index into journeys
	joined   map[int]int           // of a journey that is part of another one
	at       map[string][]sighting // by the cable or uplink
	watched  map[string]bool       // routers behind which taps or monitors see what passed
	prints   map[int]uint64        // fingerprints of Trace.Packets
}

// sighting is a packet on the cable or link between a node and the router or core before it.
type sighting struct {
	packet  int
	journey int // index into journeys
	t       time.Duration
	out     bool // away from the node
	paired  bool
}

func (f *follower) add(i int) {
	p := &f.t.Packets[i]
	where := f.t.where(p)
	if p.Comment.ID == 0 && where.Kind != monitor {
		return // of another program: nothing can be said
	}
	n, known := f.byID[p.Comment.ID]
	if !known || p.Comment.ID == 0 {
		n = len(f.journeys)
		f.byID[p.Comment.ID] = n
		f.journeys = append(f.journeys, Journey{ID: p.Comment.ID, Parent: p.Comment.Parent, Info: p.Info})
	}
	s := f.step(i)
	_, cable := f.roles.place(where)
	if where.Kind == uplink && s.At == atSent && s.Drop != "" { // it left, and got lost on the way up
		left := s
		left.Drop, left.Src, left.Dst = "", pcapng.Change{}, pcapng.Change{}
		f.journeys[n].Steps = append(f.journeys[n].Steps, left)
		f.at[cable] = append(f.at[cable], sighting{packet: i, journey: n, t: s.T, out: true})
		s.Node = ""
	}
	f.journeys[n].Steps = append(f.journeys[n].Steps, s)
	if cable != "" && s.Node != "" && s.Drop == "" {
		f.at[cable] = append(f.at[cable], sighting{packet: i, journey: n, t: s.T, out: p.Dir == pcapng.Outbound})
	}
}

// step says where a packet is.
func (f *follower) step(i int) Step {
	p := &f.t.Packets[i]
	where := f.t.where(p)
	node, _ := f.roles.place(where)
	s := Step{Packet: i, Node: node, T: p.T + p.Comment.Late, At: p.Comment.At, Src: p.Comment.Src, Dst: p.Comment.Dst, Drop: p.Comment.Drop}
	isRouter := f.roles.routerAt(node) != nil
	switch {
	case where.Kind == uplink && (s.At == atArrived || s.At == atCore):
		s.Node = "" // on the way down, or in the core
	case s.At == atSent && s.Drop != "":
	case where.Kind == router && s.At == atDelivered, isRouter && p.Dir == pcapng.Outbound && where.Kind != router:
		s.At = atOutbound
	case isRouter && p.Dir == pcapng.Inbound && where.Kind != router:
		s.At = atInbound // not at a host yet
	case where.Kind == monitor && p.Dir == pcapng.Outbound:
		s.At = atSent
	case where.Kind == monitor:
		s.At = atDelivered
	}
	return s
}

// join makes two journeys one; the first's steps come first.
func (f *follower) join(first, second int) {
	first, second = f.root(first), f.root(second)
	a, b := &f.journeys[first], &f.journeys[second]
	a.Steps = append(a.Steps, b.Steps...)
	if a.ID == 0 {
		a.ID, a.Parent = b.ID, b.Parent
	}
	b.Steps = nil
	f.joined[second] = first
}

// root is the journey that one has become part of.
func (f *follower) root(n int) int {
	for {
		to, ok := f.joined[n]
		if !ok {
			return n
		}
		n = to
	}
}

// settle says whether the journey ended in a drop.
func (j *Journey) settle() {
	if _, ok := j.Delivered(); ok {
		return
	}
	for _, s := range j.Steps {
		if s.Drop != "" { // of duplicates, why the one ended that came furthest
			j.Drop, j.Inferred = s.Drop, s.Packet < 0
		}
	}
}
