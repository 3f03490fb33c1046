// Package tap writes what a fabric's taps see as a capture: the one mapping between fabric.TapEvent and pcapng, which
// lab/live uses in the fabric's process, tests in virtual time, and lab/capture to compare a replay with.
//
//	TapEvent{Where: uplink, Name: home, Point: sent, ID: 17, …}
//	  interface  "uplink home"         Where and Name; described when first seen
//	  direction  out                   away from site and host; Arrived, Inbound and Delivered are in
//	  time       origin + T            when the packet reached the point, on the fabric's clock
//	  comment    id=17 at=sent …       pcapng.Comment; At is the Point
//
// A router's packet is as it left, if it went on, and as it came, if it ended there. What passes a router of the kernel
// is seen by a monitor on its LAN device, an interface "monitor NAME" without comments.
package tap

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// Monitor is the kind of an interface that is no tap of the fabric; the other kinds are what fabric.Where says.
const Monitor = "monitor"

// App is the application that a capture's header names.
const App = "punchlab"

// Log turns events into the blocks of one capture. Its zero value is ready. It is not safe for concurrent use.
type Log struct {
	Origin time.Duration // time since 1970 at which the fabric's clock showed 0
	Snap   int           // bytes kept of a packet; zero: all

	ifaces map[key]int
	text   []byte
}

type key struct {
	kind string
	name string
}

// Name is the interface's name in the capture.
func (k key) String() string { return k.kind + " " + k.name }

// AppendHeader begins the capture.
func (l *Log) AppendHeader(b []byte) []byte { return pcapng.AppendHeader(b, App, l.Origin, nil) }

// AppendEvent adds what a tap saw. b's blocks must all be written in their order.
func (l *Log) AppendEvent(b []byte, e fabric.TapEvent) []byte {
	b, iface := l.iface(b, key{e.Where.String(), e.Name})
	l.text = CommentOf(e).AppendTo(l.text[:0])
	return pcapng.AppendPacket(b, iface, l.Origin+e.T, DirectionOf(e.Point), l.keep(e.Packet), len(e.Packet), l.text)
}

// AppendMonitored adds a packet that passed a kernel router's LAN device at t, on the fabric's clock. Outbound is what comes from the LAN.
// orig is its whole length, if data is not all of it.
func (l *Log) AppendMonitored(b []byte, name string, t time.Duration, dir pcapng.Direction, data []byte, orig int) []byte {
	b, iface := l.iface(b, key{Monitor, name})
	return pcapng.AppendPacket(b, iface, l.Origin+t, dir, l.keep(data), orig, "")
}

func (l *Log) keep(data []byte) []byte {
	if l.Snap > 0 && len(data) > l.Snap {
		return data[:l.Snap]
	}
	return data
}

// iface finds the interface's number or describes it.
func (l *Log) iface(b []byte, k key) ([]byte, int) {
	n, ok := l.ifaces[k]
	if ok {
		return b, n
	}
	if l.ifaces == nil {
		l.ifaces = map[key]int{}
	}
	n = len(l.ifaces)
	l.ifaces[k] = n
	return pcapng.AppendInterface(b, pcapng.Interface{Name: k.String()}), n
}

// InterfaceOf is the name of the interface at which an event is written.
func InterfaceOf(e fabric.TapEvent) string { return key{e.Where.String(), e.Name}.String() }

// DirectionOf is the direction of packets at a point; a hairpin has none.
func DirectionOf(p fabric.Point) pcapng.Direction {
	switch p {
	case fabric.Sent, fabric.Outbound, fabric.InCore:
		return pcapng.Outbound
	case fabric.Arrived, fabric.Inbound, fabric.Delivered:
		return pcapng.Inbound
	}
	return pcapng.Unknown
}

// CommentOf says in a comment's terms what became of the event's packet.
func CommentOf(e fabric.TapEvent) pcapng.Comment {
	c := pcapng.Comment{ID: e.ID, Parent: e.Parent, At: e.Point.String(), Late: max(e.Late, 0)}
	switch {
	case e.Cause != link.Passed:
		c.Drop = e.Cause.String()
	case e.Reason == nat.Held:
		c.Held = true
	case e.Reason != nat.Passed:
		c.Drop = e.Reason.String()
	case e.New != (fabric.Endpoints{}):
		c.Src, c.Dst = change(e.Old.Src, e.New.Src), change(e.Old.Dst, e.New.Dst)
	}
	return c
}

func change(from, to netip.AddrPort) pcapng.Change {
	if from == to || !from.IsValid() || !to.IsValid() {
		return pcapng.Change{}
	}
	return pcapng.Change{Old: from, New: to}
}
