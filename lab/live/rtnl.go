package live

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// batch collects rtnetlink requests that go to the kernel in one system call; the kernel runs them in order. It is
// ten times as fast as one call, one socket and one parsed answer for each.
type batch struct {
	buf  []byte
	n    uint32
	what []string // what each request does, for its error; empty: an error does not matter
}

var ne = binary.NativeEndian

func (b *batch) begin(what string, typ, flags uint16) (at int) {
	at = len(b.buf)
	b.what = append(b.what, what)
	b.n++
	b.buf = append(b.buf, 0, 0, 0, 0)
	b.buf = ne.AppendUint16(b.buf, typ)
	b.buf = ne.AppendUint16(b.buf, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b.buf = ne.AppendUint32(b.buf, b.n)
	b.buf = append(b.buf, 0, 0, 0, 0)
	return at
}

func (b *batch) end(at int) { ne.PutUint32(b.buf[at:], uint32(len(b.buf)-at)) }

// open starts an attribute that close finishes; they nest.
func (b *batch) open(typ uint16) (at int) {
	at = len(b.buf)
	b.buf = append(b.buf, 0, 0)
	b.buf = ne.AppendUint16(b.buf, typ)
	return at
}

func (b *batch) close(at int) {
	ne.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *batch) attr(typ uint16, v []byte) {
	at := b.open(typ)
	b.buf = append(b.buf, v...)
	b.close(at)
}

func (b *batch) attr32(typ uint16, v uint32) { b.attr(typ, ne.AppendUint32(nil, v)) }

// linkMessage appends a struct ifinfomsg.
func (b *batch) linkMessage(index int, flags, change uint32) {
	b.buf = append(b.buf, 0, 0, 0, 0)
	b.buf = ne.AppendUint32(b.buf, uint32(index))
	b.buf = ne.AppendUint32(b.buf, flags)
	b.buf = ne.AppendUint32(b.buf, change)
}

// quiet stops the kernel from making an IPv6 link-local address on the link, and so from soliciting routers. It must
// come before up. A kernel without IPv6 refuses, and has nothing to be quieted.
func (b *batch) quiet(index int) {
	const addrGenModeNone = 1
	at := b.begin("", unix.RTM_NEWLINK, 0)
	b.linkMessage(index, 0, 0)
	spec := b.open(unix.IFLA_AF_SPEC)
	inet6 := b.open(unix.AF_INET6)
	b.attr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenModeNone})
	b.close(inet6)
	b.close(spec)
	b.end(at)
}

// up sets MTU and queue length (0 leaves them), stops neighbor resolution if noARP, and brings the link up.
func (b *batch) up(index, mtu, txqlen int, noARP bool) {
	flags := uint32(unix.IFF_UP)
	if noARP {
		flags |= unix.IFF_NOARP
	}
	at := b.begin("bring device up", unix.RTM_NEWLINK, 0)
	b.linkMessage(index, flags, flags)
	if mtu > 0 {
		b.attr32(unix.IFLA_MTU, uint32(mtu))
	}
	if txqlen > 0 {
		b.attr32(unix.IFLA_TXQLEN, uint32(txqlen))
	}
	b.end(at)
}

func (b *batch) remove(index int) {
	at := b.begin("remove device", unix.RTM_DELLINK, 0)
	b.linkMessage(index, 0, 0)
	b.end(at)
}

