package capture

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/capture/tap"
	"github.com/punchlab/punchlab/lab/fabric"
)

// Sender is where a replay's packets enter: a *fabric.Station or the *fabric.Uplink of a public host.
type Sender interface {
	Send(now time.Duration, p *fabric.Packet)
}

// Replay is a net like the one that was captured: of the same topology, just reset with the same seed, with nothing in
// flight.
type Replay struct {
	Fabric *fabric.Fabric
	Net    *fabric.Net
	Inputs map[string]Sender // by interface, "station camera" or "uplink rendezvous": all hosts that may have sent something
	Events []ReplayEvent     // what the lab did to the net meanwhile, in the order of time
}

// ReplayEvent is something that the lab did: a router's reboot, another profile, a port mapping.
type ReplayEvent struct {
	At time.Duration // on the trace's clock
	Do func(now time.Duration)
}

// Verification is what a replay showed.
type Verification struct {
	Inputs    int    `json:"inputs"`             // packets that hosts sent
	Sightings int    `json:"sightings"`          // of packets at taps that were compared
	Mismatch  string `json:"mismatch,omitempty"` // the first difference; empty: every translation, drop and delay is the same
}

// Verify sends what a capture's hosts sent, at the same times, through a net of the same seed in virtual time, and
// compares what the taps see: interface, point, time, translation, drop and every byte. Only lateness is left out,
// since virtual time has none.
//
// The capture must have begun with the net's Reset and hold whole packets, and all routers must be of engine table:
// otherwise there is an error and no verdict.
func Verify(t *Trace, setup func() (*Replay, error)) (Verification, error) {
	r, err := setup()
	if err != nil {
		return Verification{}, fmt.Errorf("verify capture: set the replay up: %w", err)
	}
	want, inputs, err := t.sightings(r)
	if err != nil {
		return Verification{}, fmt.Errorf("verify capture: %w", err)
	}
	got, err := r.play(t, inputs, want[len(want)-1].t)
	if err != nil {
		return Verification{}, fmt.Errorf("verify capture: %w", err)
	}
	return Verification{Inputs: len(inputs), Sightings: len(want), Mismatch: compare(want, got)}, nil
}

// seen is what a tap saw, with the packets numbered in the order in which they appear.
type seen struct {
	iface   string
	t       time.Duration
	dir     pcapng.Direction
	comment pcapng.Comment
	data    []byte
}

func (s *seen) String() string {
	return fmt.Sprintf("%s at %v, %s: %d bytes %q", s.iface, s.t, s.dir, len(s.data), s.comment)
}

// numbering renames packets: what a big packet was split into has other numbers where the parts are sent themselves.
type numbering map[uint64]uint64

func (n numbering) rename(c pcapng.Comment) pcapng.Comment {
	if _, ok := n[c.ID]; !ok {
		n[c.ID] = uint64(len(n) + 1)
	}
	c.ID, c.Parent, c.Late = n[c.ID], n[c.Parent], 0
	if c.Drop == "device" && c.At == atDelivered {
		c.Drop = "" // a real host's queue was full: nothing that a net decides
	}
	return c
}

// sightings lists what is to be compared, and which of the packets the hosts sent.
func (t *Trace) sightings(r *Replay) (want []seen, inputs []*Packet, err error) {
	n, entered := numbering{}, map[uint64]bool{}
	least := uint64(0)
	for i := range t.Packets {
		p := &t.Packets[i]
		c := p.Comment
		where := t.where(p)
		switch {
		case where.Kind == monitor:
			return nil, nil, fmt.Errorf("%s is a router of the kernel: only engine table can be replayed", where.Name)
		case c.ID == 0:
			return nil, nil, fmt.Errorf("packet %d of %v has no number: it was not captured by a tap", i+1, where)
		case len(p.Data) < p.Size:
			return nil, nil, errors.New("packets were cut: capture without a snap length")
		}
		if low := c.ID; least == 0 || low < least {
			least = low
		}
		if c.Parent != 0 {
			least = min(least, c.Parent)
		}
		if c.At == atSent && r.Inputs[where.String()] != nil && !entered[c.ID] {
			entered[c.ID] = true
			inputs = append(inputs, p)
		}
		want = append(want, seen{where.String(), p.T, p.Dir, n.rename(c), p.Data})
	}
	switch {
	case len(want) == 0:
		return nil, nil, errors.New("the capture is empty")
	case least != 1:
		return nil, nil, fmt.Errorf("the capture begins with packet %d of the net: capture from the reset on", least)
	}
	return want, inputs, nil
}

// play sends the inputs and lets time pass until end. It returns what the taps saw.
func (r *Replay) play(t *Trace, inputs []*Packet, end time.Duration) (got []seen, err error) {
	n := numbering{}
	r.Net.SetTap(func(e fabric.TapEvent) {
		got = append(got, seen{tap.InterfaceOf(e), e.T, tap.DirectionOf(e.Point), n.rename(tap.CommentOf(e)), slices.Clone(e.Packet)})
	})
	defer r.Net.SetTap(nil)
	events := r.Events
	until := func(now time.Duration) {
		for len(events) > 0 && events[0].At <= now {
			r.Fabric.Deliver(events[0].At, 0)
			events[0].Do(events[0].At)
			events = events[1:]
		}
	}
	for _, p := range inputs {
		until(p.T)
		k := r.Fabric.Get()
		if len(p.Data) > maxPacket || k == nil {
			return nil, fmt.Errorf("a packet of %d bytes was sent at %v: the fabric takes no such packet", len(p.Data), p.T)
		}
		k.Set(p.Data)
		r.Inputs[t.where(p).String()].Send(p.T, k)
	}
	until(end)
	r.Fabric.Deliver(end, 0)
	return got, nil
}

// maxPacket is what fits a fabric.Packet from Get.
const maxPacket = 2000

// compare names the first difference. The capture may have ended in the middle of what happened at its last time.
func compare(want, got []seen) string {
	for i := range want {
		if i == len(got) {
			return fmt.Sprintf("sighting %d is missing from the replay: captured was %v", i+1, &want[i])
		}
		w, g := &want[i], &got[i]
		switch {
		case w.iface != g.iface || w.t != g.t || w.dir != g.dir || w.comment != g.comment || len(w.data) != len(g.data):
			return fmt.Sprintf("sighting %d: captured was %v; the replay has %v", i+1, w, g)
		case !bytes.Equal(w.data, g.data):
			at := 0
			for w.data[at] == g.data[at] {
				at++
			}
			return fmt.Sprintf("sighting %d, %v: byte %d was captured as %#02x; the replay has %#02x", i+1, w, at, w.data[at], g.data[at])
		}
	}
	end := want[len(want)-1].t
	for i := len(want); i < len(got); i++ {
		if got[i].t < end {
			return fmt.Sprintf("the replay has what was not captured: %v", &got[i])
		}
	}
	return ""
}
