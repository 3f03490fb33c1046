package netfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Map makes a port mapping or renews it, and returns its external endpoint. An internal endpoint that has one keeps
// it, whatever port is wanted; otherwise one that has a mapping of its own (endpoint-independent) gets that port if it
// asks for any. Packets from a mapped endpoint leave by it, to wherever they go. A router that does not translate opens
// its filter, and the external endpoint is the internal one. Errors wrap those of package nat.
//
// A hairpin with the internal source does not pass a mapping for one remote. On a masquerading router, as on a Linux
// one, a flow of another host may have the mapped port towards some remote, where the mapping's owner then reaches nobody.
func (r *Router) Map(m nat.PortMap) (netip.AddrPort, error) {
	e, err := r.mapPort(m)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("map port: %w", err)
	}
	return e, nil
}

func (r *Router) mapPort(m nat.PortMap) (netip.AddrPort, error) {
	if err := r.checkPortMap(m); err != nil {
		return netip.AddrPort{}, err
	}
	f := r.table.fixedOf[m.Protocol]
	held, err := r.portMaps(m.Protocol)
	if err != nil {
		return netip.AddrPort{}, err
	}
	own := slices.IndexFunc(held, func(o portMapping) bool { return o.Internal == m.Internal })
	var e netip.AddrPort
	if own >= 0 {
		e = held[own].external
		r.remove(f, held[own])
	} else {
		owners, err := r.owners(m.Protocol, held)
		if err != nil {
			return netip.AddrPort{}, err
		}
		if e, err = r.choose(m, owners); err != nil {
			return netip.AddrPort{}, err
		}
		r.settle(m, owners)
	}
	from := m.Remote
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
	}
	r.insert(f.in, m.Lifetime, endpointBytes(e), endpointBytes(m.Internal))
	r.insert(f.out, m.Lifetime, endpointBytes(m.Internal), endpointBytes(e))
	r.insert(f.from, m.Lifetime, append(endpointBytes(e), from.AsSlice()...), nil)
	if err := r.commit(); err != nil {
		return netip.AddrPort{}, err
	}
	if own >= 0 {
		return e, nil
	}
	return e, r.forget(m.Protocol, m.Internal, e, true)
}

// checkPortMap refuses what no router can map.
func (r *Router) checkPortMap(m nat.PortMap) error {
	switch c := r.table.cfg; {
	case m.Protocol != unix.IPPROTO_UDP && m.Protocol != unix.IPPROTO_TCP:
		return fmt.Errorf("%w: protocol %d has no ports: want 6 or 17", nat.ErrPortMap, m.Protocol)
	case !m.Internal.Addr().Is4() || m.Internal.Port() == 0 || !c.LANPrefix.Contains(m.Internal.Addr()):
		return fmt.Errorf("%w: internal endpoint %v: want a port of an address in %v", nat.ErrPortMap, m.Internal, c.LANPrefix)
	case m.Lifetime < 0:
		return fmt.Errorf("%w: lifetime %v is negative", nat.ErrPortMap, m.Lifetime)
	case m.Remote.IsValid() && !m.Remote.Is4():
		return fmt.Errorf("%w: remote address %v: want IPv4", nat.ErrPortMap, m.Remote)
	}
	return nil
}

// Unmap ends the port mapping of m's protocol and internal endpoint, or if that is zero, of its external port, and what
// came in by it.
func (r *Router) Unmap(m nat.PortMap) error {
	held, err := r.portMaps(m.Protocol)
	if err != nil {
		return fmt.Errorf("unmap port: %w", err)
	}
	i := slices.IndexFunc(held, func(o portMapping) bool {
		if m.Internal.IsValid() {
			return o.Internal == m.Internal
		}
		return o.External == m.External
	})
	if i < 0 {
		return fmt.Errorf("unmap port: %w", nat.ErrNotMapped)
	}
	r.remove(r.table.fixedOf[m.Protocol], held[i])
	if err := r.endAnswers(m.Protocol, held[i].external); err != nil {
		return fmt.Errorf("unmap port: %w", err)
	}
	if err := r.commit(); err != nil {
		return fmt.Errorf("unmap port: %w", err)
	}
	if err := r.forget(m.Protocol, held[i].Internal, held[i].external, false); err != nil {
		return fmt.Errorf("unmap port: %w", err)
	}
	return nil
}

