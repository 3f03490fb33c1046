package fabric

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// TestScripts runs testdata/scripts/*.txt in virtual time. The commands:
//
//	net NAME [seed=N]                 makes a net; later commands mean the latest one, or net=NAME
//	uplink NAME routed=(PREFIX,…)     one impairment a line: "up delay 5ms", "down rate 8000000"
//	profile NAME                      the same lines, for an uplink that is there
//	send FROM TO [at=T] [n=K] [size=BYTES] [ttl=N] [df=false]
//	                                  moves the clock to T; FROM is an uplink, TO an address
//	raw FROM                          hexadecimal bytes
//	run [until=T]                     delivers; prints a line for each delivery: due time, uplink, packet
//	late until=T                      jumps to T and delivers only then, as a driver that was held up
//	stats | reset [seed=N] | detach NAME | close
//	down NAME | up NAME               a link's fault: of an uplink, station or router
//	blackhole A [B] [off]             between uplinks
//	tap [off]                         prints a line for each event
//
// script_router_test.go has the commands for routers.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{fab: New(Config{}), nets: map[string]*Net{}, uplinks: map[string]*Uplink{}, routers: map[string]*Router{}, stations: map[string]*Station{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			if err := s.command(t, d); err != nil {
				fmt.Fprintf(&s.out, "error: %v\n", err)
			}
			return s.out.String()
		})
	})
}

type script struct {
	fab      *Fabric
	net      *Net
	nets     map[string]*Net
	uplinks  map[string]*Uplink // by net's name, "/" and its own
	name     string             // of the latest net
	routers  map[string]*Router
	stations map[string]*Station
	now      time.Duration
	out      strings.Builder
}

// site prints what a site is given.
type site struct {
	s    *script
	name string
}

func (o site) Deliver(p *Packet) bool {
	fmt.Fprintf(&o.s.out, "%v %s: %s\n", o.s.now, o.name, describe(p.Bytes()))
	return true
}

func describe(b []byte) string {
	var src, dst netip.Addr
	var protocol, ttl uint8
	var payload []byte
	if p, err := packet.ParseIPv4(b); err == nil {
		src, dst, protocol, ttl, payload = p.Src(), p.Dst(), p.Protocol(), p.TTL(), p.Payload()
		if !p.ChecksumOK() {
			return "BAD HEADER CHECKSUM"
		}
	} else if p, err := packet.ParseIPv6(b); err == nil {
		src, dst, protocol, ttl, payload = p.Src(), p.Dst(), p.NextHeader(), p.HopLimit(), p[packet.IPv6HeaderLen:]
	}
	what := fmt.Sprint("protocol ", protocol)
	if h := packet.IPv4(b); b[0]>>4 == 4 && (h.FragmentOffset() != 0 || h.MoreFragments()) {
		return fmt.Sprintf("%v → %v fragment at %d, more %v, %d bytes, ttl %d", src, dst, h.FragmentOffset(), h.MoreFragments(), len(b), ttl)
	}
	switch protocol {
	case packet.ProtocolUDP:
		u, _ := packet.ParseUDP(payload)
		what = fmt.Sprintf("udp %d", u.DstPort())
		if u.SrcPort() != 1000 {
			what = fmt.Sprintf("udp %d to %d", u.SrcPort(), u.DstPort())
		}
		if packet.PseudoChecksum(src, dst, protocol, payload) != 0 {
			what += " corrupted"
		}
	case packet.ProtocolICMP, packet.ProtocolICMPv6:
		m, _ := packet.ParseICMP(payload)
		what = fmt.Sprintf("icmp type %d code %d, %x", m.Type(), m.Code(), m[4:8])
		c := packet.Checksum(m)
		if protocol == packet.ProtocolICMPv6 {
			c = packet.PseudoChecksum(src, dst, protocol, m)
		}
		if c != 0 {
			what += " BAD CHECKSUM"
		}
	}
	return fmt.Sprintf("%v → %v %s, %d bytes, ttl %d", src, dst, what, len(b), ttl)
}

func (s *script) command(t *testing.T, d *datadriven.TestData) error {
	arg := func(key string, def int) int {
		d.MaybeScanArgs(t, key, &def)
		return def
	}
	until := ""
	d.MaybeScanArgs(t, "until", &until)
	if name := ""; d.MaybeScanArgs(t, "net", &name) {
		s.net, s.name = s.nets[name], name
	}
	first := ""
	if len(d.CmdArgs) > 0 {
		first = d.CmdArgs[0].Key
	}
	switch d.Cmd {
	case "net":
		s.name, s.net = first, s.fab.NewNet(uint64(arg("seed", 1)))
		s.nets[first] = s.net
	case "uplink":
		return s.attach(t, d, first)
	case "profile":
		p, err := profile(d.Input)
		if err != nil {
			return err
		}
		return s.uplinks[s.name+"/"+first].SetProfile(p)
	case "send":
		return s.send(t, d)
	case "raw":
		var b []byte
		if _, err := fmt.Sscanf(strings.TrimSpace(d.Input), "%x", &b); err != nil {
			return err
		}
		p := s.fab.Get()
		p.Set(b)
		s.sender(first).Send(s.now, p)
	case "run":
		return s.run(until)
	case "late":
		var err error
		if s.now, err = time.ParseDuration(until); err == nil {
			s.fab.Deliver(s.now, 0)
		}
		return err
	case "stats":
		s.stats()
	case "reset":
		s.net.Reset(uint64(arg("seed", 1)))
	default:
		return s.routerCommand(t, d, first)
	}
	return nil
}

