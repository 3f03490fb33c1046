package stack

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/packet"
)

// externalFlows counts what the hosts' packets say of a trial. It is pure: packets, with their times, are arguments. Not safe
// for concurrent use.
//
//	viewer ──► an address of the camera, or of a router before it     direct
//	viewer ──► an address of the rendezvous                           through the rendezvous
//	viewer ──► any other                                              not counted
//
// A direct path works when packets that were sent so have come to both hosts: what one of them sends in vain, or what comes
// one way only, is none. What a rendezvous says itself can't be told from what it relays; so the verdict looks at which path
// carried more bytes to each of the two towards the end (judge).
type externalFlows struct {
	owners [externalRoles]addresses // of whom
	begun  time.Time                // the request; before it packets count as idle only
	idle   int64                    // bytes that the camera sent before
	came   [externalRoles]time.Time // first direct packet since
	count  [externalRoles]int       // direct packets that came since
	works  time.Time                // when the direct path had worked both ways
	bins   []externalBin            // since begun
	sent   [externalRoles]int64     // bytes since begun, whereto ever
	up     [externalRoles]int64     // bytes sent to the rendezvous since
	probes struct{ packets, bytes int64 }
}

type externalRole int

const (
	roleRendezvous externalRole = iota
	roleCamera
	roleViewer
	externalRoles
)

// externalBin is what came to the two hosts in a time.
type externalBin struct{ direct, relayed [externalRoles]int64 } // bytes; of the rendezvous nothing

// binTime is the time of an externalBin; it bounds the memory of a long trial.
const binTime = 10 * time.Millisecond

// addresses of a host: its own, and those of routers before it.
type addresses struct {
	addrs    map[netip.Addr]bool
	prefixes []netip.Prefix
}

func (a addresses) has(x netip.Addr) bool {
	return a.addrs[x] || slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(x) })
}

// readdressed is how many further addresses of a router are known: events may give it others.
const readdressed = 16

func addressesOf(t *lab.Topology, host string) addresses {
	a := addresses{addrs: map[netip.Addr]bool{}}
	add := func(list []netip.Addr) {
		for _, x := range list {
			a.addrs[x] = true
		}
	}
	add(t.HostAddr(host))
	names := t.StandbyOf(host)
	if s := t.SiteOf(host); s != nil {
		names = append(names, s.Name)
	}
	for _, name := range names {
		s := t.Site(name)
		for _, h := range s.Hosts {
			if h.Name == host {
				add([]netip.Addr{h.Addr, h.Addr6})
			}
		}
		for range len(t.Sites) { // outwards, and no further than there are sites
			add(s.WAN)
			add(s.WAN6)
			add(t.FreeWAN(s.Name, readdressed))
			if s.Net6.IsValid() {
				a.prefixes = append(a.prefixes, s.Net6)
			}
			if s = t.Site(s.Behind); s == nil {
				break
			}
		}
	}
	delete(a.addrs, netip.Addr{})
	return a
}

func newExternalFlows(t *lab.Topology) *externalFlows {
	f := &externalFlows{}
	for role, host := range externalHosts {
		f.owners[role] = addressesOf(t, host)
	}
	return f
}

// begin says when the viewer has asked.
func (f *externalFlows) begin(at time.Time) { f.begun = at }

// add counts a packet that a host sent, or got, at a time.
func (f *externalFlows) add(at time.Time, role externalRole, out bool, b []byte) {
	remote, size, ok := far(b, out)
	switch {
	case !ok:
		return
	case f.begun.IsZero() || at.Before(f.begun):
		if role == roleCamera && out {
			f.idle += int64(size)
		}
		return
	case out:
		f.sent[role] += int64(size)
	}
	switch {
	case role == roleRendezvous:
	case f.owners[roleRendezvous].has(remote) && out:
		f.up[role] += int64(size)
	case f.owners[roleRendezvous].has(remote):
		f.bin(at).relayed[role] += int64(size)
	case f.owners[role.other()].has(remote):
		f.addDirect(at, role, out, size)
	}
}

func (r externalRole) other() externalRole { return roleCamera + roleViewer - r }

func (f *externalFlows) addDirect(at time.Time, role externalRole, out bool, size int) {
	if out {
		if f.works.IsZero() {
			f.probes.packets++
			f.probes.bytes += int64(size)
		}
		return
	}
	if f.came[role].IsZero() {
		f.came[role] = at
	}
	f.count[role]++
	f.bin(at).direct[role] += int64(size)
	if f.works.IsZero() && !f.came[role.other()].IsZero() {
		f.works = at
	}
}

// maxBins bounds the memory: what comes later counts as at the end of it.
const maxBins = int(time.Hour / binTime)

