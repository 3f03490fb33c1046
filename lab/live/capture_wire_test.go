package live_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/packet"
)

// TestCaptureAsWire: what a host sends in one call every tap has as the datagrams that a wire would carry, behind a router of
// the kernel as behind one of engine table, in both directions, and with checksums.
//
//	host ── veth ──┬─[ kernel router ]── outer ──┐
//	            monitor                       core ── server
//	station ──[ table router ]── home ───────────┤
//	public ──────────────────────────────────────┘
func TestCaptureAsWire(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		for name, c := range map[string]struct {
			from func(t *testing.T, n *live.Net) *site
			taps []string // of the way to the server
			v6   bool
		}{
			"kernel router": {behindKernel,
				[]string{"monitor host", "uplink outer sent", "uplink server arrived", "uplink server delivered"}, false},
			"table router": {func(t *testing.T, n *live.Net) *site {
				c := home(t, "full-cone", wanA, lanA)
				c.Name = "home"
				a, _ := newStation(t, newRouter(t, n, c), hostA, live.StationConfig{Name: "host"})
				return a
			}, []string{"station host sent", "router home outbound", "uplink home sent", "uplink server arrived",
				"uplink server delivered"}, false},
			"public": {func(t *testing.T, n *live.Net) *site { return newSite(t, n, "host", addrA, link.Profile{}) },
				[]string{"uplink host sent", "uplink server arrived", "uplink server delivered"}, false},
			"IPv6": {func(t *testing.T, n *live.Net) *site { return newSite(t, n, "host", addrA6, link.Profile{}) },
				[]string{"uplink host sent", "uplink server arrived", "uplink server delivered"}, true},
		} {
			t.Run(name, func(t *testing.T) {
				n := newNet(t, f)
				defer n.Close()
				at := serverAddr
				if c.v6 {
					at = server6
				}
				server := newSite(t, n, "server", at, link.Profile{})
				host := c.from(t, n)
				host.send(t, server, "before")
				seen := server.receiveFrom(t, "before")
				path := capture(t, n, live.CaptureOptions{})
				sendBurst(t, host, server, server.addr)
				sendBurst(t, server, host, seen)
				if _, err := n.StopCapture(); err != nil {
					t.Fatal(err)
				}
				all := slices.DeleteFunc(read(t, path), notUDP)
				for _, tap := range c.taps {
					checkBurst(t, all, tap, server.addr, true)
					checkBurst(t, all, mirror(tap), server.addr, false)
				}
				checkTshark(t, path, len(all))
			})
		}
	})
}

