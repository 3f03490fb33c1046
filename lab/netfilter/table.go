package netfilter

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

const tableName = "punchlab"

// Set and map types.
var (
	addrType = nftables.TypeIPAddr
	portType = nftables.TypeInetService
	numType  = nftables.TypeMark // a host-order number
	endpoint = nftables.MustConcatSetType(addrType, portType)

	endpointAddr = nftables.MustConcatSetType(addrType, portType, addrType)
)

// keyType is an endpoint and as much of the remote one as the dependency asks for. Dependency 0 counts as none.
func keyType(d nat.Dependency) nftables.SetDatatype {
	words := []nftables.SetDatatype{addrType, portType, addrType, portType}
	return nftables.MustConcatSetType(words[:2+max(int(d)-1, 0)]...)
}

// table writes the messages that make one router's table, and remembers what a reset must do.
type table struct {
	conn *nftables.Conn
	cfg  Config
	nat.Behavior
	t   *nftables.Table
	ids uint32
	err error

	flows    []*nftables.Set // hold what flows leave behind
	asked    []*nftables.Set // hold the port mappings that were asked for
	mapped   bool            // there may be one
	restarts []restart       // chains whose counters start again

	raw, mangle, dst, src *nftables.Chain
	ext                   *nftables.Set   // the external addresses
	pair                  *nftables.Set   // internal → external address; nil for one external address
	pickChain             *nftables.Chain // pairs a host with an address
	address               rule            // puts a new mapping's external address into its word
	order                 order

	fixedOf map[byte]fixed         // port mappings, by protocol
	revOf   map[byte]*nftables.Set // a plane's rev and fwd
	fwdOf   map[byte]*nftables.Set
	errors  *nftables.Set   // types of ICMP errors; see errorSet
	own     *nftables.Chain // see ownErrors
}

// restart is a chain that a reset empties and fills again, since a counter lives in its rule.
type restart struct {
	chain *nftables.Chain
	rules func(seed uint64) []rule
}

// toMany is no destination beyond the LAN: groups, what is reserved, and the broadcast address (RFC 6890), as for nat.Table.
var toMany = netip.MustParsePrefix("224.0.0.0/3")

// build queues the whole table; the caller flushes.
func (t *table) build() {
	t.t = &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
	t.conn.AddTable(t.t) // so that the deletion finds one
	t.conn.DelTable(t.t)
	t.conn.AddTable(t.t)
	t.raw = t.hook("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300)
	if t.Kind != nat.Masquerade {
		t.rule(t.raw, iif(t.cfg.LAN), within(t.cfg.LANPrefix), notrack, accept)
		// What hosts send to groups, or to all while they have no address, is for the LAN and the router's own services there.
		t.rule(t.raw, iif(t.cfg.LAN), within(toMany), notrack, accept)
	}
	t.blocked()
	if t.ICMPErrors == nat.ICMPErrorsDropped {
		t.dropErrors()
	}
	if t.Fragments == nat.FragmentsDropped {
		t.dropFragments()
	}
	switch {
	case t.Kind == nat.Masquerade:
		t.masquerade()
	case t.Kind == nat.NoNAT && t.Filtering != 0:
		t.firewall()
	case t.Kind == nat.NoNAT:
		for _, p := range transports { // nothing needs a port mapping here; it is noted that somebody asked
			t.newFixed(p.name, p.proto)
		}
	case t.Kind == nat.Translate:
		t.translate()
	}
	for _, r := range t.restarts {
		t.fillChain(r, t.cfg.Seed)
	}
}

// blocked drops what no mapping could let through: UDP where there is none, TCP to other ports than the allowed ones.
// Without its SYN no connection begins, and answers to inbound ones pass.
func (t *table) blocked() {
	lan := []rule{iif(t.cfg.LAN)}
	if t.Kind == nat.Masquerade && t.t.Family == nftables.TableFamilyIPv4 { // traffic inside the LAN has not been let through yet
		lan = append(lan, outside(t.cfg))
	}
	if t.UDPBlocked {
		if t.Exhausted == nat.ICMP && t.Kind != nat.Masquerade {
			t.rule(t.raw, join(lan...), proto(unix.IPPROTO_UDP), t.prohibited())
		}
		t.rule(t.raw, join(lan...), proto(unix.IPPROTO_UDP), drop)
		t.rule(t.raw, iif(t.cfg.WAN), proto(unix.IPPROTO_UDP), drop)
	}
	if len(t.TCPPorts) == 0 {
		return
	}
	var elems []nftables.SetElement
	for _, p := range t.TCPPorts {
		elems = append(elems, nftables.SetElement{Key: portBytes(int(p))})
	}
	open := t.add(&nftables.Set{Name: "tcp_ports", KeyType: portType}, elems...)
	others := join(join(lan...), proto(unix.IPPROTO_TCP), tcpFlags(syn|ack, syn), transport(remote, l4Dst, 2), lacks(open, remote))
	if t.Exhausted == nat.ICMP && t.Kind != nat.Masquerade {
		t.rule(t.raw, others, t.prohibited())
	}
	t.rule(t.raw, others, drop)
}

// prohibited tells a packet's sender that it may not pass (RFC 5508 REQ-8).
func (t *table) prohibited() rule {
	code := byte(13)
	if t.t.Family == nftables.TableFamilyIPv6 {
		code = 1
	}
	return rule{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}}
}

// refuse drops a packet from inside that gets no mapping, and says so if the behavior does.
func (t *table) refuse(c *nftables.Chain) {
	if t.Exhausted == nat.ICMP {
		t.rule(c, t.prohibited())
	}
	t.rule(c, drop)
}