func (f *externalFlows) bin(at time.Time) *externalBin {
	n := min(int(at.Sub(f.begun)/binTime), maxBins-1)
	for len(f.bins) <= n {
		f.bins = append(f.bins, externalBin{})
	}
	return &f.bins[n]
}

// both is how many packets have come directly each way, at least.
func (f *externalFlows) both() int { return min(f.count[roleCamera], f.count[roleViewer]) }

// path is which way the two exchange their packets.
type path int

const (
	pathNone path = iota
	pathDirect
	pathRelayed
)

// judge says by which path the two talked at the end: in the last fifth of the time since their success (or, where it came
// later, since a direct path worked both ways), but no less than closing; where nothing came in it, in all that time, and then
// in the whole trial. To talk directly is that each of the two got no less from the other than from the rendezvous. A system
// must go on talking until the end: what is sent when the conversation is over, a last attempt to punch, would pass for it.
func (f *externalFlows) judge(success, end time.Time) path {
	from := success
	if f.works.After(from) {
		from = f.works
	}
	last := end.Add(-max(end.Sub(from)/5, closing))
	if last.Before(from) {
		last = from
	}
	for _, since := range []time.Time{last, from, f.begun} {
		came := f.between(since, end)
		direct, relayed := came.direct[roleCamera]+came.direct[roleViewer], came.relayed[roleCamera]+came.relayed[roleViewer]
		switch {
		case direct == 0 && relayed == 0:
		case !f.works.IsZero() && came.mostly(roleCamera) && came.mostly(roleViewer):
			return pathDirect
		case relayed > 0:
			return pathRelayed
		}
	}
	return pathNone
}

// closing is the least time that says which path is used: a conversation with several packets a second has some in it.
const closing = 300 * time.Millisecond

// mostly reports whether no less came to a host directly.
func (b externalBin) mostly(r externalRole) bool { return b.direct[r] >= b.relayed[r] }

// between sums up what came to the two hosts.
func (f *externalFlows) between(from, to time.Time) (sum externalBin) {
	for i := f.index(from); i <= f.index(to) && i < len(f.bins); i++ {
		for _, r := range []externalRole{roleCamera, roleViewer} {
			sum.direct[r] += f.bins[i].direct[r]
			sum.relayed[r] += f.bins[i].relayed[r]
		}
	}
	return sum
}

func (f *externalFlows) index(at time.Time) int {
	return max(0, min(int(at.Sub(f.begun)/binTime), maxBins-1))
}

// relayedBytes is what the rendezvous passed from one to the other, at most: no more than one of them sent to it, and the other
// got from it. What the rendezvous said itself is in it.
func (f *externalFlows) relayedBytes() (n int64) {
	var down [externalRoles]int64
	for i := range f.bins {
		for r := range down {
			down[r] += f.bins[i].relayed[r]
		}
	}
	return min(f.up[roleCamera], down[roleViewer]) + min(f.up[roleViewer], down[roleCamera])
}

// far is the other end of a host's packet, and the packet's size from its IP header on. Errors of ICMP are not counted: routers
// send them.
func far(b []byte, out bool) (remote netip.Addr, size int, ok bool) {
	var src, dst netip.Addr
	switch packet.Version(b) {
	case 4:
		p, err := packet.ParseIPv4(b)
		if err != nil || p.Protocol() == packet.ProtocolICMP && isError4(p.Payload()) {
			return remote, 0, false
		}
		src, dst, size = p.Src(), p.Dst(), p.TotalLen()
	case 6:
		p, err := packet.ParseIPv6(b)
		if err != nil {
			return remote, 0, false
		}
		protocol, segment, _ := p.Transport()
		if protocol == packet.ProtocolICMPv6 && (len(segment) == 0 || segment[0] < 128 || segment[0] >= 130) {
			return remote, 0, false // errors, and neighbour discovery
		}
		src, dst, size = p.Src(), p.Dst(), p.TotalLen()
	default:
		return remote, 0, false
	}
	if remote = src; out {
		remote = dst
	}
	return unmapNAT64(remote), size, true
}

// isError4 reports whether an ICMP message is anything but an echo (RFC 792).
func isError4(b []byte) bool { return len(b) == 0 || b[0] != 0 && b[0] != 8 }

// wellKnownNAT64 is RFC 6052 §2.1's.
var wellKnownNAT64 = netip.MustParsePrefix("64:ff9b::/96")

// unmapNAT64 is the IPv4 address that a translated one stands for.
func unmapNAT64(a netip.Addr) netip.Addr {
	if !wellKnownNAT64.Contains(a) {
		return a
	}
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}