// endAnswers ends the mappings by which answers left through a port mapping. (If its lifetime ends instead, they stay until
// they have been idle.)
func (r *Router) endAnswers(p uint8, e netip.AddrPort) error {
	ext := endpointBytes(e)
	for i, s := range []*nftables.Set{r.table.fwdOf[p], r.table.revOf[p]} {
		if s == nil || r.table.Mapping == nat.EndpointIndependent {
			continue
		}
		elems, err := r.conn.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("read set %s: %w", s.Name, err)
		}
		for _, x := range elems {
			if i == 0 && bytes.Equal(x.Val, ext) || i == 1 && bytes.Equal(x.Key, ext) {
				r.end(s, x.Key, x.Val)
			}
		}
	}
	return nil
}

// forget ends the connections that a masquerading router tracks of an internal endpoint and to an external one: they were
// made by other rules than those that hold now. Those that have the external port may be kept.
func (r *Router) forget(p uint8, in, e netip.AddrPort, keep bool) error {
	if r.table.Kind != nat.Masquerade {
		return nil
	}
	stale := tracked(func(f *netlink.ConntrackFlow) bool {
		out := f.Forward.SrcIP.Equal(in.Addr().AsSlice()) && f.Forward.SrcPort == in.Port()
		to := f.Forward.DstIP.Equal(e.Addr().AsSlice()) && f.Forward.DstPort == e.Port()
		return f.Forward.Protocol == p && (to || out && !(keep && f.Reverse.DstPort == e.Port()))
	})
	if _, err := r.ns.Netfilter().ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, stale); err != nil {
		return fmt.Errorf("forget connections of %v: %w", in, err)
	}
	return nil
}

// tracked chooses among the connections that are tracked.
type tracked func(*netlink.ConntrackFlow) bool

// MatchConntrackFlow makes it a filter of package netlink.
func (t tracked) MatchConntrackFlow(f *netlink.ConntrackFlow) bool { return t(f) }

// commit sends what insert and remove have queued.
func (r *Router) commit() error {
	if err := r.table.err; err != nil {
		r.table.err = nil
		return err
	}
	return r.conn.Flush()
}

// PortMaps returns the port mappings with their external ports and what is left of their lifetimes, in the order of
// protocol and external port.
func (r *Router) PortMaps() ([]nat.PortMap, error) {
	var all []nat.PortMap
	for _, p := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		held, err := r.portMaps(p)
		if err != nil {
			return nil, fmt.Errorf("list port mappings: %w", err)
		}
		for _, h := range held {
			all = append(all, h.PortMap)
		}
	}
	return all, nil
}

// portMapping is a port mapping as the kernel has it.
type portMapping struct {
	nat.PortMap
	external netip.AddrPort
}

// portMaps reads the port mappings of a protocol, in the order of external endpoints.
func (r *Router) portMaps(p uint8) ([]portMapping, error) {
	f, ok := r.table.fixedOf[p]
	if !ok {
		return nil, nil
	}
	in, err := r.conn.GetSetElements(f.in)
	if err != nil {
		return nil, fmt.Errorf("read set %s: %w", f.in.Name, err)
	}
	from, err := r.conn.GetSetElements(f.from)
	if err != nil {
		return nil, fmt.Errorf("read set %s: %w", f.from.Name, err)
	}
	remotes := map[netip.AddrPort]netip.Addr{}
	for _, e := range from {
		if a := netip.AddrFrom4([4]byte(e.Key[8:])); !a.IsUnspecified() {
			remotes[endpointOf(e.Key)] = a
		}
	}
	var all []portMapping
	for _, e := range in {
		ext := endpointOf(e.Key)
		all = append(all, portMapping{external: ext, PortMap: nat.PortMap{
			Protocol: p, Internal: endpointOf(e.Val), External: ext.Port(), Lifetime: e.Expires, Remote: remotes[ext],
		}})
	}
	slices.SortFunc(all, func(a, b portMapping) int { return a.external.Compare(b.external) })
	return all, nil
}

// remove queues a port mapping's end.
func (r *Router) remove(f fixed, h portMapping) {
	for _, e := range []struct {
		set      *nftables.Set
		key, val []byte
	}{
		{f.in, endpointBytes(h.external), endpointBytes(h.Internal)},
		{f.out, endpointBytes(h.Internal), endpointBytes(h.external)},
		{f.from, append(endpointBytes(h.external), h.from()...), nil},
	} {
		r.end(e.set, e.key, e.val)
	}
}

// end queues an element's end. It may expire before the kernel reads that, so it is added first, which changes none that
// is there.
func (r *Router) end(s *nftables.Set, key, val []byte) {
	r.insert(s, time.Minute, key, val)
	r.table.fail(r.conn.SetDeleteElements(s, []nftables.SetElement{{Key: key, Val: val}}))
}

