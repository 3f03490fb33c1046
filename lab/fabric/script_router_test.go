package fabric

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// The commands for routers:
//
//	router NAME nat=PRESET gateway=(ADDR,…) lan=(PREFIX,…) wan=(PREFIX,…) [behind=ROUTER | device]
//	            the access link's impairments, one a line, as for uplink
//	station NAME on=ROUTER addr=ADDR [routed=(PREFIX,…)] [self]
//	ping FROM TO src=ADDR [ttl=N]     FROM is a station
//	counts ROUTER                     what it and its table counted
//	readdress ROUTER wan=(PREFIX,…)
//
// send takes a station too, and a router whose WAN is a device.
func (s *script) routerCommand(t *testing.T, d *datadriven.TestData, first string) error {
	switch d.Cmd {
	case "router":
		return s.router(t, d, first)
	case "detach":
		s.uplinks[s.name+"/"+first].Close()
	case "close":
		s.net.Close()
	case "station":
		return s.station(t, d, first)
	case "ping":
		return s.ping(t, d, first)
	case "counts":
		r := s.routers[first]
		st := r.Stats()
		fmt.Fprintf(&s.out, "out %d, in %d, drops: %v\n", st.Out.Packets, st.In.Packets, st.Drops)
		for reason, n := range r.Table().Counts() {
			if n > 0 {
				fmt.Fprintf(&s.out, "%v: %d\n", nat.Reason(reason), n)
			}
		}
	case "down", "up":
		s.setDown(first, d.Cmd == "down")
	case "blackhole":
		second := ""
		if len(d.CmdArgs) > 1 && d.CmdArgs[1].Key != "off" {
			second = d.CmdArgs[1].Key
		}
		return s.net.Blackhole(first, second, !d.HasArg("off"))
	case "tap":
		s.net.SetTap(s.see)
		if d.HasArg("off") {
			s.net.SetTap(nil)
		}
	case "readdress":
		return s.readdress(d, first)
	default:
		return fmt.Errorf("no command %q", d.Cmd)
	}
	return nil
}

// fromDevice lets a router's device send.
type fromDevice struct{ r *Router }

func (f fromDevice) Send(now time.Duration, p *Packet) { f.r.Receive(now, p) }

func (s *script) setDown(name string, down bool) {
	switch {
	case s.stations[name] != nil:
		s.stations[name].SetDown(down)
	case s.routers[name] != nil:
		s.routers[name].SetDown(down)
	default:
		s.uplinks[s.name+"/"+name].SetDown(down)
	}
}

func (s *script) see(e TapEvent) {
	if s.now != e.T+e.Late && e.Point == Delivered {
		fmt.Fprintf(&s.out, "LATENESS %v IS WRONG\n", e.Late)
	}
	fmt.Fprintf(&s.out, "  %v %v %s %v id %d", e.T, e.Where, e.Name, e.Point, e.ID)
	if e.Parent != 0 {
		fmt.Fprintf(&s.out, " of %d", e.Parent)
	}
	if e.Cause != link.Passed {
		fmt.Fprintf(&s.out, ", %v", e.Cause)
	}
	if e.Reason != nat.Passed {
		fmt.Fprintf(&s.out, ", %v", e.Reason)
	}
	if e.Old != e.New {
		fmt.Fprintf(&s.out, ", %v → %v", e.Old, e.New)
	}
	fmt.Fprintf(&s.out, ": %s\n", describe(e.Packet))
}

func prefixes(d *datadriven.TestData, key string) (ps []netip.Prefix) {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			for _, v := range a.Vals {
				ps = append(ps, netip.MustParsePrefix(v))
			}
		}
	}
	return ps
}

func singles(ps []netip.Prefix) (addrs []netip.Addr) {
	for _, p := range ps {
		if p.IsSingleIP() && p.Addr().Is4() {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

func (s *script) router(t *testing.T, d *datadriven.TestData, name string) error {
	var preset, behind string
	d.ScanArgs(t, "nat", &preset)
	d.MaybeScanArgs(t, "behind", &behind)
	b, ok := nat.Lookup(preset)
	if !ok {
		return fmt.Errorf("no preset %q", preset)
	}
	wan, lan := prefixes(d, "wan"), prefixes(d, "lan")
	b.IPv6 = nat.IPv6Firewall
	table, err := nat.NewTable(nat.Config{Behavior: b, External: singles(wan), LAN: lan})
	if err != nil {
		return err
	}
	p, err := profile(d.Input)
	if err != nil {
		return err
	}
	c := RouterConfig{Name: name, Table: table, LAN: lan, WAN: wan, Profile: p, Behind: s.routers[behind]}
	for _, a := range d.CmdArgs {
		if a.Key == "gateway" {
			for _, v := range a.Vals {
				if g := netip.MustParseAddr(v); g.Is4() {
					c.Gateway = g
				} else {
					c.Gateway6 = g
				}
			}
		}
	}
	if d.HasArg("device") {
		c.Output = site{s, name + "'s device"}
	}
	r, err := s.net.AttachRouter(c)
	if err == nil {
		s.routers[name] = r
	}
	return err
}

func (s *script) station(t *testing.T, d *datadriven.TestData, name string) error {
	var on, addr string
	d.ScanArgs(t, "on", &on)
	c := StationConfig{Name: name, Routed: prefixes(d, "routed"), Output: site{s, name}, Self: d.HasArg("self")}
	if d.MaybeScanArgs(t, "addr", &addr) {
		c.Addrs = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(addr), 24)}
	}
	k, err := s.routers[on].Attach(c)
	if err == nil {
		s.stations[name] = k
	}
	return err
}

func (s *script) ping(t *testing.T, d *datadriven.TestData, name string) error {
	var src string
	ttl := 64
	d.ScanArgs(t, "src", &src)
	d.MaybeScanArgs(t, "ttl", &ttl)
	b := echoRequest(netip.MustParseAddr(src), netip.MustParseAddr(d.CmdArgs[1].Key))
	setTTL(b, uint8(ttl), true)
	p := s.fab.Get()
	p.Set(b)
	s.sender(name).Send(s.now, p)
	return nil
}

// echoRequest makes a ping of the identifier 77.
func echoRequest(src, dst netip.Addr) []byte {
	b := packet.AppendUDP(nil, netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0), make([]byte, 24))
	var m []byte
	if src.Is4() {
		b[9] = packet.ProtocolICMP
		m = b[packet.IPv4HeaderLen:]
	} else {
		b[6] = packet.ProtocolICMPv6
		m = b[packet.IPv6HeaderLen:]
	}
	clear(m)
	m[0], m[5] = echo4, 77
	c := packet.Checksum(m)
	if src.Is6() {
		m[0] = echo6
		c = packet.PseudoChecksum(src, dst, packet.ProtocolICMPv6, m)
	}
	m[2], m[3] = byte(c>>8), byte(c)
	return b
}

// readdress gives a router other WAN addresses.
func (s *script) readdress(d *datadriven.TestData, name string) error {
	r, wan := s.routers[name], prefixes(d, "wan")
	if err := r.Table().SetExternal(singles(wan)); err != nil {
		return err
	}
	r.Changed(s.now)
	return r.SetWAN(wan)
}
