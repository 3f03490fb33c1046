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

// relaySpare is how long a relay has carried nothing that makes room for its viewer's next one. Viewers that watch one camera after the other,
// or the same again and again, leave relays behind that wait for their end.
const relaySpare = 10 * time.Second

// relaysOfCamera is how many relays one camera has at most. Whoever asks for it uses them up, so that there are many; and few enough
// that a free channel is found quickly.
const relaysOfCamera = 256

// leastCharge is what a frame costs of a quota at least, in bytes: small ones cost packets.
const leastCharge = 100

// relay carries datagrams between the two parties of one introduction.
type relay struct {
	tie   *tie
	ends  [2]relayEnd // the viewer's, the camera's
	quota bucket      // bytes
	last  time.Time
	timer timer
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

// openRelay binds a relay to a tie that has none, if one is to be had.
func (s *Server) openRelay(now time.Time, t *tie) {
	v, c := t.sides[0].client, t.sides[1].client
	if t.relay != nil || s.cfg.NoRelay || s.nrelays >= s.cfg.MaxIntroductions || len(c.ends()) >= relaysOfCamera || !s.roomForRelay(now, v) {
		return
	}
	vc, ok1 := v.freeChannel()
	cc, ok2 := c.freeChannel()
	if !ok1 || !ok2 {
		return
	}
	r := &relay{tie: t, last: now}
	t.relay = r
	r.ends[0] = relayEnd{relay: r, other: &r.ends[1], client: v, channel: vc}
	r.ends[1] = relayEnd{relay: r, other: &r.ends[0], client: c, channel: cc}
	for i := range r.ends {
		e := &r.ends[i]
		e.client.affairs().ends = append(e.client.busy.ends, e)
		s.bind(e)
	}
	r.timer.due = func(now time.Time) { s.idle(now, r) }
	s.timers.set(&r.timer, now.Add(s.cfg.RelayIdle))
	s.nrelays++
}

// roomForRelay makes room for one more relay of a device, where it has all that it may: the one that has carried nothing for longest is
// closed, if that is long; false: none is.
func (s *Server) roomForRelay(now time.Time, c *client) bool {
	if len(c.ends()) < relaysEach {
		return true
	}
	idlest := slices.MinFunc(c.ends(), func(a, b *relayEnd) int { return a.relay.last.Compare(b.relay.last) }).relay
	if now.Sub(idlest.last) < relaySpare {
		return false
	}
	s.closeRelay(idlest)
	return true
}

// freeChannel is the device's next channel number, each used again only after all the others.
func (c *client) freeChannel() (uint16, bool) {
	a := c.affairs()
	for range wire.MaxChannel - wire.MinChannel + 1 {
		a.channel++
		if a.channel < wire.MinChannel || a.channel > wire.MaxChannel {
			a.channel = wire.MinChannel
		}
		if !slices.ContainsFunc(a.ends, func(e *relayEnd) bool { return e.channel == a.channel }) {
			return a.channel, true
		}
	}
	return 0, false
}

func (s *Server) bind(e *relayEnd) {
	if k := (relayKey{e.addr, e.channel}); s.relays[k] == e {
		delete(s.relays, k)
	}
	e.addr, e.local = netip.AddrPort{}, netip.AddrPort{}
	if c := e.client; c.here() {
		e.addr, e.local = c.remote, s.sockets[c.local]
		s.relays[relayKey{e.addr, e.channel}] = e
	}
}

// rebind follows a device to its new address, or away.
func (s *Server) rebind(c *client) {
	for _, e := range c.ends() {
		s.bind(e)
	}
}

// idle is the relay's timer.
func (s *Server) idle(now time.Time, r *relay) {
	if due := r.last.Add(s.relayIdle()); now.Before(due) {
		s.timers.set(&r.timer, due)
		return
	}
	s.closeRelay(r)
}

func (s *Server) closeRelay(r *relay) {
	s.timers.set(&r.timer, time.Time{})
	if r.tie.relay == r {
		r.tie.relay = nil
	}
	for i := range r.ends {
		e := &r.ends[i]
		at := slices.Index(e.client.ends(), e)
		if at < 0 {
			return // closed already
		}
		e.client.busy.ends = slices.Delete(e.client.busy.ends, at, at+1)
		e.client.settle()
		if k := (relayKey{e.addr, e.channel}); s.relays[k] == e {
			delete(s.relays, k)
		}
	}
	s.nrelays--
}

// relay passes a frame on, if it may. The frame leaves in the bytes that it came in.
func (s *Server) relay(now time.Time, from, to netip.AddrPort, b []byte) error {
	channel, data, err := wire.ParseChannelData(b)
	if err != nil {
		return err
	}
	e := s.relays[relayKey{from, channel}]
	if e == nil || e.local != to {
		return errChannel
	}
	return s.carry(now, e, b, data)
}

// carry passes a frame on that came from one end, as a whole and without framing, to the other end.
func (s *Server) carry(now time.Time, e *relayEnd, b, data []byte) error {
	proxy := e.other.client.proxy()
	if proxy == nil && !e.other.addr.IsValid() {
		return errNotReady
	}
	if !s.affordable(now, e, float64(max(len(b), leastCharge))) {
		s.stats.OverQuota++
		return errQuota
	}
	e.relay.last = now
	s.stats.RelayedFrames++
	s.stats.RelayedBytes += int64(len(data))
	if proxy != nil {
		s.cfg.Others.Frame(*proxy, e.other.client.key, e.other.client.role, e.other.channel, data)
		return nil
	}
	binary.BigEndian.PutUint16(b, e.other.channel)
	s.box.Send(e.other.local, e.other.addr, core.Forward, b)
	return nil
}

// affordable takes n bytes from the quotas of the relay, of both devices and of all relays together, if they all have as
// many.
func (s *Server) affordable(now time.Time, e *relayEnd, n float64) bool {
	device, total := float64(s.cfg.DeviceRate), float64(s.cfg.TotalRate)
	burst := float64(s.cfg.RelayBurst)
	one, other := &e.client.busy.relayed, &e.other.client.busy.relayed
	if !e.relay.quota.fill(now, float64(s.cfg.RelayRate), burst, n) ||
		!one.fill(now, device, max(device, burst), n) || !other.fill(now, device, max(device, burst), n) ||
		!s.relayed.fill(now, total, max(total, burst), n) {
		return false
	}
	e.relay.quota.tokens -= n
	one.tokens -= n
	other.tokens -= n
	s.relayed.tokens -= n
	return true
}
