package device

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/impl/node"
)

// Host is this host's network.
func Host() Network {
	return Network{
		Addrs: GlobalAddrs(), Gateway: gateway(),
		ListenUDP: func(at netip.AddrPort) (*net.UDPConn, error) {
			if !at.Addr().IsValid() {
				return net.ListenUDP("udp", &net.UDPAddr{Port: int(at.Port())})
			}
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		},
		ListenTCP: node.ListenTCP, DialTCP: node.DialTCP,
		ListenPacket: net.ListenPacket, DialContext: (&net.Dialer{}).DialContext,
	}
}

// GlobalAddrs lists this host's addresses that others may reach, IPv4 first.
func GlobalAddrs() (addrs []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			addrs = append(addrs, p.Addr())
		}
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		switch {
		case a.Is4() == b.Is4():
			return 0
		case a.Is4():
			return -1
		}
		return 1
	})
	return addrs
}

// gateway is where this host's IPv4 default route leads; zero: there is none.
func gateway() netip.Addr {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return netip.Addr{}
	}
	defer f.Close()
	return defaultRoute(f)
}

// defaultRoute reads /proc/net/route: interface, destination, gateway, …; addresses are hexadecimal in the host's order.
func defaultRoute(r io.Reader) netip.Addr {
	for s := bufio.NewScanner(r); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 3 || f[1] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(f[2])
		if err != nil || len(b) != 4 {
			continue
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
		if at := netip.AddrFrom4(a); !at.IsUnspecified() {
			return at
		}
	}
	return netip.Addr{}
}
