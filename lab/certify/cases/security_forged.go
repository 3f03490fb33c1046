package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/topologies"
	"github.com/vishvananda/netlink"
)

// Limits of SEC-2.
const (
	drawnAtMost = 100 // packets that may go to a third party for a connect
	named       = 50  // addresses of the third party that are named at a time
)

// forgedAddresses is SEC-2: viewers that have a third party's addresses, fifty of them, on their own host, and so name these as theirs;
// and their own questions, again, in the third party's name.
func forgedAddresses(ctx context.Context, s *stage.Stage) certify.Result {
	x, third, err := bystander(ctx, s)
	if err != nil {
		return s.Judge(err)
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	forget, err := adopt(x.Host("viewer"), third)
	if err != nil {
		return s.Judge(err)
	}
	defer func() { _ = forget() }() // the host goes back to the pool
	s.Note("host viewer has %d addresses of host %s: %v to %v", len(third), thirdHost, third[0], third[len(third)-1])
	d := &drawing{s: s, x: x, camera: camera, third: third}
	r, bad := d.all(ctx)
	if err := forget(); err != nil {
		return s.Judge(err)
	}
	return concluded(s, r, bad)
}

// bystander brings up two homes, hosts that mean them harm, and a third party of a few hosts with fifty addresses.
func bystander(ctx context.Context, s *stage.Stage) (*stage.Set, []netip.Addr, error) {
	t, _, err := topologies.Load("attackers")
	if err != nil {
		return nil, nil, err
	}
	if err := t.Resolve(); err != nil {
		return nil, nil, err
	}
	third := make([]netip.Addr, 0, named)
	base := netip.MustParseAddr("198.51.100.128")
	for range named {
		third = append(third, base)
		base = base.Next()
	}
	const each = 13 // a host has 16 at most
	for i := 0; i < named; i += each {
		name := thirdHost
		if i > 0 {
			name = fmt.Sprintf("%s-%d", thirdHost, 1+i/each)
		}
		t.Public = append(t.Public, lab.PublicHost{Name: name, Link: "lan", Addrs: slices.Clone(third[i:min(named, i+each)])})
	}
	if err := t.Resolve(); err != nil {
		return nil, nil, fmt.Errorf("add a third party to topology attackers: %w", err)
	}
	x, err := s.Topology(ctx, t)
	return x, third, err
}

// adopt gives a host addresses that are another's: its programs take them for their own, and nothing comes to them there.
func adopt(m *lab.Machine, addrs []netip.Addr) (forget func() error, err error) {
	change := func(do func(*netlink.Handle, netlink.Link, *netlink.Addr) error) error {
		return m.Do(func() error {
			nl, err := netlink.NewHandle()
			if err != nil {
				return err
			}
			defer nl.Close()
			lo, err := nl.LinkByName("lo")
			if err != nil {
				return err
			}
			for _, a := range addrs {
				at, err := netlink.ParseAddr(netip.PrefixFrom(a, a.BitLen()).String())
				if err == nil {
					err = do(nl, lo, at)
				}
				if err != nil {
					return fmt.Errorf("address %v of host %s: %w", a, m.Name, err)
				}
			}
			return nil
		})
	}
	err = change((*netlink.Handle).AddrAdd)
	over := false
	return func() error {
		if over {
			return nil
		}
		over = true
		return change((*netlink.Handle).AddrDel)
	}, err
}

// drawing counts what the third party is sent.
type drawing struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	third  []netip.Addr
	served int // right viewers
}

// sent are the packets that the camera and the servers have sent to the third party, from a position on.
func (d *drawing) sent(from int) []tape.Packet {
	hosts := []string{d.camera.Host(), "rendezvous", d.x.Relay()}
	return d.x.Tape().Packets(from, tape.From(hosts...), tape.To(d.third...))
}

// all draws in every way.
func (d *drawing) all(ctx context.Context) (certify.Result, bool) {
	ticket, err := d.camera.Ticket()
	if err != nil {
		return d.s.Judge(err), true
	}
	right := d.s.N(40, 2)
	for i := range right {
		if r, bad := d.connect(ctx, "a right viewer", ticket, 1, true); bad {
			return r, true
		}
		if i%4 == 0 || d.s.Brief() {
			if r, bad := d.connect(ctx, "a viewer without credentials", d.wrong(ticket), 100+i, false); bad {
				return r, true
			}
		}
	}
	for i := range d.s.N(12, 2) {
		if r, bad := d.again(ctx, i); bad {
			return r, true
		}
	}
	// Where nothing could be sent again, right viewers make up for the tries that the claim needs.
	for !d.s.Brief() && d.s.Claim().Tries < d.s.Case().Tries() {
		if r, bad := d.connect(ctx, "a right viewer", ticket, 1, true); bad {
			return r, true
		}
	}
	if d.served == 0 {
		return d.s.Inconclusive("no right viewer was served: that little goes to the addresses that it named shows nothing"), true
	}
	// What is still sent to the third party so long after the last connect goes on for ever.
	if err := settle(ctx, d.s, "the last connect ends", d.s.For(30*time.Second, 4*time.Second)); err != nil {
		return d.s.Judge(err), true
	}
	from := d.x.Tape().Mark()
	late := d.s.For(10*time.Second, time.Second)
	if err := settle(ctx, d.s, "whether anything still goes to the third party", late); err != nil {
		return d.s.Judge(err), true
	}
	if n := len(d.sent(from)); n > 0 {
		return d.s.Fail("%v after the last connect %d packets went to the third party within %v", d.s.For(30*time.Second, 4*time.Second), n, late), true
	}
	return certify.Result{}, false
}

