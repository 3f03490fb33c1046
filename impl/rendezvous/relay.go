package rendezvous

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// relaysEach is how many relays one viewer has at most, so that a few cannot use up all of them.
const relaysEach = 64

// relay carries datagrams between the two parties of one introduction.
type relay struct {
	ends   [2]relayEnd // the viewer's, the camera's
	tokens float64     // bytes
	refill time.Time
	last   time.Time
	timer  timer
}

// relayEnd is one party's side: frames are accepted from its address with its channel only.
type relayEnd struct {
	relay       *relay
	other       *relayEnd
	client      *client
	channel     uint16
	addr, local netip.AddrPort // as bound; zero while the party is away
}

type relayKey struct {
	from    netip.AddrPort
	channel uint16
}

// newRelay binds a relay, or returns nil where none is to be had.
func (s *Server) newRelay(now time.Time, v, c *client) *relay {
	if s.cfg.NoRelay || s.nrelays >= s.cfg.MaxIntroductions || len(v.ends) >= relaysEach {
		return nil
	}
	vc, ok1 := v.freeChannel()
	cc, ok2 := c.freeChannel()
	if !ok1 || !ok2 {
		return nil
	}
	r := &relay{tokens: float64(s.cfg.RelayBurst), refill: now, last: now}
	r.ends[0] = relayEnd{relay: r, other: &r.ends[1], client: v, channel: vc}
	r.ends[1] = relayEnd{relay: r, other: &r.ends[0], client: c, channel: cc}
	for i := range r.ends {
		e := &r.ends[i]
		e.client.ends = append(e.client.ends, e)
		s.bind(e)
	}
	r.timer.due = func(now time.Time) { s.idle(now, r) }
	s.timers.set(&r.timer, now.Add(s.cfg.RelayIdle))
	s.nrelays++
	return r
}

// freeChannel is the device's next channel number, each used again only after all the others.
func (c *client) freeChannel() (uint16, bool) {
	for range wire.MaxChannel - wire.MinChannel + 1 {
		c.channel++
		if c.channel < wire.MinChannel || c.channel > wire.MaxChannel {
			c.channel = wire.MinChannel
		}
		if !slices.ContainsFunc(c.ends, func(e *relayEnd) bool { return e.channel == c.channel }) {
			return c.channel, true
		}
	}
	return 0, false
}

func (s *Server) bind(e *relayEnd) {
	if k := (relayKey{e.addr, e.channel}); s.relays[k] == e {
		delete(s.relays, k)
	}
	e.addr, e.local = netip.AddrPort{}, netip.AddrPort{}
	if l := e.client.current; l != nil {
		e.addr, e.local = l.remote, l.local
		s.relays[relayKey{e.addr, e.channel}] = e
	}
}

// rebind follows a device to its new address, or away.
func (s *Server) rebind(c *client) {
	for _, e := range c.ends {
		s.bind(e)
	}
}

// idle is the relay's timer.
func (s *Server) idle(now time.Time, r *relay) {
	if due := r.last.Add(s.cfg.RelayIdle); now.Before(due) {
		s.timers.set(&r.timer, due)
		return
	}
	s.closeRelay(r)
}

func (s *Server) closeRelay(r *relay) {
	s.timers.set(&r.timer, time.Time{})
	for i := range r.ends {
		e := &r.ends[i]
		at := slices.Index(e.client.ends, e)
		if at < 0 {
			return // closed already
		}
		e.client.ends = slices.Delete(e.client.ends, at, at+1)
		if k := (relayKey{e.addr, e.channel}); s.relays[k] == e {
			delete(s.relays, k)
		}
	}
	s.nrelays--
}

// relay passes a frame on, if it may.
func (s *Server) relay(now time.Time, from, to netip.AddrPort, b []byte) error {
	channel, data, err := wire.ParseChannelData(b)
	if err != nil {
		return err
	}
	e := s.relays[relayKey{from, channel}]
	if e == nil || e.local != to {
		return errChannel
	}
	if !e.other.addr.IsValid() {
		return errNotReady
	}
	r := e.relay
	rate := float64(s.cfg.RelayRate)
	r.tokens = min(float64(s.cfg.RelayBurst), r.tokens+now.Sub(r.refill).Seconds()*rate)
	r.refill = now
	if r.tokens < float64(len(b)) {
		s.stats.OverQuota++
		return errQuota
	}
	r.tokens -= float64(len(b))
	r.last = now
	s.stats.RelayedFrames++
	s.stats.RelayedBytes += int64(len(data))
	out := s.box.Copy(b)
	binary.BigEndian.PutUint16(out, e.other.channel)
	s.box.Send(e.other.local, e.other.addr, core.Forward, out)
	return nil
}
