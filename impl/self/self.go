// Package self is what a camera and a viewer have alike, beside their session with the rendezvous (impl/uplink): the
// sockets beside the main one, the class of the NATs before them, and the addresses by which they may be reached.
//
//	Up ──► classify on fresh sockets ──► Classified ──► report{class, candidates} to the rendezvous
//	                                         │              ▲
//	                                         └──► Ready     └── Mapped: a router forwards a port
//
// A Device is a part of a core: its owner hands it what HandleOpened, HandlePacket and HandleTimeout get, and its outbox.
package self

import (
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/classify"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
)

// Config describes a Device.
type Config struct {
	Servers  []netip.AddrPort // of the rendezvous
	Host     []netip.AddrPort // own addresses and ports
	Relayed  []netip.AddrPort // sockets of the driver that a TURN server lends
	Classify bool
	Rand     io.Reader
	// Classified is called with each result, Ready once the device is up and, with Classify, classified.
	Classified func(now time.Time, c wire.Class)
	Ready      func(now time.Time)
}

// Device is not safe for concurrent use.
type Device struct {
	cfg  Config
	box  *core.Outbox
	link *uplink.Link

	asked   []request // for sockets; the first one's is on its way
	socks   map[netip.AddrPort]bool
	opened  int
	class   wire.Class
	known   map[netip.Addr]wire.Class // by own external address
	told    bool                      // the rendezvous was told something, which may have to be taken back
	mapped  netip.AddrPort
	running *classify.Classifier
	seen    netip.Addr // own external address when the class was found out
	ready   bool
}

// request is one for sockets. start has the driver asked for them, opened takes its answer.
type request struct {
	start  func()
	opened func(now time.Time, socks []netip.AddrPort, err error)
}

// New returns a Device that sends by box.
func New(cfg Config, link *uplink.Link, box *core.Outbox) *Device {
	d := &Device{cfg: cfg, link: link, box: box, socks: map[netip.AddrPort]bool{}, known: map[netip.Addr]wire.Class{}}
	for _, s := range cfg.Relayed {
		d.socks[s] = true
	}
	return d
}

// Class is what is known of the NATs before this device.
func (d *Device) Class() wire.Class { return d.class }

// Opened is how many sockets have been opened beside the main one.
func (d *Device) Opened() int { return d.opened }

// Local names a socket as paths do: zero is the main one.
func (d *Device) Local(to netip.AddrPort) netip.AddrPort {
	if d.socks[to] {
		return to
	}
	return netip.AddrPort{}
}

// Candidates are the addresses by which a peer may reach this device, beside the one that the rendezvous sees.
func (d *Device) Candidates() []netip.AddrPort {
	var cs []netip.AddrPort
	if d.mapped.IsValid() {
		cs = append(cs, d.mapped)
	}
	cs = append(cs, d.cfg.Relayed...)
	for _, h := range d.cfg.Host {
		if !slices.Contains(cs, h) {
			cs = append(cs, h)
		}
	}
	return cs[:min(len(cs), wire.MaxCandidates)]
}

// Open asks for n sockets. The requests are answered one after the other.
func (d *Device) Open(n int, opened func(now time.Time, socks []netip.AddrPort, err error)) {
	d.request(request{start: func() { d.box.Open(n) }, opened: func(now time.Time, socks []netip.AddrPort, err error) {
		for _, s := range socks {
			d.socks[s] = true
		}
		opened(now, socks, err)
	}})
}

func (d *Device) request(r request) {
	if d.asked = append(d.asked, r); len(d.asked) == 1 {
		r.start()
	}
}

// HandleOpened takes the driver's answer.
func (d *Device) HandleOpened(now time.Time, socks []netip.AddrPort, err error) {
	if len(d.asked) == 0 {
		d.box.Close(socks...)
		return
	}
	d.opened += len(socks)
	r := d.asked[0]
	d.asked = d.asked[1:]
	r.opened(now, socks, err)
	if len(d.asked) > 0 {
		d.asked[0].start()
	}
	d.finish(now)
}