// addr adds an address. IPv6 ones skip duplicate address detection.
func (b *batch) addr(index int, p netip.Prefix) {
	at := b.begin("add address "+p.String(), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	flags := byte(0)
	if p.Addr().Is6() {
		flags = unix.IFA_F_NODAD
	}
	b.buf = append(b.buf, family(p.Addr()), byte(p.Bits()), flags, 0)
	b.buf = ne.AppendUint32(b.buf, uint32(index))
	b.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	b.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
	b.end(at)
}

// defaultRoute sends everything of the address's family to the device, through the address as a gateway or not. A
// gateway need not be on the device's subnet.
func (b *batch) defaultRoute(index int, a netip.Addr, gateway bool) {
	at := b.begin("add default route", unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	scope, flags := byte(unix.RT_SCOPE_LINK), uint32(0)
	if gateway {
		scope, flags = unix.RT_SCOPE_UNIVERSE, unix.RTNH_F_ONLINK
	}
	b.routeMessage(a, 0, scope, flags)
	b.attr32(unix.RTA_OIF, uint32(index))
	if gateway {
		b.attr(unix.RTA_GATEWAY, a.AsSlice())
	}
	b.end(at)
}

// route sends what is for the prefix straight to the device.
func (b *batch) route(index int, p netip.Prefix) {
	at := b.begin("add route to "+p.String(), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	b.prefixRoute(at, index, p)
}

// removeRoute undoes route, if the route is still there.
func (b *batch) removeRoute(index int, p netip.Prefix) {
	b.prefixRoute(b.begin("", unix.RTM_DELROUTE, 0), index, p)
}

func (b *batch) prefixRoute(at, index int, p netip.Prefix) {
	p = p.Masked()
	b.routeMessage(p.Addr(), p.Bits(), unix.RT_SCOPE_LINK, 0)
	b.attr(unix.RTA_DST, p.Addr().AsSlice())
	b.attr32(unix.RTA_OIF, uint32(index))
	b.end(at)
}

// routeMessage appends a struct rtmsg.
func (b *batch) routeMessage(a netip.Addr, bits int, scope byte, flags uint32) {
	b.buf = append(b.buf, family(a), byte(bits), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST)
	b.buf = ne.AppendUint32(b.buf, flags)
}

// veth makes a pair: name here, and peerName in the namespace of the descriptor ns.
func (b *batch) veth(name string, mac [6]byte, mtu int, peerName string, peerMAC [6]byte, ns int) {
	const infoPeer = 1 // VETH_INFO_PEER
	at := b.begin("make veth pair", unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b.linkMessage(0, 0, 0)
	b.attr(unix.IFLA_IFNAME, append([]byte(name), 0))
	b.attr(unix.IFLA_ADDRESS, mac[:])
	b.attr32(unix.IFLA_MTU, uint32(mtu))
	info := b.open(unix.IFLA_LINKINFO)
	b.attr(unix.IFLA_INFO_KIND, []byte("veth"))
	data := b.open(unix.IFLA_INFO_DATA)
	peer := b.open(infoPeer)
	b.linkMessage(0, 0, 0)
	b.attr(unix.IFLA_IFNAME, append([]byte(peerName), 0))
	b.attr(unix.IFLA_ADDRESS, peerMAC[:])
	b.attr32(unix.IFLA_NET_NS_FD, uint32(ns))
	b.close(peer)
	b.close(data)
	b.close(info)
	b.end(at)
}

// do sends the requests through the netlink socket and returns the first error that matters.
func (b *batch) do(socket int) error {
	if err := unix.Sendto(socket, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to rtnetlink: %w", err)
	}
	var first error
	buf := make([]byte, 8192)
	for acks := uint32(0); acks < b.n; {
		n, _, err := unix.Recvfrom(socket, buf, 0)
		if err != nil {
			return fmt.Errorf("receive from rtnetlink: %w", err)
		}
		for m := buf[:n]; len(m) >= unix.SizeofNlMsghdr+4; {
			size, seq := int(ne.Uint32(m)), ne.Uint32(m[8:])
			if ne.Uint16(m[4:]) == unix.NLMSG_ERROR {
				acks++
				e := unix.Errno(-int32(ne.Uint32(m[16:])))
				if e != 0 && first == nil && seq >= 1 && seq <= b.n && b.what[seq-1] != "" {
					first = fmt.Errorf("%s: %w", b.what[seq-1], e)
				}
			}
			m = m[min(len(m), (size+3)&^3):]
		}
	}
	return first
}

// openNetlink opens an rtnetlink socket in the calling thread's namespace.
func openNetlink() (int, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("open rtnetlink: %w", err)
	}
	return s, nil
}

// txDropped reads how many packets the device dropped that its namespace sent.
func txDropped(socket, index int) (uint64, error) {
	const (
		link64    = 1     // IFLA_STATS_LINK_64
		txDropped = 7 * 8 // in struct rtnl_link_stats64
	)
	var req [unix.SizeofNlMsghdr + 12]byte
	ne.PutUint32(req[0:], uint32(len(req)))
	ne.PutUint16(req[4:], unix.RTM_GETSTATS)
	ne.PutUint16(req[6:], unix.NLM_F_REQUEST)
	ne.PutUint32(req[20:], uint32(index))
	ne.PutUint32(req[24:], 1<<(link64-1))
	if err := unix.Sendto(socket, req[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask for device counts: %w", err)
	}
	var buf [1024]byte
	n, _, err := unix.Recvfrom(socket, buf[:], 0)
	if err != nil {
		return 0, fmt.Errorf("read device counts: %w", err)
	}
	m := buf[:n]
	if len(m) < unix.SizeofNlMsghdr+4 {
		return 0, fmt.Errorf("read device counts: %w", unix.EBADMSG)
	}
	if ne.Uint16(m[4:]) == unix.NLMSG_ERROR {
		return 0, fmt.Errorf("read device counts: %w", unix.Errno(-int32(ne.Uint32(m[16:]))))
	}
	const attr = unix.SizeofNlMsghdr + 12
	if len(m) < attr+4+txDropped+8 || ne.Uint16(m[attr+2:]) != link64 {
		return 0, fmt.Errorf("read device counts: %w", unix.EBADMSG)
	}
	return ne.Uint64(m[attr+4+txDropped:]), nil
}

// routePatience is how long the kernel may take to make a new IPv6 address its own.
const routePatience = 10 * time.Second

// awaitLocal waits until the namespace takes what is sent to its new IPv6 address: the kernel says that it has the
// address, but leaves the route to a worker, and what arrives before then is lost.
func awaitLocal(socket int, a netip.Addr) error {
	for deadline := time.Now().Add(routePatience); ; time.Sleep(20 * time.Microsecond) {
		typ, err := routeType(socket, a)
		if err != nil || typ == unix.RTN_LOCAL {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("address %v is not in use %v after it was added", a, routePatience)
		}
	}
}

// routeType looks up what the calling namespace does with a packet to the address; RTN_UNSPEC: it has no route.
func routeType(socket int, a netip.Addr) (byte, error) {
	var b batch
	at := b.begin("", unix.RTM_GETROUTE, 0)
	b.routeMessage(a, a.BitLen(), unix.RT_SCOPE_UNIVERSE, 0)
	b.attr(unix.RTA_DST, a.AsSlice())
	b.end(at)
	ne.PutUint16(b.buf[6:], unix.NLM_F_REQUEST) // the route itself is the answer
	if err := unix.Sendto(socket, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("look up route to %v: %w", a, err)
	}
	var buf [4096]byte
	n, _, err := unix.Recvfrom(socket, buf[:], 0)
	if err != nil {
		return 0, fmt.Errorf("look up route to %v: %w", a, err)
	}
	const typ = unix.SizeofNlMsghdr + 7 // of struct rtmsg
	if n <= typ || ne.Uint16(buf[4:]) != unix.RTM_NEWROUTE {
		return unix.RTN_UNSPEC, nil
	}
	return buf[typ], nil
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// indexOf finds a device of the calling thread's namespace; 0 if there is none of the name.
func indexOf(name string) (int, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("look up device: %w", err)
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("look up device %q: %w", name, err)
	}
	err = unix.IoctlIfreq(s, unix.SIOCGIFINDEX, ifr)
	if err == unix.ENODEV {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look up device %q: %w", name, err)
	}
	return int(ifr.Uint32()), nil
}
