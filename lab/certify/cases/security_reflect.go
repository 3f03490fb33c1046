package cases

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// hardCap is how many times as many bytes may go to whom somebody else names as came in that name (RFC 9000 §8.1).
const hardCap = 3

// reflection is SEC-1: whatever begins something is sent in a third party's name, and the bytes are counted that this is sent.
func reflection(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := victims(ctx, s)
	if err != nil {
		return s.Judge(err)
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	v, err := x.View(ctx, stage.Viewing{Camera: camera, For: time.Hour})
	if err != nil {
		return s.Judge(err)
	}
	if _, err := v.FirstFrame(ctx); err != nil {
		return s.Judge(err)
	}
	if err := settle(ctx, s, "what the three say to each other is recorded", s.For(30*time.Second, 500*time.Millisecond)); err != nil {
		return s.Judge(err)
	}
	f := newForging(s, x)
	defer f.close()
	if err := f.everything(camera); err != nil {
		return s.Judge(err)
	}
	from := x.Tape().Mark()
	s.Note("%d datagrams are sent in the name of host %s, while a viewer watches", len(f.shots), thirdHost)
	if err := f.fire(ctx, 200); err != nil {
		return s.Judge(err)
	}
	if err := settle(ctx, s, "what is answered, and sent again", s.For(30*time.Second, 1500*time.Millisecond)); err != nil {
		return s.Judge(err)
	}
	if err := v.Stop(); err != nil {
		return s.Judge(err)
	}
	all, others := f.count(from)
	return f.judge(all, others)
}

// everything adds all that an attacker can make or has captured, for each endpoint of the servers and the camera.
func (f *forging) everything(camera *stage.Camera) error {
	x, s := f.x, f.s
	ticket, err := camera.Ticket()
	if err != nil {
		return err
	}
	label, bundled := labelOf(ticket)
	random := rand.NewChaCha8([32]byte{byte(s.Seed(12)), byte(s.Seed(13)), 1})
	servers := []string{"rendezvous"}
	if x.Relay() != "rendezvous" {
		servers = append(servers, x.Relay())
	}
	for _, host := range servers {
		came := x.Tape().Packets(0, tape.CameTo(host))
		var kinds []attack.Kind
		if bundled {
			kinds = attack.Kinds(attack.ToRendezvous, label.RendezvousKey, random)
		}
		for _, at := range ends(came, 3) {
			if err := f.against(farHost, host, at, came, kinds); err != nil {
				return err
			}
		}
	}
	// The camera by its own LAN, where nothing is filtered, and at its router's address, as the servers see it.
	came := x.Tape().Packets(0, tape.CameTo(camera.Host()))
	var kinds []attack.Kind
	if bundled {
		kinds = attack.Kinds(attack.ToCamera, label.Key, random)
	}
	for _, at := range ends(came, 3) {
		if err := f.against(nearHost, camera.Host(), at, came, kinds); err != nil {
			return err
		}
	}
	homes := x.Routes()
	outside := homes.External(camera.Host())
	var seen []netip.AddrPort
	for _, p := range x.Tape().Packets(0, tape.CameTo("rendezvous"), tape.UDP, tape.By(outside...)) {
		if !slices.Contains(seen, p.Src) && len(seen) < 2 {
			seen = append(seen, p.Src)
		}
	}
	for _, at := range seen {
		if err := f.against(farHost, camera.Host(), at, came, kinds); err != nil {
			return err
		}
	}
	return nil
}

// against adds what is sent to one endpoint: what others have sent to its host, as it was, cut short, and longer; what other protocols
// begin with; and of the bundled protocol each sort of datagram.
func (f *forging) against(by, target string, to netip.AddrPort, came []tape.Packet, kinds []attack.Kind) error {
	for range f.s.N(5, 1) {
		for _, p := range sample(came, 12) {
			name := fmt.Sprintf("a captured datagram of %d bytes (%02x…)", len(p.Payload), p.Payload[0])
			for _, v := range []struct {
				how string
				b   []byte
			}{
				{"as it was", p.Payload}, {"cut short", p.Payload[:1+f.draw.IntN(len(p.Payload))]},
				{"longer", append(bytes.Clone(p.Payload), make([]byte, 1+f.draw.IntN(100))...)},
			} {
				if err := f.add(by, target, to, name+", "+v.how, v.b); err != nil {
					return err
				}
			}
		}
		for _, q := range probes() {
			if err := f.add(by, target, to, q.name, q.b); err != nil {
				return err
			}
		}
		for _, k := range kinds {
			b, err := k.Make()
			if err != nil {
				return err
			}
			for _, v := range []struct {
				how string
				b   []byte
			}{{"", b}, {", cut short", b[:max(1, len(b)/2)]}, {", longer", append(bytes.Clone(b), make([]byte, 50)...)}} {
				if err := f.add(by, target, to, k.Name+v.how, v.b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sorted is what a sort of message drew from a host.
type sorted struct {
	Target   string  `json:"target"`
	Message  string  `json:"message"`
	Arrived  int     `json:"arrived"`
	BytesIn  int64   `json:"bytes in"`
	Packets  int     `json:"packets out"`
	BytesOut int64   `json:"bytes out"`
	Worst    float64 `json:"worst ratio of one"`
}

// judge holds each datagram to the bytes that it drew.
func (f *forging) judge(all []drawn, others int) certify.Result {
	s := f.s
	byKind := map[[2]string]*sorted{}
	var order []*sorted
	worst, longer, in, out, arrived := drawn{}, drawn{}, int64(0), int64(0), 0
	ratio := func(d drawn) float64 { return float64(d.Out) / float64(max(d.In, 1)) }
	said := func(d drawn) float64 { return float64(d.Out-d.ICMP) / float64(max(d.In, 1)) } // by the program
	for _, d := range all {
		if d.In == 0 && d.Out == 0 {
			continue // a router kept it out
		}
		arrived++
		in, out = in+d.In, out+d.Out
		s.Try(ratio(d) > hardCap)
		if ratio(d) > ratio(worst) {
			worst = d
		}
		if said(d) > said(longer) {
			longer = d
		}
		k := byKind[[2]string{d.target, d.message}]
		if k == nil {
			k = &sorted{Target: d.target, Message: d.message}
			byKind[[2]string{d.target, d.message}] = k
			order = append(order, k)
		}
		k.Arrived++
		k.BytesIn, k.BytesOut, k.Packets, k.Worst = k.BytesIn+d.In, k.BytesOut+d.Out, k.Packets+d.Packets, max(k.Worst, ratio(d))
	}
	for _, k := range order {
		s.Record(k)
	}
	s.Saw("tries", arrived)
	s.Saw("messages", len(order))
	s.Note("%d of %d forged datagrams of %d sorts arrived, %d bytes; %d bytes went to whom they named, and %d packets more; the worst drew %.2f times its own bytes, ICMP counted: %s at host %s; answers were %.2f times as long at most",
		arrived, len(all), len(order), in, out, others, ratio(worst), worst.message, worst.target, said(longer))
	switch {
	case ratio(worst) > hardCap:
		return s.Fail("a datagram of %d bytes in a third party's name (%s) had host %s send %d bytes to that, %.1f times as many; %d times at most may be",
			worst.In, worst.message, worst.target, worst.Out, ratio(worst), hardCap)
	case others > 0:
		return s.Fail("%d packets went to ports of the third party that no datagram had named", others)
	case said(longer) > 1:
		return s.PassNonstrict("a datagram of %d bytes in a third party's name (%s) had host %s answer that by %d bytes, %.1f times as many",
			longer.In, longer.message, longer.target, longer.Out-longer.ICMP, said(longer))
	}
	return s.Pass()
}
