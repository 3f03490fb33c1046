package agree_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// setup is a router as a script asks for it.
//
//	hosts 192.168.1.2…, fd00:1:2:3::2… ── router 203.0.113.2, 2001:db8:2::/48 ── everybody else
type setup struct {
	b         nat.Behavior
	external  []netip.Addr
	external6 netip.Prefix
	lan6      netip.Prefix
	seed      uint64
}

var lan = netip.MustParsePrefix("192.168.1.0/24")

func (s setup) tableConfig() nat.Config {
	return nat.Config{Behavior: s.b, External: s.external, External6: s.external6, LAN: []netip.Prefix{lan, s.lan6}, Seed: s.seed}
}

func (s setup) kernelConfig() netfilter.Config {
	return netfilter.Config{Behavior: s.b, External: s.external, External6: s.external6, LANPrefix: lan, LANPrefix6: s.lan6, Seed: s.seed}
}

// forgetsSoon tells whether the router ends something within the time that a script waits.
func (s setup) forgetsSoon() bool {
	return slices.ContainsFunc([]time.Duration{s.b.UDPTimeout, s.b.ICMPTimeout, s.b.TCPSynTimeout, s.b.TCPTransitory, s.b.TCPEstablished},
		func(d time.Duration) bool { return d > 0 && d <= virtualOnly })
}

// newSetup reads the arguments of a script's router command: a preset's name, then what differs from it.
func newSetup(args []datadriven.CmdArg) (setup, error) {
	s := setup{
		external:  []netip.Addr{netip.MustParseAddr("203.0.113.2")},
		external6: netip.MustParsePrefix("2001:db8:2::/48"), lan6: netip.MustParsePrefix("fd00:1:2:3::/64"), seed: 1,
	}
	err := s.change(args)
	return s, err
}

// change applies arguments.
func (s *setup) change(args []datadriven.CmdArg) error {
	for _, a := range args {
		if len(a.Vals) == 0 {
			if b, ok := nat.Lookup(a.Key); ok {
				s.b = b
				continue
			}
			set, ok := switches[a.Key]
			if !ok {
				return fmt.Errorf("%q is neither a preset nor a switch", a.Key)
			}
			set(&s.b)
			continue
		}
		set, ok := knobs[a.Key]
		if !ok {
			return fmt.Errorf("no knob %q", a.Key)
		}
		if err := set(s, a.Vals); err != nil {
			return fmt.Errorf("knob %s: %w", a.Key, err)
		}
	}
	return s.b.Validate()
}

// switches are set by naming them.
var switches = map[string]func(*nat.Behavior){
	"no-outbound-refresh": func(b *nat.Behavior) { b.NoOutboundRefresh = true },
	"inbound-refresh":     func(b *nat.Behavior) { b.InboundRefresh = true },
	"per-mapping":         func(b *nat.Behavior) { b.FilterPerMapping = true },
	"per-endpoint":        func(b *nat.Behavior) { b.FilterPerMapping = false },
	"parity":              func(b *nat.Behavior) { b.PortParity = true },
	"contiguity":          func(b *nat.Behavior) { b.PortContiguity = true },
	"overloading":         func(b *nat.Behavior) { b.PortOverloading = true },
	"reply-by-new":        func(b *nat.Behavior) { b.ReplyByNewMapping = true },
	"alg":                 func(b *nat.Behavior) { b.ALG = true },
}