// sender is what packets can be sent from.
type sender interface {
	Send(now time.Duration, p *Packet)
}

func (s *script) sender(name string) sender {
	if k := s.stations[name]; k != nil {
		return k
	}
	if r := s.routers[name]; r != nil && r.uplink == nil {
		return fromDevice{r}
	}
	return s.uplinks[s.name+"/"+name]
}

func (s *script) attach(t *testing.T, d *datadriven.TestData, name string) error {
	var routed []netip.Prefix
	for _, a := range d.CmdArgs {
		if a.Key == "routed" {
			for _, v := range a.Vals {
				routed = append(routed, netip.MustParsePrefix(v))
			}
		}
	}
	p, err := profile(d.Input)
	if err != nil {
		return err
	}
	u, err := s.net.Attach(UplinkConfig{Name: name, Routed: routed, Profile: p, Output: site{s, name}})
	if err == nil {
		s.uplinks[s.name+"/"+name] = u
	}
	return err
}

func profile(input string) (p link.Profile, err error) {
	for line := range strings.Lines(input) {
		f := strings.Fields(line)
		if len(f) < 2 {
			return p, fmt.Errorf("impairment %q", line)
		}
		i := &p.Up
		if f[0] == "down" {
			i = &p.Down
		}
		if err := impair(i, f[1], strings.Join(f[2:], " ")); err != nil {
			return p, err
		}
	}
	return p, nil
}

func impair(i *link.Impairment, key, value string) (err error) {
	probability := func(p *float64) { *p, err = strconv.ParseFloat(value, 64) }
	duration := func(d *time.Duration) { *d, err = time.ParseDuration(value) }
	switch key {
	case "delay":
		duration(&i.Delay)
	case "jitter":
		duration(&i.Jitter)
	case "keep-order":
		i.KeepOrder = true
	case "loss":
		probability(&i.Loss)
	case "reorder-by":
		i.Reorder = 0.3
		duration(&i.ReorderBy)
	case "duplicate":
		probability(&i.Duplicate)
	case "corrupt":
		probability(&i.Corrupt)
	case "rate":
		i.Rate, err = strconv.ParseInt(value, 10, 64)
	case "queue":
		i.QueueBytes, err = strconv.Atoi(value)
	case "mtu":
		i.MTU, err = strconv.Atoi(value)
	default:
		err = fmt.Errorf("no impairment %q", key)
	}
	return err
}

func (s *script) send(t *testing.T, d *datadriven.TestData) error {
	n, size, ttl, df, at := 1, 100, 64, true, ""
	d.MaybeScanArgs(t, "n", &n)
	d.MaybeScanArgs(t, "size", &size)
	d.MaybeScanArgs(t, "ttl", &ttl)
	d.MaybeScanArgs(t, "df", &df)
	if d.MaybeScanArgs(t, "at", &at) {
		if err := s.run(at); err != nil {
			return err
		}
	}
	u, to := s.sender(d.CmdArgs[0].Key), netip.MustParseAddr(d.CmdArgs[1].Key)
	from, header := netip.MustParseAddr("192.0.2.1"), packet.IPv4HeaderLen+packet.UDPHeaderLen
	if to.Is6() {
		from, header = netip.MustParseAddr("2001:db8::1"), packet.IPv6HeaderLen+packet.UDPHeaderLen
	}
	if src := ""; d.MaybeScanArgs(t, "src", &src) {
		from = netip.MustParseAddr(src)
	}
	sport, port := 1000, 0
	d.MaybeScanArgs(t, "sport", &sport)
	d.MaybeScanArgs(t, "port", &port)
	for i := range n {
		b := packet.AppendUDP(nil, netip.AddrPortFrom(from, uint16(sport)), netip.AddrPortFrom(to, uint16(max(port, i+1))), make([]byte, size-header))
		setTTL(b, uint8(ttl), df)
		p := s.fab.Get()
		p.Set(b)
		u.Send(s.now, p)
	}
	return nil
}

func setTTL(b []byte, ttl uint8, df bool) {
	if b[0]>>4 == 6 {
		b[7] = ttl
		return
	}
	b[8] = ttl
	if !df {
		b[6] = 0
	}
	b[10], b[11] = 0, 0
	c := packet.Checksum(b[:packet.IPv4HeaderLen])
	b[10], b[11] = byte(c>>8), byte(c)
}

// run moves the clock from event to event, until the given time or until nothing is in flight.
func (s *script) run(until string) error {
	end := time.Duration(1<<63 - 1)
	if until != "" {
		var err error
		if end, err = time.ParseDuration(until); err != nil {
			return err
		}
	}
	for {
		due, ok := s.fab.Deadline()
		if !ok || due > end {
			break
		}
		s.now = max(s.now, due)
		s.fab.Deliver(s.now, 0)
	}
	if until != "" {
		s.now = max(s.now, end)
	}
	return nil
}

func (s *script) stats() {
	st := s.net.Stats(nil)
	for _, u := range st.Uplinks {
		fmt.Fprintf(&s.out, "%s: up %d (%d bytes), down %d (%d bytes), drops: %v\n",
			u.Name, u.Up.Packets, u.Up.Bytes, u.Down.Packets, u.Down.Bytes, u.Drops)
	}
	fmt.Fprintf(&s.out, "late: %d packets, p50 %v, p99 %v, max %v\n", st.Lateness.N, st.Lateness.P50, st.Lateness.P99, st.Lateness.Max)
}
