package plug

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

var (
	gateway = netip.MustParseAddr("192.168.1.1")
	lan     = netip.MustParsePrefix("192.168.1.0/24")
	start   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func addrs(n int) (as []netip.Addr) {
	a := netip.MustParseAddr("192.168.1.200")
	for range n {
		as = append(as, a)
		a = a.Next()
	}
	return as
}

// message is what a client sends: "discover", "request" and so on with what they carry.
type message struct {
	kind                           string
	client                         byte // of the hardware address
	id, want, ciaddr, server, name string
	broadcast, relayed             bool
}

var kinds = map[string]dhcpv4.MessageType{
	"discover": dhcpv4.MessageTypeDiscover, "request": dhcpv4.MessageTypeRequest, "decline": dhcpv4.MessageTypeDecline,
	"release": dhcpv4.MessageTypeRelease, "inform": dhcpv4.MessageTypeInform, "ack": dhcpv4.MessageTypeAck,
}

func (m message) build(t testing.TB) *dhcpv4.DHCPv4 {
	t.Helper()
	q, err := dhcpv4.New(dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, m.client}), dhcpv4.WithMessageType(kinds[m.kind]),
		dhcpv4.WithBroadcast(m.broadcast))
	if err != nil {
		t.Fatal(err)
	}
	if m.id != "" {
		q.UpdateOption(dhcpv4.OptClientIdentifier([]byte(m.id)))
	}
	if m.want != "" {
		q.UpdateOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(m.want)))
	}
	if m.server != "" {
		q.UpdateOption(dhcpv4.OptServerIdentifier(net.ParseIP(m.server)))
	}
	if m.name != "" {
		q.UpdateOption(dhcpv4.OptHostName(m.name))
	}
	if m.ciaddr != "" {
		q.ClientIPAddr = net.ParseIP(m.ciaddr)
	}
	if m.relayed {
		q.GatewayIPAddr = net.IPv4(192, 168, 9, 1)
	}
	return q
}

// TestScripts runs a server through the conversations of testdata: each command is a client's message, and its answer the
// server's, with where that goes.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/dhcp", func(t *testing.T, path string) {
		var core *dhcpCore
		now := start
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "server":
				n := 3
				d.MaybeScanArgs(t, "addresses", &n)
				core, now = newDHCPCore(gateway, lan, addrs(n), time.Minute), start
				return ""
			case "advance":
				pause, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					t.Fatal(err)
				}
				now = now.Add(pause)
				return ""
			case "leases":
				return leasesText(core)
			}
			m := message{kind: d.Cmd}
			client := 0
			d.ScanArgs(t, "client", &client)
			m.client = byte(client)
			for key, to := range map[string]*string{"id": &m.id, "want": &m.want, "ciaddr": &m.ciaddr, "server": &m.server, "name": &m.name} {
				d.MaybeScanArgs(t, key, to)
			}
			m.broadcast, m.relayed = d.HasArg("broadcast"), d.HasArg("relayed")
			return replyText(core.answer(now, m.build(t)))
		})
	})
}

func replyText(r *dhcpv4.DHCPv4) string {
	if r == nil {
		return "nothing\n"
	}
	b, hw := addressed(r, gateway)
	ip, _ := packet.ParseIPv4(b)
	words := []string{strings.ToLower(r.MessageType().String()), r.YourIPAddr.String(), "to", ip.Dst().String(), hw.String()}
	if life := r.IPAddressLeaseTime(0); life != 0 {
		words = append(words, fmt.Sprintf("for %v, renew %v, rebind %v", life, r.IPAddressRenewalTime(0), r.IPAddressRebindingTime(0)))
	}
	if id := r.Options.Get(dhcpv4.OptionClientIdentifier); id != nil {
		words = append(words, "id "+string(id))
	}
	if len(r.Router()) > 0 {
		mask, _ := r.SubnetMask().Size()
		words = append(words, fmt.Sprintf("router %v dns %v /%d", r.Router()[0], r.DNS()[0], mask))
	}
	return strings.Join(words, " ") + "\n"
}

func leasesText(c *dhcpCore) string {
	var b strings.Builder
	for _, l := range c.history {
		fmt.Fprintf(&b, "%v %s %q %v–%v renewed %d\n", l.Addr, l.MAC, l.Hostname, l.Granted.Sub(start), l.Expires.Sub(start), l.Renewals)
	}
	fmt.Fprintf(&b, "%+v\n", c.counts)
	return b.String()
}