// knobs take values.
var knobs = map[string]func(*setup, []string) error{
	"mapping":      enum(func(s *setup) *nat.Dependency { return &s.b.Mapping }, dependencies),
	"filtering":    enum(func(s *setup) *nat.Dependency { return &s.b.Filtering }, dependencies),
	"filtering6":   enum(func(s *setup) *nat.Dependency { return &s.b.Filtering6 }, dependencies),
	"ports":        enum(func(s *setup) *nat.PortAssignment { return &s.b.PortAssignment }, upTo(nat.PortPreservation, nat.PortBlock)),
	"pooling":      enum(func(s *setup) *nat.Pooling { return &s.b.Pooling }, upTo(nat.Paired, nat.Arbitrary)),
	"hairpin":      enum(func(s *setup) *nat.Hairpinning { return &s.b.Hairpinning }, upTo(nat.HairpinNone, nat.HairpinExternalSource)),
	"unsolicited":  enum(func(s *setup) *nat.Reaction { return &s.b.Unsolicited }, upTo(nat.Drop, nat.RSTAfter6s)),
	"exhausted":    enum(func(s *setup) *nat.Reaction { return &s.b.Exhausted }, upTo(nat.Drop, nat.ICMP)),
	"fragments":    enum(func(s *setup) *nat.FragmentPolicy { return &s.b.Fragments }, upTo(nat.FragmentsAnyOrder, nat.FragmentsDropped)),
	"errors":       enum(func(s *setup) *nat.ICMPErrorPolicy { return &s.b.ICMPErrors }, upTo(nat.ICMPErrorsTranslated, nat.ICMPErrorsDropped)),
	"ipv6":         enum(func(s *setup) *nat.IPv6Mode { return &s.b.IPv6 }, upTo(nat.IPv6None, nat.NAT64)),
	"min":          number(func(s *setup, n int) { s.b.PortMin = uint16(n) }),
	"max":          number(func(s *setup, n int) { s.b.PortMax = uint16(n) }),
	"step":         number(func(s *setup, n int) { s.b.PortStep = n }),
	"block":        number(func(s *setup, n int) { s.b.PortBlockSize = n }),
	"quota":        number(func(s *setup, n int) { s.b.Quota = n }),
	"seed":         number(func(s *setup, n int) { s.seed = uint64(n) }),
	"udp-timeout":  duration(func(s *setup) *time.Duration { return &s.b.UDPTimeout }),
	"icmp-timeout": duration(func(s *setup) *time.Duration { return &s.b.ICMPTimeout }),
	"established":  duration(func(s *setup) *time.Duration { return &s.b.TCPEstablished }),
	"transitory":   duration(func(s *setup) *time.Duration { return &s.b.TCPTransitory }),
	"syn-timeout":  duration(func(s *setup) *time.Duration { return &s.b.TCPSynTimeout }),
	"hold-down":    duration(func(s *setup) *time.Duration { return &s.b.PortHoldDown }),
	"lan6":         prefix(func(s *setup) *netip.Prefix { return &s.lan6 }),
	"external6":    prefix(func(s *setup) *netip.Prefix { return &s.external6 }),
	"external": func(s *setup, vals []string) error {
		s.external = nil
		for _, v := range vals {
			a, err := netip.ParseAddr(v)
			if err != nil {
				return err
			}
			s.external = append(s.external, a)
		}
		return nil
	},
}

var dependencies = upTo(nat.EndpointIndependent, nat.AddressAndPortDependent)

func upTo[T ~int](first, last T) (all []T) {
	for v := first; v <= last; v++ {
		all = append(all, v)
	}
	return all
}

// enum sets a field to the value of that name.
func enum[T fmt.Stringer](field func(*setup) *T, values []T) func(*setup, []string) error {
	return func(s *setup, vals []string) error {
		i := slices.IndexFunc(values, func(v T) bool { return v.String() == vals[0] })
		if i < 0 {
			return fmt.Errorf("no value %q", vals[0])
		}
		*field(s) = values[i]
		return nil
	}
}

func number(set func(*setup, int)) func(*setup, []string) error {
	return func(s *setup, vals []string) error {
		n, err := strconv.Atoi(vals[0])
		if err == nil {
			set(s, n)
		}
		return err
	}
}

func duration(field func(*setup) *time.Duration) func(*setup, []string) error {
	return func(s *setup, vals []string) (err error) {
		*field(s), err = time.ParseDuration(vals[0])
		return err
	}
}

func prefix(field func(*setup) *netip.Prefix) func(*setup, []string) error {
	return func(s *setup, vals []string) (err error) {
		*field(s), err = netip.ParsePrefix(vals[0])
		return err
	}
}

// parsePortMap reads "udp 192.168.1.2:5000 8000 lifetime=1s remote=198.51.100.1".
func parsePortMap(words []string) (m nat.PortMap, err error) {
	if len(words) < 2 {
		return m, errors.New("want PROTOCOL ENDPOINT [PORT]")
	}
	m.Protocol = map[string]uint8{"udp": 17, "tcp": 6}[words[0]]
	if words[1] != "any" {
		if m.Internal, err = netip.ParseAddrPort(words[1]); err != nil {
			return m, err
		}
	}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "lifetime":
			m.Lifetime, err = time.ParseDuration(value)
		case "remote":
			m.Remote, err = netip.ParseAddr(value)
		default:
			var n uint64
			n, err = strconv.ParseUint(word, 10, 16)
			m.External = uint16(n)
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}