// Close gives sockets back.
func (d *Device) Close(socks []netip.AddrPort) {
	for _, s := range socks {
		if !slices.Contains(d.cfg.Relayed, s) {
			delete(d.socks, s)
			d.box.Close(s)
		}
	}
}

// maxKnown is of how many external addresses the class is remembered.
const maxKnown = 8

// Up is called when a session with the rendezvous begins: where it is the first, or the device appears from another address, the
// NATs are classified. Until then their class is what it was when the device last appeared from there, or unknown.
func (d *Device) Up(now time.Time) {
	if d.moved() {
		d.class = d.known[d.link.Reflexive().Addr()]
	}
	d.report(now)
	if !d.cfg.Classify {
		d.becomeReady(now)
		return
	}
	server := d.link.Remote()
	proto, _ := core.ProtoOf(server)
	switch {
	case proto != core.UDP: // UDP is blocked
		d.classified(now, wire.Class{})
	case d.running == nil && d.seen != d.link.Reflexive().Addr():
		d.classify(now, server)
	}
}

// moved says whether the device appears from another address than that of its last classification.
func (d *Device) moved() bool { return d.seen.IsValid() && d.seen != d.link.Reflexive().Addr() }

func (d *Device) classify(now time.Time, server netip.AddrPort) {
	var others []netip.AddrPort
	for _, s := range d.cfg.Servers {
		if p, _ := core.ProtoOf(s); p == core.UDP && s != server {
			others = append(others, s)
		}
	}
	var host []netip.Addr
	for _, h := range d.cfg.Host {
		host = append(host, h.Addr())
	}
	d.seen = d.link.Reflexive().Addr()
	c := classify.New(classify.Config{Server: server, Others: others, Host: host, RTT: d.link.RTT(), Rand: d.cfg.Rand}, d.box)
	d.running = c
	d.request(request{start: func() { c.Start(now) }, opened: c.Opened})
}

// Moved is called when this device appears from elsewhere: its NATs may be others.
func (d *Device) Moved(now time.Time) {
	if d.ready {
		d.Up(now)
	}
}

// Mapped notes that a router forwards an external address to the main socket; zero: none does.
func (d *Device) Mapped(now time.Time, external netip.AddrPort) {
	if external == d.mapped {
		return
	}
	d.mapped = external
	d.report(now)
}

// report tells the rendezvous, where there is anything to tell.
func (d *Device) report(now time.Time) {
	if cs := d.Candidates(); !d.class.IsZero() || len(cs) > 0 || d.told {
		d.told = true
		d.link.Report(now, d.class, cs)
	}
}

// Handle takes a datagram and says whether it was the classification's.
func (d *Device) Handle(now time.Time, from, to netip.AddrPort, b []byte) bool {
	if d.running == nil || !d.running.Handle(now, from, to, b) {
		return false
	}
	d.finish(now)
	return true
}

// HandleTimeout does what is due.
func (d *Device) HandleTimeout(now time.Time) {
	if d.running != nil {
		d.running.HandleTimeout(now)
		d.finish(now)
	}
}

// Deadline is when HandleTimeout is wanted; zero: never.
func (d *Device) Deadline() time.Time {
	if d.running == nil {
		return time.Time{}
	}
	return d.running.Deadline()
}

// finish takes the result of a classification that is over.
func (d *Device) finish(now time.Time) {
	if d.running == nil {
		return
	}
	if class, over := d.running.Result(); over {
		d.running = nil
		if d.moved() { // meanwhile: it says nothing of where the device is now
			d.Up(now)
			return
		}
		d.classified(now, class)
	}
}

func (d *Device) classified(now time.Time, class wire.Class) {
	d.class = class
	if d.seen.IsValid() {
		if len(d.known) >= maxKnown {
			clear(d.known)
		}
		d.known[d.seen] = class
	}
	d.report(now)
	d.cfg.Classified(now, class)
	d.becomeReady(now)
}

func (d *Device) becomeReady(now time.Time) {
	if !d.ready {
		d.ready = true
		d.cfg.Ready(now)
	}
}

// Shut ends a classification that runs.
func (d *Device) Shut(now time.Time) {
	if d.running != nil {
		d.running.Cancel(now)
		d.running = nil
	}
}