func (h portMapping) from() []byte {
	if h.Remote.IsValid() {
		return h.Remote.AsSlice()
	}
	return make([]byte, 4)
}

// insert queues an element. One without a lifetime stays; the kernel counts in milliseconds.
func (r *Router) insert(s *nftables.Set, life time.Duration, key, val []byte) {
	if life > 0 {
		life = max(life, time.Millisecond)
	}
	r.table.mapped = true
	r.table.fail(r.conn.SetAddElements(s, []nftables.SetElement{{Key: key, Val: val, Timeout: life}}))
}

// choose finds the external endpoint of a new port mapping.
func (r *Router) choose(m nat.PortMap, owners map[netip.AddrPort]owner) (netip.AddrPort, error) {
	t := r.table
	if t.Kind == nat.NoNAT {
		return m.Internal, nil // whatever port is wanted
	}
	addr, err := r.externalOf(m.Internal.Addr())
	if err != nil {
		return netip.AddrPort{}, err
	}
	free := func(port uint16) (netip.AddrPort, bool) {
		e := netip.AddrPortFrom(addr, port)
		o, taken := owners[e]
		return e, !taken || o.internal == m.Internal || !o.fixed && t.PortOverloading && m.Protocol == unix.IPPROTO_UDP
	}
	if m.External != 0 {
		e, ok := free(m.External)
		if !ok {
			return netip.AddrPort{}, fmt.Errorf("%w: %v", nat.ErrPortTaken, e)
		}
		return e, nil
	}
	if t.Mapping == nat.EndpointIndependent {
		for e, o := range owners {
			if o.internal == m.Internal {
				return e, nil
			}
		}
	}
	if e, ok := free(m.Internal.Port()); ok {
		return e, nil
	}
	first := int(mix(t.cfg.Seed+uint64(m.Internal.Port()), m.Protocol) % uint32(t.span()))
	for i := range t.span() {
		if e, ok := free(uint16(int(t.PortMin) + (first+i)%t.span())); ok {
			return e, nil
		}
	}
	return netip.AddrPort{}, nat.ErrNoPort
}

// settle ends what the internal endpoint of a new port mapping has mapped by sending: all that it sends leaves by the port
// mapping from now on.
func (r *Router) settle(m nat.PortMap, owners map[netip.AddrPort]owner) {
	t := r.table
	if t.Kind != nat.Translate || t.Mapping != nat.EndpointIndependent {
		return
	}
	in := endpointBytes(m.Internal)
	for e, o := range owners {
		if o.internal == m.Internal {
			r.end(t.revOf[m.Protocol], endpointBytes(e), in)
			r.end(t.fwdOf[m.Protocol], in, endpointBytes(e))
		}
	}
}

// owner has an external endpoint, by a port mapping or by what it sent.
type owner struct {
	internal netip.AddrPort
	fixed    bool
}

// owners reads which internal endpoint has which external one.
func (r *Router) owners(p uint8, held []portMapping) (map[netip.AddrPort]owner, error) {
	owners := map[netip.AddrPort]owner{}
	if rev := r.table.revOf[p]; rev != nil {
		elems, err := r.conn.GetSetElements(rev)
		if err != nil {
			return nil, fmt.Errorf("read set %s: %w", rev.Name, err)
		}
		for _, e := range elems {
			owners[endpointOf(e.Key)] = owner{internal: endpointOf(e.Val)}
		}
	}
	for _, h := range held {
		owners[h.external] = owner{h.Internal, true}
	}
	return owners, nil
}

// externalOf returns the external address of a host, and with paired pooling pairs it.
func (r *Router) externalOf(host netip.Addr) (netip.Addr, error) {
	t := r.table
	if len(t.cfg.External) == 0 {
		return netip.Addr{}, nat.ErrNoAddress
	}
	if t.pair == nil {
		return t.cfg.External[0], nil
	}
	pairs, err := r.conn.GetSetElements(t.pair)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read set %s: %w", t.pair.Name, err)
	}
	for _, p := range pairs {
		if netip.AddrFrom4([4]byte(p.Key)) == host {
			return netip.AddrFrom4([4]byte(p.Val)), nil
		}
	}
	a := t.cfg.External[len(pairs)%len(t.cfg.External)]
	r.insert(t.pair, 0, host.AsSlice(), a.AsSlice())
	return a, nil
}

// endpointBytes is an endpoint as a key: the address, the port, two zero bytes.
func endpointBytes(e netip.AddrPort) []byte {
	return append(binary.BigEndian.AppendUint16(e.Addr().AsSlice(), e.Port()), 0, 0)
}

func endpointOf(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[4:]))
}