// behindKernel is a host behind a router of the kernel that does not translate, with a monitor on its LAN.
func behindKernel(t *testing.T, n *live.Net) *site {
	t.Helper()
	router, host := kernelRouter(t), kernelRouter(t)
	cable(t, router, "lan0", gatewayA, host, "eth0", hostA)
	if _, err := n.Attach(live.UplinkConfig{Name: "outer", NS: router, Addrs: []netip.Prefix{netip.PrefixFrom(wanB, 32)},
		Routed: []netip.Prefix{netip.PrefixFrom(hostA, 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := n.Monitor("host", router, "lan0"); err != nil {
		t.Fatal(err)
	}
	return listen(t, host, netip.AddrPortFrom(hostA, 7000))
}

// A burst is datagrams of one call, the last one shorter, and one more.
const burstSize, burstCount, burstRest = 1000, 20, 300

func burstText(i int) string {
	n := burstSize
	if i == burstCount-1 {
		n = burstRest
	}
	return strings.Repeat(string(rune('a'+i)), n)
}

func sendBurst(t *testing.T, from, to *site, addr netip.AddrPort) {
	t.Helper()
	var b []byte
	for i := range burstCount {
		b = append(b, burstText(i)...)
	}
	if _, _, err := from.conn.WriteMsgUDPAddrPort(b, segmentControl(burstSize), addr); err != nil {
		t.Skipf("UDP_SEGMENT: %v", err)
	}
	from.sendTo(t, addr, burstText(burstCount))
	for i := range burstCount + 1 {
		to.receiveFrom(t, burstText(i))
	}
}

// mirror is the tap that sees the way back as one sees the way there.
func mirror(tap string) string {
	if iface, ok := strings.CutSuffix(tap, " sent"); ok {
		return iface + " delivered"
	}
	if iface, ok := strings.CutSuffix(tap, " delivered"); ok {
		return iface + " sent"
	}
	if iface, ok := strings.CutSuffix(tap, " outbound"); ok {
		return iface + " inbound"
	}
	return strings.Replace(tap, "server arrived", "server sent", 1)
}

// checkBurst looks for a burst at a tap, to the server or from it.
func checkBurst(t *testing.T, all []seen, tap string, server netip.AddrPort, out bool) {
	t.Helper()
	if strings.HasPrefix(tap, "uplink home") || strings.HasPrefix(tap, "uplink outer") { // a router's: nothing is delivered there
		tap = strings.Replace(tap, "delivered", "arrived", 1)
	}
	var got []string
	var ids []uint16
	var times []time.Time
	for _, s := range all {
		if strings.TrimRight(s.iface+" "+s.At, " ") != tap {
			continue
		}
		src, dst, text, err := readUDP(s.data)
		if err != nil {
			t.Errorf("%s: a packet of %d bytes: %v", tap, len(s.data), err)
			continue
		}
		if out && dst != server || !out && src != server {
			continue
		}
		got, times = append(got, text), append(times, s.time)
		if packet.Version(s.data) == 4 {
			ids = append(ids, packet.IPv4(s.data).ID())
		}
	}
	var want []string
	for i := range burstCount + 1 {
		want = append(want, burstText(i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s (to the server: %v): %s; want %s", tap, out, lengths(got), lengths(want))
		return
	}
	for i := 1; i < min(len(ids), burstCount); i++ {
		if ids[i] != ids[i-1]+1 {
			t.Errorf("%s: ID %d after %d within what was sent in one call", tap, ids[i], ids[i-1])
			break
		}
	}
	if strings.HasPrefix(tap, "monitor") && out && !times[0].Equal(times[burstCount-1]) {
		t.Errorf("%s: seen from %v to %v what passed at once", tap, times[0], times[burstCount-1])
	}
}

func lengths(texts []string) string {
	var n []int
	for _, s := range texts {
		n = append(n, len(s))
	}
	return fmt.Sprintf("%d datagrams %v", len(texts), n)
}

// notUDP tells what kernels say by themselves, some time after their links came up (MLD, RFC 3810 §6.1), from the test's datagrams.
func notUDP(s seen) bool {
	if packet.Version(s.data) == 4 {
		return packet.IPv4(s.data).Protocol() != packet.ProtocolUDP
	}
	p, err := packet.ParseIPv6(s.data)
	if err != nil {
		return true
	}
	protocol, _, _ := p.Transport()
	return protocol != packet.ProtocolUDP
}

// readUDP reads a datagram and checks what a receiver would.
func readUDP(b []byte) (src, dst netip.AddrPort, text string, err error) {
	var from, to netip.Addr
	var segment []byte
	if packet.Version(b) == 4 {
		p, err := packet.ParseIPv4(b)
		if err != nil {
			return src, dst, "", err
		}
		if !p.ChecksumOK() {
			return src, dst, "", fmt.Errorf("wrong header checksum")
		}
		from, to, segment = p.Src(), p.Dst(), p.Payload()
	} else {
		p, err := packet.ParseIPv6(b)
		if err != nil {
			return src, dst, "", err
		}
		from, to = p.Src(), p.Dst()
		_, segment, _ = p.Transport()
	}
	u, err := packet.ParseUDP(segment)
	if err != nil {
		return src, dst, "", err
	}
	if n := int(binary.BigEndian.Uint16(u[4:])); n != len(segment) {
		return src, dst, "", fmt.Errorf("UDP length %d of %d", n, len(segment))
	}
	if u.Checksum() == 0 || packet.PseudoChecksum(from, to, packet.ProtocolUDP, segment) != 0 {
		return src, dst, "", fmt.Errorf("wrong checksum %#04x", u.Checksum())
	}
	return netip.AddrPortFrom(from, u.SrcPort()), netip.AddrPortFrom(to, u.DstPort()), string(u.Payload()), nil
}

// checkTshark has a program that nobody here wrote count the datagrams whose checksums are right.
func checkTshark(t *testing.T, path string, packets int) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		netnstest.Require(t, "tshark")
	}
	out, err := exec.Command("tshark", "-r", path, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
		"-Y", "udp.checksum.status == 1 && (ipv6 || ip.checksum.status == 1) && frame.len <= 1100").Output()
	if n := bytes.Count(out, []byte("\n")); err != nil || n != packets {
		t.Errorf("tshark: %v, %d good datagrams of %d", err, n, packets)
	}
}
