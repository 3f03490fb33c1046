package plug

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is an address that a device of the box was given.
type Lease struct {
	Addr     netip.Addr
	MAC      string // 02:00:5e:00:53:01
	Hostname string // as it calls itself (option 12), with anything unprintable; empty: it does not
	Vendor   string // class identifier (option 60), likewise
	Granted  time.Time
	Expires  time.Time // or has ended at, if it was given back or taken away
	Renewals int
}

// DHCPCounts say what a DHCP server was sent and has answered.
type DHCPCounts struct {
	Discovers, Requests, Informs, Declines, Releases int
	Offers, Acks, Naks                               int
	Full                                             int // messages that no address was left for
	Ignored                                          int // for another server, out of turn, by a relay, or no DHCP
}

// silence says what kept a box from a lease.
func (c DHCPCounts) silence() string {
	switch {
	case c.Offers == 0 && c.Full == 0 && c.Requests == 0 && c.Ignored > 0:
		return "it sent to the DHCP server's port, but nothing that asks for an address"
	case c.Offers == 0 && c.Full == 0 && c.Requests == 0:
		return "its link is up, but it has not asked for an address: is it set to DHCP?"
	case c.Full > 0:
		return "the LAN has no address left for it"
	case c.Declines > 0:
		return "it declined what it was offered, as if another had that address"
	}
	return "it was offered an address and did not take it"
}

// offerTime is for how long an offered address is held (RFC 2131 §3.1: until the client has answered).
const offerTime = 30 * time.Second

// dhcpCore is a DHCPv4 server for a few addresses of one LAN (RFC 2131), without sockets or a clock. It is authoritative: a
// box that remembers an address of another LAN is told at once, and one that remembers one of these gets it, if it is free.
// It is not safe for concurrent use.
type dhcpCore struct {
	gateway netip.Addr // router, DNS server and server identifier
	lan     netip.Prefix
	lease   time.Duration
	slots   []slot
	history []Lease // of those that hold too
	counts  DHCPCounts
}

// slot is an address.
//
//	free ── DISCOVER ──► offered ── REQUEST ──► leased ── RELEASE ──► free
//	  ▲                     │ 30 s, or it took another's    │ lease ends
//	  └─────────────────────┴───────────────────────────────┘
//	leased, offered ── DECLINE ──► declined ── as long as a lease ──► free
type slot struct {
	addr   netip.Addr
	client string // whose it is, or was; empty: nobody's yet
	state  slotState
	until  time.Time
	lease  int // its place in history, while leased
}

type slotState uint8

const (
	free slotState = iota
	offered
	leased
	declined
)

// maxHistory bounds what a box that makes up clients can have the server remember.
const maxHistory = 1000

func newDHCPCore(gateway netip.Addr, lan netip.Prefix, addrs []netip.Addr, lease time.Duration) *dhcpCore {
	c := &dhcpCore{gateway: gateway, lan: lan, lease: lease}
	for _, a := range addrs {
		c.slots = append(c.slots, slot{addr: a})
	}
	return c
}

// answer takes a message and returns the reply, or nil.
func (c *dhcpCore) answer(now time.Time, q *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	if q.OpCode != dhcpv4.OpcodeBootRequest || addrOf(q.GatewayIPAddr).IsValid() {
		c.counts.Ignored++
		return nil
	}
	c.expire(now)
	switch q.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		c.counts.Discovers++
		return c.discover(now, q)
	case dhcpv4.MessageTypeRequest:
		c.counts.Requests++
		return c.request(now, q)
	case dhcpv4.MessageTypeDecline:
		c.counts.Declines++
		if s := c.named(q, addrOf(q.RequestedIPAddress())); s != nil {
			c.end(s, now)
			s.state, s.client, s.until = declined, "", now.Add(c.lease)
		}
	case dhcpv4.MessageTypeRelease:
		c.counts.Releases++
		if s := c.named(q, addrOf(q.ClientIPAddr)); s != nil {
			c.end(s, now)
		}
	case dhcpv4.MessageTypeInform:
		c.counts.Informs++
		return c.reply(q, dhcpv4.MessageTypeAck, netip.Addr{})
	default:
		c.counts.Ignored++
	}
	return nil
}

// expire frees what has ended. A client's former address stays its own until another needs it.
func (c *dhcpCore) expire(now time.Time) {
	for i := range c.slots {
		if s := &c.slots[i]; s.state != free && !now.Before(s.until) {
			s.state = free
		}
	}
}

// end frees a slot before its time.
func (c *dhcpCore) end(s *slot, now time.Time) {
	if s.state == leased {
		c.history[s.lease].Expires = now
	}
	s.state = free
}

func (c *dhcpCore) discover(now time.Time, q *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	s := c.choose(q)
	if s == nil {
		c.counts.Full++
		return nil
	}
	if s.state != leased { // a client may ask again while it holds a lease
		s.state, s.client, s.until = offered, clientOf(q), now.Add(offerTime)
	}
	return c.reply(q, dhcpv4.MessageTypeOffer, s.addr)
}

// choose finds an address by the order of RFC 2131 §4.3.1: the client's, its former one, the one that it asks for, any.
func (c *dhcpCore) choose(q *dhcpv4.DHCPv4) *slot {
	if s := c.of(clientOf(q)); s != nil {
		return s
	}
	if s := c.at(addrOf(q.RequestedIPAddress())); s != nil && s.state == free {
		return s
	}
	var old *slot
	for i := range c.slots {
		s := &c.slots[i]
		switch {
		case s.state != free:
		case s.client == "":
			return s
		case old == nil || s.until.Before(old.until):
			old = s
		}
	}
	return old
}

