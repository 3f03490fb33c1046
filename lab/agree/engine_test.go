package agree_test

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/agree"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// An engine makes routers.
type engine struct {
	name     string
	virtual  bool // its clock is moved, not waited for
	supports func(nat.Behavior) error
	start    func(setup) (router, error)
}

// A router translates packets. What it makes of them comes from answers.
type router interface {
	// send gives the router a packet. It returns what the router sends because of it, and why it sends nothing where
	// that is known. Expect is how many packets should come, or less than zero if nobody knows.
	send(from nat.Side, b []byte, expect int) ([]sent, nat.Reason, error)
	// advance lets time pass.
	advance(d time.Duration) ([]sent, error)
	mapPort(m nat.PortMap) (netip.AddrPort, error)
	unmapPort(m nat.PortMap) error
	portMaps() ([]nat.PortMap, error)
	reset(seed uint64) error
	apply(b nat.Behavior, seed uint64) error
	setExternal(addrs []netip.Addr) error
	close() error
}

// sent is a packet that a router sends.
type sent struct {
	to nat.Side
	b  []byte
}

var tableEngine = engine{
	name: "table", virtual: true, supports: func(nat.Behavior) error { return nil },
	start: func(s setup) (router, error) {
		t, err := nat.NewTable(s.tableConfig())
		return &tableRouter{table: t}, err
	},
}

// tableRouter is a nat.Table in virtual time.
type tableRouter struct {
	table *nat.Table
	now   time.Duration
}

func (r *tableRouter) send(from nat.Side, b []byte, _ int) (all []sent, reason nat.Reason, err error) {
	v := r.table.Translate(r.now, from, b)
	if v.Reason == nat.Passed {
		all = append(all, sent{v.To, slices.Clone(v.Packet)})
	}
	return append(all, r.emissions()...), v.Reason, nil
}

func (r *tableRouter) emissions() (all []sent) {
	for e, ok := r.table.Next(); ok; e, ok = r.table.Next() {
		all = append(all, sent{e.To, slices.Clone(e.Packet)})
	}
	return all
}

func (r *tableRouter) advance(d time.Duration) (all []sent, err error) {
	for end := r.now + d; ; {
		due, ok := r.table.Deadline()
		if !ok || due > end {
			r.now = end
			r.table.Advance(r.now)
			return append(all, r.emissions()...), nil
		}
		r.now = max(r.now, due)
		r.table.Advance(r.now)
		all = append(all, r.emissions()...)
	}
}

func (r *tableRouter) mapPort(m nat.PortMap) (netip.AddrPort, error) { return r.table.Map(r.now, m) }
func (r *tableRouter) unmapPort(m nat.PortMap) error                 { return r.table.Unmap(r.now, m) }
func (r *tableRouter) portMaps() ([]nat.PortMap, error)              { return r.table.PortMaps(r.now), nil }
func (r *tableRouter) reset(seed uint64) error                       { r.table.Reset(seed); return nil }
func (r *tableRouter) apply(b nat.Behavior, seed uint64) error       { return r.table.Apply(b, seed) }
func (r *tableRouter) setExternal(addrs []netip.Addr) error          { return r.table.SetExternal(addrs) }
func (r *tableRouter) close() error                                  { return nil }

var netfilterEngine = engine{
	name: "netfilter", supports: netfilter.Supports,
	start: func(s setup) (router, error) {
		k, err := agree.NewKernel(s.kernelConfig())
		return &kernelRouter{Kernel: k}, err
	},
}

// kernelRouter is netfilter between two TUN devices.
type kernelRouter struct{ *agree.Kernel }

func (r *kernelRouter) send(from nat.Side, b []byte, expect int) ([]sent, nat.Reason, error) {
	device := r.LAN
	if from == nat.Outside {
		device = r.WAN
	}
	if err := device.Send(b); err != nil {
		return nil, nat.Passed, err
	}
	all, err := collect(r.LAN, r.WAN, expect)
	return all, nat.NoMapping, err
}

// receiver is where packets come out.
type receiver interface {
	Receive(wait time.Duration) ([]byte, error)
}

// collect takes what comes out at both sides: as many packets as are expected, and what there is besides.
func collect(inside, outside receiver, expect int) (all []sent, err error) {
	take := func(wait time.Duration) (got bool) {
		for side, d := range []receiver{inside, outside} {
			b, e := d.Receive(wait)
			err = errors.Join(err, e)
			if b != nil {
				all, got = append(all, sent{nat.Side(side), b}), true
			}
			wait = 0 // has passed for both
		}
		return got
	}
	for end := time.Now().Add(agree.Comes); len(all) < expect && err == nil && time.Now().Before(end); {
		take(time.Millisecond)
	}
	if expect <= 0 {
		for take(agree.Never) && err == nil {
		}
	}
	for take(0) && err == nil {
	}
	return all, err
}

// advance waits: nothing but time ends a mapping in the kernel.
func (r *kernelRouter) advance(d time.Duration) ([]sent, error) {
	<-time.After(d)
	return collect(r.LAN, r.WAN, 0)
}

func (r *kernelRouter) mapPort(m nat.PortMap) (netip.AddrPort, error) { return r.Router.Map(m) }
func (r *kernelRouter) unmapPort(m nat.PortMap) error                 { return r.Router.Unmap(m) }
func (r *kernelRouter) portMaps() ([]nat.PortMap, error)              { return r.Router.PortMaps() }
func (r *kernelRouter) reset(seed uint64) error                       { return r.Router.Reset(seed) }
func (r *kernelRouter) apply(b nat.Behavior, seed uint64) error       { return r.Router.Apply(b, seed) }
func (r *kernelRouter) setExternal(addrs []netip.Addr) error          { return r.Router.SetExternal(addrs) }
func (r *kernelRouter) close() error                                  { return r.Close() }
