package core

import (
	"net/netip"
	"time"
)

// chunk is what an Outbox allocates at a time for copies, and more where batches need it; one is kept between batches.
const chunk, maxChunk = 8 << 10, 128 << 10

// Outbox collects a core's outputs until its driver takes them, and counts what is sent by purpose.
type Outbox struct {
	out     Output
	taken   bool
	scratch []byte
	traffic Traffic
	quiet   bool
	idle    Count
}

// Begin starts a call into the core: what an earlier Ready has returned becomes invalid.
func (o *Outbox) Begin() {
	if !o.taken {
		return
	}
	clear(o.out.Packets)
	clear(o.out.Events)
	o.out.Packets, o.out.Events, o.taken = o.out.Packets[:0], o.out.Events[:0], false
	o.out.Open, o.out.Close = 0, o.out.Close[:0]
	o.scratch = o.scratch[:0]
}

// Ready is the core's Ready. What it has returned once it does not return again, so that a driver may ask at any time.
func (o *Outbox) Ready() Output {
	if o.taken {
		return Output{}
	}
	o.taken = true
	return o.out
}

// Send queues b, which must not change until the next batch.
func (o *Outbox) Send(from, to netip.AddrPort, p Purpose, b []byte) { o.SendTTL(from, to, 0, p, b) }

// SendTTL queues b as Send does, with an IPv4 TTL or IPv6 hop limit; zero is the host's.
func (o *Outbox) SendTTL(from, to netip.AddrPort, ttl uint8, p Purpose, b []byte) {
	o.out.Packets = append(o.out.Packets, Packet{from, to, ttl, b})
	o.traffic.Sent[p].Add(len(b))
	if o.quiet {
		o.idle.Add(len(b))
	}
}

// Quiet says whether what follows is sent with nobody to serve; Idle counts it.
func (o *Outbox) Quiet(quiet bool) { o.quiet = quiet }

// Idle is what was sent while Quiet.
func (o *Outbox) Idle() Count { return o.idle }

// Relay queues b as Send does, counted as relayed too: it goes to a relay instead of the peer.
func (o *Outbox) Relay(from, to netip.AddrPort, p Purpose, b []byte) {
	o.Send(from, to, p, b)
	o.traffic.Relayed.Add(len(b))
}

// Open asks for n more UDP sockets. Requests of a batch are answered together.
func (o *Outbox) Open(n int) { o.out.Open += n }

// Close gives back sockets that were opened, or ends the streams to these remote endpoints, once what the batch sends has
// been sent.
func (o *Outbox) Close(addrs ...netip.AddrPort) { o.out.Close = append(o.out.Close, addrs...) }

// Emit queues an event.
func (o *Outbox) Emit(e any) { o.out.Events = append(o.out.Events, e) }

// Copy returns a copy of b that lives until the next batch.
func (o *Outbox) Copy(b []byte) []byte { return append(o.Room(len(b)), b...) }

// Room returns an empty slice with room for n bytes that live until the next batch.
func (o *Outbox) Room(n int) []byte {
	if cap(o.scratch)-len(o.scratch) < n {
		o.scratch = make([]byte, 0, max(chunk, min(2*cap(o.scratch), maxChunk), n))
	}
	at := len(o.scratch)
	o.scratch = o.scratch[:at+n]
	return o.scratch[at : at : at+n]
}

// Traffic is what has been sent so far.
func (o *Outbox) Traffic() Traffic { return o.traffic }

// Purpose says why a packet is sent. Each packet has one.
type Purpose uint8

// The purposes.
const (
	Keepalive Purpose = iota // pings, pongs and registration refreshes with the rendezvous
	Handshake                // Noise messages and cookies
	Signal                   // Connect, Peer, Introduce and their acknowledgements
	Punch                    // punch packets
	Control                  // sealed messages between camera and viewer
	Media                    // SRTP
	RTCP                     // SRTCP
	Forward                  // a rendezvous relaying
	purposes
)

// String names the purpose as records do.
func (p Purpose) String() string {
	return [...]string{"keepalive", "handshake", "signal", "punch", "control", "media", "rtcp", "forward"}[p]
}

// Count is packets and bytes of UDP payload.
type Count struct{ Packets, Bytes int64 }

// Add counts a packet of n bytes.
func (c *Count) Add(n int) { c.Packets++; c.Bytes += int64(n) }

// Traffic is what a core has sent.
type Traffic struct {
	Sent    [purposes]Count
	Relayed Count // of these, through a relay
}

// Of is what was sent for a purpose.
func (t Traffic) Of(p Purpose) Count { return t.Sent[p] }

// Total is everything sent.
func (t Traffic) Total() (c Count) {
	for _, s := range t.Sent {
		c.Packets += s.Packets
		c.Bytes += s.Bytes
	}
	return c
}

// Drops counts packets dropped, by reason.
type Drops map[string]int64

// What a Drops holds at most: an error of somebody else's package may quote its input, which an attacker chooses.
const (
	maxReasons  = 64
	otherReason = "other reasons"
)

// Count counts a packet dropped for an error.
func (d Drops) Count(err error) {
	reason := Reason(err)
	if _, ok := d[reason]; !ok && len(d) >= maxReasons {
		reason = otherReason
	}
	d[reason]++
}

// Reason is the innermost error's text, by the first of several that are wrapped: the outer ones may hold addresses, and
// reasons must stay few.
func Reason(err error) string {
	for {
		var next error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				next = all[0]
			}
		}
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// Earliest is the earlier of two deadlines; zero means none.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Due says whether a deadline has come; a zero one never does.
func Due(now, deadline time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }
