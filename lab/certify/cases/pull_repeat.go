package cases

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// recorded are the datagrams and segments that the right viewer has sent to one end, in order.
type recorded struct {
	to       netip.AddrPort
	stream   bool // TCP
	payloads [][]byte
}

// conversations are what the right viewer has said, to each end that was not of its own network.
func (c *claimants) conversations() (all []*recorded) {
	byEnd := map[netip.AddrPort]*recorded{}
	routes := c.x.Routes()
	for _, p := range c.said {
		if !p.Dst.Addr().Is4() || p.Dst.Addr().IsMulticast() || routes.Of(&p) == tape.Local {
			continue
		}
		r := byEnd[p.Dst]
		if r == nil {
			r = &recorded{to: p.Dst, stream: tape.TCP(&p)}
			byEnd[p.Dst] = r
			all = append(all, r)
		}
		const most = 60
		if len(r.payloads) < most {
			r.payloads = append(r.payloads, p.Payload)
		}
	}
	return all
}

// listed lists where something was said to.
func listed(all []*recorded) string {
	words := make([]string, len(all))
	for i, r := range all {
		words[i] = fmt.Sprintf("%v (%d packets)", r.to, len(r.payloads))
	}
	return strings.Join(words, ", ")
}

// repeaters send what the right viewer has said once more, from another address: as it was, from the middle on, or changed.
func (c *claimants) repeaters(ctx context.Context) error {
	all := c.conversations()
	if len(all) == 0 {
		c.s.Note("nothing that the right viewer said can be repeated")
		return nil
	}
	n := c.s.N(max(100, c.s.Case().Tries()-c.s.Claim().Tries), 8)
	c.s.Note("host %s repeats what the right viewer had said to %s, %d times", farHost, listed(all), n)
	for i := 0; i < n && c.caught == ""; i += together {
		from := c.x.Tape().Mark()
		for j := i; j < i+together; j++ {
			for _, r := range all {
				if err := c.repeat(ctx, r, j); err != nil {
					return err
				}
			}
		}
		if err := c.s.Pause(ctx, 400*time.Millisecond); err != nil { // for what they draw
			return err
		}
		c.given(from, together, "somebody else repeated what a right viewer had said, from another address,")
	}
	return nil
}

// variant is what is said in try i: all of it, from further on, or changed.
func (c *claimants) variant(r *recorded, i int) (payloads [][]byte) {
	payloads = r.payloads[(i/3)%len(r.payloads)*(i%3/2):]
	if i%3 != 1 {
		return payloads
	}
	changed := make([][]byte, len(payloads))
	for k, b := range payloads {
		changed[k] = c.vandal.change(b, r.stream)
	}
	return changed
}

// repeat says something once more from the host off the path.
func (c *claimants) repeat(ctx context.Context, r *recorded, i int) error {
	m := c.x.Host(farHost)
	if r.stream {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := m.DialTCP(short, netip.AddrPort{}, r.to)
		if err != nil {
			return ctx.Err() // nobody takes a connection there now
		}
		defer conn.Close()
		for _, b := range c.variant(r, i) {
			if _, err := conn.Write(b); err != nil {
				break // it was closed
			}
		}
		return nil
	}
	conn, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, b := range c.variant(r, i) {
		if _, err := conn.WriteToUDPAddrPort(b, r.to); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// forgers send the same in the right viewer's name, with the address that the camera and its servers have seen him by.
func (c *claimants) forgers(ctx context.Context) error {
	routes := c.x.Routes()
	outside := routes.External("viewer")
	all := c.conversations()
	n := c.s.N(100, 8)
	c.s.Note("host %s says the same in the right viewer's name, %d times", farHost, n)
	for i := 0; i < n && c.caught == "" && len(outside) > 0; i += together {
		from := c.x.Tape().Mark()
		var shots []attack.Shot
		for j := i; j < i+together; j++ {
			for _, r := range all {
				if r.stream {
					continue
				}
				as := c.seenFrom(outside, r.to)
				for _, b := range c.variant(r, j) {
					shots = append(shots, attack.Shot{From: as, To: r.to, B: b})
				}
			}
		}
		if len(shots) == 0 {
			c.s.Note("the right viewer spoke TCP alone: nobody off the path can speak in its name")
			return nil
		}
		if err := volley(ctx, c.x.Host(farHost), 1000, shots); err != nil {
			return err
		}
		if err := c.s.Pause(ctx, 400*time.Millisecond); err != nil { // for what they draw
			return err
		}
		c.given(from, together, "a forger repeated in a right viewer's name what that had said,")
	}
	return nil
}

// seenFrom is the endpoint by which the right viewer appeared at an end: that of what came from its router's address; any port, if none did.
func (c *claimants) seenFrom(outside []netip.Addr, to netip.AddrPort) netip.AddrPort {
	for _, p := range c.x.Tape().Packets(0, tape.In, tape.By(outside...), tape.UDP) {
		if p.Dst == to || p.Host == c.camera.Host() {
			return p.Src
		}
	}
	return netip.AddrPortFrom(outside[0], 4477)
}
