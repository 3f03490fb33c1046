package nat_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// TestTable runs the scripts in testdata/table.
//
//	new PRESET [external=A,B] [lan=P] [KEY=VALUE…]     a table; keys as in change
//	send                                               packets, a line each, and what became of them
//	  out|in [udp|tcp FLAGS|ping N|pong N] SRC DST
//	  out|in error|short-error CODE ROUTER DST of [udp|tcp|ping N] SRC DST     short: eight bytes behind the header
//	  out|in frag ID OFFSET LENGTH [more] SRC DST      bytes of a UDP datagram whose first fragment has the ports
//	  wait DURATION
//	  map udp|tcp INTERNAL EXTERNAL LIFETIME           unmap udp|tcp INTERNAL
//	  maps | len | deadline
func TestTable(t *testing.T) {
	datadriven.Walk(t, "testdata/table", func(t *testing.T, path string) {
		var s *script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s = newScript(t, d)
				return ""
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
				fmt.Fprintf(&out, "%s%s\n", line, s.run(t, strings.Fields(line)))
			}
			return out.String()
		})
	})
}

type script struct {
	table *nat.Table
	now   time.Duration
}

func newScript(t *testing.T, d *datadriven.TestData) *script {
	c := nat.Config{
		External: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		LAN:      []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Seed:     1,
	}
	for i, arg := range d.CmdArgs {
		if i == 0 {
			b, ok := nat.Lookup(arg.Key)
			if !ok {
				t.Fatalf("no preset %q", arg.Key)
			}
			c.Behavior = b
			if b.Kind == nat.NoNAT {
				c.External, c.LAN = nil, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			}
			continue
		}
		change(t, &c, arg.Key, arg.Vals)
	}
	table, err := nat.NewTable(c)
	if err != nil {
		t.Fatal(err)
	}
	return &script{table: table}
}

func change(t *testing.T, c *nat.Config, key string, vals []string) {
	number := func() int {
		n, err := strconv.Atoi(vals[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	duration := func() time.Duration {
		d, err := time.ParseDuration(vals[0])
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if changePorts(c, key, vals, number) {
		return
	}
	switch key {
	case "external":
		c.External = nil
		for _, v := range vals {
			c.External = append(c.External, netip.MustParseAddr(v))
		}
	case "max":
		c.MaxMappings = number()
	case "hold":
		c.PortHoldDown = duration()
	case "arbitrary":
		c.Pooling = nat.Arbitrary
	case "hairpin":
		c.Hairpinning = map[string]nat.Hairpinning{"none": nat.HairpinNone, "internal": nat.HairpinInternalSource, "external": nat.HairpinExternalSource}[vals[0]]
	case "quota":
		c.Quota = number()
	case "exhausted":
		c.Exhausted = nat.ICMP
	case "unsolicited":
		c.Unsolicited = map[string]nat.Reaction{"drop": nat.Drop, "icmp": nat.ICMP, "rst": nat.RST, "rst6": nat.RSTAfter6s}[vals[0]]
	case "in-order":
		c.Fragments = nat.FragmentsInOrder
	case "no-fragments":
		c.Fragments = nat.FragmentsDropped
	case "no-errors":
		c.ICMPErrors = nat.ICMPErrorsDropped
	case "new-reply":
		c.ReplyByNewMapping = true
	case "per-endpoint":
		c.FilterPerMapping = false
	case "no-refresh":
		c.NoOutboundRefresh = true
	case "in-refresh":
		c.InboundRefresh = true
	case "udp":
		c.UDPTimeout = duration()
	case "flows":
		c.FlowLimit = number()
	case "early-block":
		c.InboundFirstBlock = duration()
	default:
		t.Fatalf("unknown key %q", key)
	}
}

// changePorts is change for the keys about port assignment.
func changePorts(c *nat.Config, key string, vals []string, number func() int) bool {
	switch key {
	case "ports":
		low, high, _ := strings.Cut(vals[0], "-")
		a, _ := strconv.Atoi(low)
		b, _ := strconv.Atoi(high)
		c.PortMin, c.PortMax = uint16(a), uint16(b)
	case "assign":
		c.PortAssignment = map[string]nat.PortAssignment{"preserve": nat.PortPreservation, "sequential": nat.PortSequential, "random": nat.PortRandom, "block": nat.PortBlock}[vals[0]]
	case "step":
		c.PortStep = number()
	case "block":
		c.PortBlockSize = number()
	case "parity":
		c.PortParity = true
	case "contiguity":
		c.PortContiguity = true
	case "overload":
		c.PortOverloading = true
	default:
		return false
	}
	return true
}

var tcpFlags = map[string]uint8{"S": packet.SYN, "SA": packet.SYN | packet.ACK, "A": packet.ACK, "F": packet.FIN | packet.ACK, "R": packet.RST, "RA": packet.RST | packet.ACK}

func (s *script) run(t *testing.T, w []string) string {
	t.Helper()
	if len(w) == 0 {
		return ""
	}
	proto := map[string]uint8{"udp": 17, "tcp": 6}
	switch w[0] {
	case "wait":
		d, err := time.ParseDuration(w[1])
		if err != nil {
			t.Fatal(err)
		}
		s.now += d
		s.table.Advance(s.now)
		return s.emissions(t)
	case "len":
		return fmt.Sprintf(": %d", s.table.Len())
	case "deadline":
		d, ok := s.table.Deadline()
		return fmt.Sprintf(": %v %v", d, ok)
	case "map":
		ext, _ := strconv.Atoi(w[3])
		life, _ := time.ParseDuration(w[4])
		m := nat.PortMap{Protocol: proto[w[1]], Internal: netip.MustParseAddrPort(w[2]), External: uint16(ext), Lifetime: life}
		if len(w) > 5 {
			m.Remote = netip.MustParseAddr(w[5])
		}
		got, err := s.table.Map(s.now, m)
		if err != nil {
			return ": " + err.Error()
		}
		return fmt.Sprintf(": %v", got)
	case "unmap":
		return fmt.Sprintf(": %v", s.table.Unmap(s.now, nat.PortMap{Protocol: proto[w[1]], Internal: netip.MustParseAddrPort(w[2])}))
	case "maps":
		out := ":"
		for _, m := range s.table.PortMaps(s.now) {
			out += fmt.Sprintf(" %d/%v=%d(%v)", m.Protocol, m.Internal, m.External, m.Lifetime)
		}
		return out
	}
	side := nat.Inside
	if w[0] == "in" {
		side = nat.Outside
	}
	b := parsePacket(t, w[1:])
	before := bytes.Clone(b)
	v := s.table.Translate(s.now, side, b)
	out := ": " + v.Reason.String()
	if v.Reason == nat.Passed {
		if v.Packet == nil {
			t.Fatalf("%v passed without a packet", w)
		}
		checkSums(t, v.Packet)
		out = fmt.Sprintf(": %v %s", v.To, describe(v.Packet))
	} else if !bytes.Equal(b, before) {
		t.Fatalf("%v: refused, but changed", w)
	}
	if v.Created {
		out += " (new)"
	}
	return out + s.emissions(t)
}

func (s *script) emissions(t *testing.T) (out string) {
	for {
		e, ok := s.table.Next()
		if !ok {
			return out
		}
		checkSums(t, e.Packet)
		out += fmt.Sprintf("\n  + %v %s (%v)", e.To, describe(e.Packet), e.Reason)
	}
}