// Whatever clients say, in any order: an address is of one of them at a time, for as long as it was promised, and each has one,
// of the LAN's.
func TestNoAddressIsGivenTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		const lease = time.Minute
		core, now := newDHCPCore(gateway, lan, addrs(3), lease), start
		type holding struct {
			client byte
			until  time.Time
		}
		held := map[netip.Addr]holding{}
		ips := []string{"", "192.168.1.200", "192.168.1.201", "192.168.1.202", "10.0.0.7"}
		for range rapid.IntRange(1, 40).Draw(rt, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "pause")) * time.Second)
			m := message{
				kind:   rapid.SampledFrom([]string{"discover", "request", "request", "decline", "release", "inform"}).Draw(rt, "kind"),
				client: byte(rapid.IntRange(1, 5).Draw(rt, "client")),
				want:   rapid.SampledFrom(ips).Draw(rt, "want"), ciaddr: rapid.SampledFrom(ips).Draw(rt, "ciaddr"),
				server: rapid.SampledFrom([]string{"", gateway.String(), "192.168.1.9"}).Draw(rt, "server"),
			}
			r := core.answer(now, m.build(t))
			if m.kind == "release" && m.server == gateway.String() || m.kind == "decline" && m.server == gateway.String() {
				for a, h := range held {
					if h.client == m.client && (m.kind == "release" && a.String() == m.ciaddr || m.kind == "decline" && a.String() == m.want) {
						delete(held, a)
					}
				}
			}
			if r == nil || !addrOf(r.YourIPAddr).IsValid() {
				continue
			}
			a := addrOf(r.YourIPAddr)
			if h, ok := held[a]; ok && h.client != m.client && now.Before(h.until) {
				rt.Fatalf("%s gives %v to client %d while client %d holds it until %v", r.MessageType(), a, m.client, h.client, h.until.Sub(now))
			}
			if core.at(a) == nil {
				rt.Fatalf("%v is no address of the server's", a)
			}
			for other, h := range held {
				if h.client == m.client && other != a && now.Before(h.until) {
					rt.Fatalf("%s gives %v to client %d, which holds %v", r.MessageType(), a, m.client, other)
				}
			}
			if r.MessageType() == dhcpv4.MessageTypeAck {
				held[a] = holding{m.client, now.Add(lease)}
			}
		}
	})
}

// A box that makes up clients can have the server remember no more than it says, and the leases that hold are remembered.
func TestHistoryIsBounded(t *testing.T) {
	core, now := newDHCPCore(gateway, lan, addrs(2), time.Minute), start
	keep := message{kind: "request", client: 1, id: "keeper", want: "192.168.1.200"}
	core.answer(now, keep.build(t))
	for i := range 3 * maxHistory {
		now = now.Add(30 * time.Second)
		core.answer(now, keep.build(t))
		id := fmt.Sprint(i)
		core.answer(now, message{kind: "request", client: 2, id: id, want: "192.168.1.201"}.build(t))
		core.answer(now, message{kind: "release", client: 2, id: id, ciaddr: "192.168.1.201", server: gateway.String()}.build(t))
	}
	if len(core.history) > maxHistory {
		t.Errorf("%d leases are remembered, want at most %d", len(core.history), maxHistory)
	}
	first := core.history[0]
	if first.MAC != "02:00:00:00:00:01" || first.Renewals != 3*maxHistory {
		t.Errorf("the lease that holds is remembered as %+v", first)
	}
}

// A client without an Ethernet address is answered by broadcast, whatever it says.
func TestOtherHardware(t *testing.T) {
	core := newDHCPCore(gateway, lan, addrs(1), time.Minute)
	q := message{kind: "discover", client: 1}.build(t)
	q.HWType, q.ClientHWAddr = iana.HWTypeInfiniband, nil
	r := core.answer(start, q)
	if b, hw := addressed(r, gateway); hw.String() != "ff:ff:ff:ff:ff:ff" || b[16] != 255 {
		t.Errorf("the offer goes to %v, %v", hw, b[16:20])
	}
}

// FuzzDHCP: no packet crashes the server, and what it answers a client can read.
func FuzzDHCP(f *testing.F) {
	from := netip.MustParseAddrPort("0.0.0.0:68")
	for kind := range kinds {
		q := message{kind: kind, client: 1, want: "192.168.1.200", server: gateway.String(), name: "cam"}.build(f)
		f.Add(packet.AppendUDP(nil, from, netip.AddrPortFrom(gateway, serverPort), q.ToBytes()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body, ok := payload(b, gateway)
		if !ok {
			return
		}
		q, err := dhcpv4.FromBytes(body)
		if err != nil {
			return
		}
		core := newDHCPCore(gateway, lan, addrs(2), time.Minute)
		for range 2 {
			r := core.answer(start, q)
			if r == nil {
				continue
			}
			frame, _ := addressed(r, gateway)
			ip, err := packet.ParseIPv4(frame)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dhcpv4.FromBytes(ip.Payload()[8:]); err != nil {
				t.Fatal(err)
			}
		}
	})
}