// request is DHCPREQUEST in each of the client's states (RFC 2131 §4.3.2).
func (c *dhcpCore) request(now time.Time, q *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	client, server := clientOf(q), addrOf(q.ServerIdentifier())
	if server.IsValid() && server != c.gateway { // SELECTING, and it selected another
		c.counts.Ignored++
		if s := c.of(client); s != nil && s.state == offered {
			s.state = free
		}
		return nil
	}
	want := addrOf(q.RequestedIPAddress()) // SELECTING, INIT-REBOOT
	if !want.IsValid() {
		want = addrOf(q.ClientIPAddr) // RENEWING, REBINDING
	}
	s := c.at(want)
	if s == nil || s.client != client && s.state != free || c.holdsOther(client, s) {
		return c.reply(q, dhcpv4.MessageTypeNak, netip.Addr{})
	}
	c.grant(now, q, s)
	return c.reply(q, dhcpv4.MessageTypeAck, s.addr)
}

// holdsOther tells whether the client was promised another address than s.
func (c *dhcpCore) holdsOther(client string, s *slot) bool {
	own := c.of(client)
	return own != nil && own != s && own.state != free
}

// grant leases a slot to a client, or renews its lease.
func (c *dhcpCore) grant(now time.Time, q *dhcpv4.DHCPv4, s *slot) {
	renewed := s.state == leased
	if former := c.of(clientOf(q)); former != nil && former != s {
		former.client = "" // one address each
	}
	s.state, s.client, s.until = leased, clientOf(q), now.Add(c.lease)
	if renewed {
		l := &c.history[s.lease]
		l.Expires = s.until
		l.Renewals++
		return
	}
	if len(c.history) == maxHistory {
		c.forget()
	}
	s.lease = len(c.history)
	c.history = append(c.history, Lease{
		Addr: s.addr, MAC: q.ClientHWAddr.String(), Hostname: q.HostName(), Vendor: q.ClassIdentifier(), Granted: now, Expires: s.until,
	})
}

// forget drops the oldest lease that has ended: there are more in history than slots.
func (c *dhcpCore) forget() {
	for i := range c.history {
		holds := slices.ContainsFunc(c.slots, func(s slot) bool { return s.state == leased && s.lease == i })
		if holds {
			continue
		}
		c.history = slices.Delete(c.history, i, i+1)
		for j := range c.slots {
			if c.slots[j].lease > i {
				c.slots[j].lease--
			}
		}
		return
	}
}

// holder returns the oldest lease that holds.
func (c *dhcpCore) holder(now time.Time) (Lease, bool) {
	i := slices.IndexFunc(c.history, func(l Lease) bool { return now.Before(l.Expires) })
	if i < 0 {
		return Lease{}, false
	}
	return c.history[i], true
}

func (c *dhcpCore) at(a netip.Addr) *slot {
	i := slices.IndexFunc(c.slots, func(s slot) bool { return s.addr == a })
	if i < 0 {
		return nil
	}
	return &c.slots[i]
}

func (c *dhcpCore) of(client string) *slot {
	i := slices.IndexFunc(c.slots, func(s slot) bool { return s.client == client })
	if i < 0 {
		return nil
	}
	return &c.slots[i]
}

// named is the slot of an address that the client declines or releases, if it is its own to do so.
func (c *dhcpCore) named(q *dhcpv4.DHCPv4, a netip.Addr) *slot {
	if s := c.at(a); s != nil && s.client == clientOf(q) && addrOf(q.ServerIdentifier()) == c.gateway {
		return s
	}
	c.counts.Ignored++
	return nil
}

// reply makes an answer that carries what a home router's does.
func (c *dhcpCore) reply(q *dhcpv4.DHCPv4, typ dhcpv4.MessageType, yours netip.Addr) *dhcpv4.DHCPv4 {
	r := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: q.HWType, TransactionID: q.TransactionID, Flags: q.Flags,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		ClientHWAddr: q.ClientHWAddr, Options: dhcpv4.Options{},
	}
	gateway := net.IP(c.gateway.AsSlice())
	r.UpdateOption(dhcpv4.OptMessageType(typ))
	r.UpdateOption(dhcpv4.OptServerIdentifier(gateway))
	if id := q.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 { // RFC 6842
		r.UpdateOption(dhcpv4.OptClientIdentifier(id))
	}
	switch typ {
	case dhcpv4.MessageTypeNak:
		c.counts.Naks++
		return r
	case dhcpv4.MessageTypeOffer:
		c.counts.Offers++
	default:
		c.counts.Acks++
		r.ClientIPAddr = q.ClientIPAddr
	}
	if yours.IsValid() { // not for INFORM (RFC 2131 §4.3.5)
		r.YourIPAddr = yours.AsSlice()
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(c.lease))
		r.UpdateOption(dhcpv4.OptRenewTimeValue(c.lease / 2))         // T1, §4.4.5
		r.UpdateOption(dhcpv4.OptRebindingTimeValue(c.lease * 7 / 8)) // T2
	}
	r.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(c.lan.Bits(), 32)))
	r.UpdateOption(dhcpv4.OptRouter(gateway))
	r.UpdateOption(dhcpv4.OptDNS(gateway))
	return r
}

// clientOf is what tells clients apart: the identifier if there is one, else the hardware address (RFC 2131 §4.2).
func clientOf(q *dhcpv4.DHCPv4) string {
	if id := q.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 {
		return "id " + string(id)
	}
	return "hw " + string(q.ClientHWAddr)
}

// addrOf is an address of a message; the zero one is none.
func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	a = a.Unmap()
	if !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
