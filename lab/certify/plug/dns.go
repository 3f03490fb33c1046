package plug

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// TTL is how long an answer may be kept: short, so that a box asks again in each trial.
const TTL = 30 * time.Second

// zone has the names that exist: canonical, with a leading "*." or "*" alone for all below.
type zone map[string]netip.Addr

// newZone checks what a user named.
func newZone(names map[string]netip.Addr, whose map[netip.Addr]string) (zone, error) {
	z := zone{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		addr, canonical := names[name], dns.CanonicalName(name)
		if canonical == "*." {
			canonical = "*"
		}
		before, twice := z[canonical]
		switch {
		case !validName(canonical):
			return nil, fmt.Errorf("name %q is none of DNS: give names as p2p.vendor.example, *.vendor.example, or *", name)
		case twice && before != addr:
			return nil, fmt.Errorf("name %q is given twice, at %v and %v", name, before, addr)
		case whose[addr] == "":
			return nil, fmt.Errorf("name %q is at %v, which nothing in the lab has: give one of %s", name, addr, listed(whose))
		}
		z[canonical] = addr
	}
	return z, nil
}

func validName(canonical string) bool {
	if canonical == "*" {
		return true
	}
	rest := strings.TrimPrefix(canonical, "*.")
	_, ok := dns.IsDomainName(rest)
	return ok && rest != "." && !strings.ContainsAny(rest, "* \t")
}

// listed names addresses and whose they are.
func listed(whose map[netip.Addr]string) string {
	var words []string
	for _, a := range slices.SortedFunc(maps.Keys(whose), netip.Addr.Compare) {
		words = append(words, fmt.Sprintf("%v (%s)", a, whose[a]))
	}
	return strings.Join(words, ", ")
}

// lookup finds a name's address by its own entry, or that of the longest name that it is below. A name above one that is
// listed exists, without an address (RFC 4592 §2.2.2), and hides what a shorter "*." would say.
func (z zone) lookup(name string) (a netip.Addr, exists bool) {
	canonical := dns.CanonicalName(name)
	for at := canonical; ; {
		if a, ok := z[at]; ok && at == canonical {
			return a, true
		}
		if at == canonical && z.above(at) {
			return netip.Addr{}, true
		}
		if at != canonical {
			if a, ok := z["*."+at]; ok {
				return a, true
			}
		}
		next, end := dns.NextLabel(at, 0)
		if end {
			break
		}
		at = at[next:]
	}
	a, exists = z["*"]
	return a, exists
}

// above tells whether a listed name is below this one.
func (z zone) above(name string) bool {
	for listed := range z {
		if listed != "*" && strings.HasSuffix(listed, "."+name) {
			return true
		}
	}
	return false
}

// answer makes the reply to a message of one question.
func (z zone) answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable, m.Authoritative = true, false // as a home router's forwarder
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(maxUDP, false)
		if opt.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
			return m
		}
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
		return m
	case len(q.Question) != 1:
		m.Rcode = dns.RcodeFormatError
		return m
	case q.Question[0].Qclass != dns.ClassINET:
		m.Rcode = dns.RcodeRefused
		return m
	}
	name, typ := q.Question[0].Name, q.Question[0].Qtype
	a, exists := z.lookup(name)
	head := dns.RR_Header{Name: name, Rrtype: typ, Class: dns.ClassINET, Ttl: uint32(TTL / time.Second)}
	switch {
	case !exists:
		m.Rcode = dns.RcodeNameError
	case a.Is4() && typ == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: head, A: a.AsSlice()}}
	case a.Is6() && typ == dns.TypeAAAA:
		m.Answer = []dns.RR{&dns.AAAA{Hdr: head, AAAA: a.AsSlice()}}
	}
	return m
}

// maxUDP is the largest message by UDP that is offered (DNS flag day 2020). No answer comes near it.
const maxUDP = 1232