// wrong is the camera's ticket with its secrets changed.
func (d *drawing) wrong(ticket []byte) []byte {
	if l, ok := labelOf(ticket); ok {
		l.Secret[0] ^= 1
		return []byte(l.String())
	}
	draw := rand.New(rand.NewPCG(d.s.Seed(21), 2))
	other := bytes.Clone(ticket)
	_, secrets, err := credentials(d.s, d.camera)
	for _, secret := range secrets {
		other = bytes.ReplaceAll(other, secret.Bytes, alike(draw, secret.Bytes))
	}
	if err != nil || bytes.Equal(other, ticket) {
		return alike(draw, ticket)
	}
	return other
}

// connect has a viewer that names the third party's addresses ask for the camera, and counts what these are sent until it has gone.
func (d *drawing) connect(ctx context.Context, who string, ticket []byte, unit int, right bool) (certify.Result, bool) {
	from, began := d.x.Tape().Mark(), time.Now()
	v, err := d.x.View(ctx, stage.Viewing{Camera: d.camera, Ticket: ticket, Unit: unit, For: time.Second})
	if err != nil {
		return d.s.Judge(err), true
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	code, err := v.Wait(within)
	var timeout *stage.Timeout
	if errors.As(err, &timeout) && ctx.Err() == nil {
		err = v.Stop()
	}
	if err != nil {
		return d.s.Judge(err), true
	}
	frames := len(v.Frames())
	if right && (frames > 0 || d.x.Tape().Count(from, tape.CameTo(v.Host()), tape.Media) > 0) {
		d.served++
	}
	return d.judge(who, from, began, frames == 0, map[string]any{"frames": frames, "exit code": code})
}

// again sends the questions that a viewer has put to the servers once more, each from fifty endpoints of the third party.
func (d *drawing) again(ctx context.Context, round int) (certify.Result, bool) {
	routes := d.x.Routes()
	asked := sample(d.x.Tape().Packets(0, tape.CameTo("rendezvous", d.x.Relay()), tape.By(routes.External("viewer")...)), 40)
	if len(asked) == 0 {
		d.s.Note("viewers asked the servers by TCP alone: nothing can be sent again in another's name")
		return certify.Result{}, false
	}
	p := asked[round%len(asked)]
	from, began := d.x.Tape().Mark(), time.Now()
	var shots []attack.Shot
	for i := range named {
		shots = append(shots, attack.Shot{From: netip.AddrPortFrom(d.third[i%len(d.third)], uint16(4000+i)), To: p.Dst, B: p.Payload})
	}
	if err := volley(ctx, d.x.Host(farHost), 500, shots); err != nil {
		return d.s.Judge(err), true
	}
	if err := d.s.Pause(ctx, d.s.For(2*time.Second, 500*time.Millisecond)); err != nil { // what is sent again counts
		return d.s.Judge(err), true
	}
	return d.judge(fmt.Sprintf("a viewer's datagram of %d bytes, sent again from %d of its endpoints", len(p.Payload), named), from, began, false, nil)
}

// judge holds what the third party was sent since a position to the limits.
func (d *drawing) judge(who string, from int, began time.Time, refused bool, more map[string]any) (certify.Result, bool) {
	s := d.s
	sent := d.sent(from)
	media := tape.Count(sent, tape.Media)
	reached := map[netip.Addr]bool{}
	for _, p := range sent {
		reached[p.Dst.Addr()] = true
	}
	over := len(sent) > drawnAtMost || media > 0
	s.Saw("tries", 1)
	s.Try(over)
	s.Saw("drawn", len(sent))
	if refused {
		s.Saw("drawn", 1)
	}
	line := map[string]any{"try": who, "packets": len(sent), "media packets": media, "addresses": len(reached), "bytes": tape.Bytes(sent)}
	for k, v := range more {
		line[k] = v
	}
	s.Record(line)
	s.Note("%s: %d packets of %d bytes went to %d addresses of the third party, %d of them media %v", who, len(sent), tape.Bytes(sent), len(reached), media, more)
	switch {
	case media > 0:
		return s.Fail("for %s %d packets of 500 bytes or more went to the third party, and none may", who, media), true
	case over:
		by := map[string]int{}
		for _, p := range sent {
			by[p.Host]++
		}
		hosts := make([]string, 0, len(by))
		for h := range by {
			hosts = append(hosts, h)
		}
		slices.Sort(hosts)
		return s.Fail("for %s %d packets went to the third party within %.1f s, from %v to %d addresses; %d may be", who, len(sent),
			time.Since(began).Seconds(), hosts, len(reached), drawnAtMost), true
	}
	return certify.Result{}, false
}