// spoofed drops what claims to come from inside, or inside from the router itself. Outside another router's hairpin may
// bring this one's packets back.
func (t *table) spoofed() {
	t.rule(t.raw, iif(t.cfg.WAN), inside(network(scratch, ipSrc, 4), t.cfg.LANPrefix), drop)
	t.rule(t.raw, iif(t.cfg.LAN), network(scratch, ipSrc, 4), has(t.ext, scratch), drop)
}

// dropFragments works before the kernel reassembles them.
func (t *table) dropFragments() {
	early := t.hook("fragments", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -450)
	for _, device := range []string{t.cfg.LAN, t.cfg.WAN} {
		t.rule(early, iif(device), network(scratch, ipFragment, 2), and(scratch, []byte{0x3f, 0xff}), notEqual(scratch, []byte{0, 0}), drop)
	}
}

// translate builds the translator: UDP and ping without conntrack, TCP with it.
func (t *table) translate() {
	t.rule(t.raw, iif(t.cfg.WAN), within(t.cfg.LANPrefix), drop)
	t.externals()
	t.spoofed()
	t.mangle = t.hook("mangle", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -150)
	t.dst = t.hook("dst", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -100)
	t.src = t.hook("src", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100)
	t.order = t.newOrder()
	for _, p := range []*plane{t.udp(), t.tcp(), t.ping()} {
		p.build()
	}
	t.rule(t.raw, iif(t.cfg.WAN), notProto(unix.IPPROTO_ICMP), network(internal, ipDst, 4), has(t.ext, internal), drop) // other protocols
	t.guard()
}

// reject answers what is not let in, as the behavior says, and drops it.
func (p *plane) reject(c *nftables.Chain, match ...rule) {
	which := join(match...)
	switch {
	case p.query:
	case p.Unsolicited == nat.RST && p.proto == unix.IPPROTO_TCP:
		p.rule(c, which, rule{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	case p.Unsolicited != nat.Drop:
		code := byte(3) // port unreachable
		if p.t.Family == nftables.TableFamilyIPv6 {
			code = 1 // administratively prohibited (RFC 6092 REC-38)
		}
		p.rule(c, which, rule{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}})
	}
	p.rule(c, which, drop)
}

// add declares a set. Its ID is ours, since google/nftables draws IDs from an unlocked global.
func (t *table) add(s *nftables.Set, elems ...nftables.SetElement) *nftables.Set {
	t.ids++
	s.ID, s.Table = t.ids, t.t
	t.fail(t.conn.AddSet(s, nil))
	const perMessage = 1000 // a message holds less than 64 KiB of elements
	for chunk := range slices.Chunk(elems, perMessage) {
		t.fail(t.conn.SetAddElements(s, chunk))
	}
	if s.Dynamic {
		t.flows = append(t.flows, s)
	}
	return s
}

func (t *table) failure() error {
	if t == nil {
		return nil
	}
	return t.err
}

func (t *table) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *table) dynamic(name string, key nftables.SetDatatype, idle time.Duration) *nftables.Set {
	return t.add(&nftables.Set{Name: name, KeyType: key, Dynamic: true, HasTimeout: true, Timeout: idle})
}

func (t *table) dynamicMap(name string, key, value nftables.SetDatatype, idle time.Duration) *nftables.Set {
	return t.add(&nftables.Set{Name: name, KeyType: key, IsMap: true, DataType: value, Dynamic: true, HasTimeout: true, Timeout: idle})
}

// forever is dynamicMap for what only a reset forgets.
func (t *table) forever(name string, key, value nftables.SetDatatype) *nftables.Set {
	return t.add(&nftables.Set{Name: name, KeyType: key, IsMap: true, DataType: value, Dynamic: true})
}

func (t *table) numbered(name string, value nftables.SetDatatype, values [][]byte) *nftables.Set {
	elems := make([]nftables.SetElement, len(values))
	for i, v := range values {
		elems[i] = nftables.SetElement{Key: numBytes(i), Val: v}
	}
	return t.add(&nftables.Set{Name: name, KeyType: numType, IsMap: true, DataType: value, KeyByteOrder: binaryutil.NativeEndian}, elems...)
}

func (t *table) chain(name string) *nftables.Chain {
	return t.conn.AddChain(&nftables.Chain{Name: name, Table: t.t})
}

func (t *table) hook(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	return t.conn.AddChain(&nftables.Chain{Name: name, Table: t.t, Type: kind, Hooknum: hook, Priority: &priority})
}

func (t *table) rule(c *nftables.Chain, parts ...rule) {
	t.conn.AddRule(&nftables.Rule{Table: t.t, Chain: c, Exprs: join(parts...)})
}

// restarted makes a chain that holds a counter.
func (t *table) restarted(name string, rules func(seed uint64) []rule) *nftables.Chain {
	c := t.chain(name)
	t.restarts = append(t.restarts, restart{chain: c, rules: rules})
	return c
}

func (t *table) fillChain(r restart, seed uint64) {
	for _, exprs := range r.rules(seed) {
		t.rule(r.chain, exprs)
	}
}

// reset queues what makes the table forget: empty sets, and counters that start again.
func (t *table) reset(seed uint64) {
	for _, s := range t.flows {
		t.conn.FlushSet(s)
	}
	if t.mapped { // most routers never are, and every set costs
		for _, s := range t.asked {
			t.conn.FlushSet(s)
		}
		t.mapped = false
	}
	for _, r := range t.restarts {
		t.conn.FlushChain(r.chain)
		t.fillChain(r, seed)
	}
}

func portBytes(p int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(p)) }

func numBytes(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
