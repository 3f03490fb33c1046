package agree_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/agree"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

var liveEngine = engine{
	name: "live", supports: func(nat.Behavior) error { return nil },
	start: func(s setup) (router, error) {
		r := &liveRouter{}
		if err := r.start(s); err != nil {
			return nil, errors.Join(fmt.Errorf("start live router: %w", err), r.close())
		}
		return r, nil
	},
}

// liveRouter is a table in the fabric process. A namespace stands for all hosts inside and one for all outside; nothing
// in them has an address, so that only the test answers.
//
//	inside: eth0 ── live router ── core ── outside: wan0
type liveRouter struct {
	fabric          *live.Fabric
	net             *live.Net
	spaces          []*netns.NS
	inside, outside *tap
	table           *live.Router
	wan             []netip.Prefix // besides the external addresses
}

// others are where scripts send to. The core routes private addresses nowhere.
var others = []netip.Prefix{
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:5::/48"), netip.MustParsePrefix("2001:db8:9::/48"),
}

func (r *liveRouter) start(s setup) (err error) {
	if r.fabric, err = live.Start(live.Options{}); err != nil {
		return err
	}
	if r.net, err = r.fabric.NewNet(s.seed); err != nil {
		return err
	}
	for range 2 {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		r.spaces = append(r.spaces, ns)
	}
	c := live.RouterConfig{Name: "router", NAT: s.tableConfig(), LAN: []netip.Prefix{lan, s.lan6}}
	switch {
	case s.b.Kind == nat.NoNAT:
		r.wan = append(r.wan, lan)
	case s.b.IPv6 == nat.NPTv6:
		r.wan = append(r.wan, s.external6)
	}
	if s.b.IPv6 != nat.NPTv6 {
		r.wan = append(r.wan, s.lan6)
	}
	c.WAN = r.routed(s.external)
	if r.table, err = r.net.AttachRouter(c); err != nil {
		return err
	}
	if _, err = r.table.Attach(live.StationConfig{Name: "hosts", NS: r.spaces[nat.Inside], Device: "eth0", Routed: c.LAN}); err != nil {
		return err
	}
	if _, err = r.net.Attach(live.UplinkConfig{Name: "others", NS: r.spaces[nat.Outside], Device: "wan0", Routed: others}); err != nil {
		return err
	}
	if r.inside, err = openTap(r.spaces[nat.Inside], "eth0"); err != nil {
		return err
	}
	r.outside, err = openTap(r.spaces[nat.Outside], "wan0")
	return err
}

func (r *liveRouter) routed(external []netip.Addr) []netip.Prefix {
	all := append([]netip.Prefix(nil), r.wan...)
	for _, a := range external {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return all
}

func (r *liveRouter) send(from nat.Side, b []byte, expect int) ([]sent, nat.Reason, error) {
	device := r.inside
	if from == nat.Outside {
		device = r.outside
	}
	if err := device.send(b); err != nil {
		return nil, nat.Passed, err
	}
	all, err := collect(r.inside, r.outside, expect)
	return all, nat.NoMapping, err
}

func (r *liveRouter) advance(d time.Duration) ([]sent, error) {
	<-time.After(d)
	return collect(r.inside, r.outside, 0)
}

func (r *liveRouter) mapPort(m nat.PortMap) (netip.AddrPort, error) { return r.table.Map(m) }
func (r *liveRouter) unmapPort(m nat.PortMap) error                 { return r.table.Unmap(m) }
func (r *liveRouter) portMaps() ([]nat.PortMap, error)              { return r.table.PortMaps() }
func (r *liveRouter) reset(seed uint64) error                       { return r.table.Reset(seed) }
func (r *liveRouter) apply(b nat.Behavior, seed uint64) error       { return r.table.Apply(b, seed) }
func (r *liveRouter) setExternal(addrs []netip.Addr) error {
	return r.table.SetExternal(addrs, r.routed(addrs))
}

func (r *liveRouter) close() error {
	var errs []error
	for _, t := range []*tap{r.inside, r.outside} {
		if t != nil {
			errs = append(errs, unix.Close(t.fd))
		}
	}
	if r.net != nil {
		errs = append(errs, r.net.Close())
	}
	if r.fabric != nil {
		errs = append(errs, r.fabric.Close())
	}
	for _, ns := range r.spaces {
		errs = append(errs, ns.Close())
	}
	return errors.Join(errs...)
}

// tap sends and receives whole packets on a namespace's device.
type tap struct {
	fd, device int
	buf        []byte
}

func openTap(ns *netns.NS, device string) (*tap, error) {
	link, err := ns.Netlink().LinkByName(device)
	if err != nil {
		return nil, err
	}
	t := &tap{fd: -1, device: link.Attrs().Index, buf: make([]byte, 1<<16)}
	err = ns.Do(func() (err error) {
		t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: t.device})
	})
	return t, err
}

func networkOrder(p uint16) uint16 { return p<<8 | p>>8 }

func (t *tap) send(b []byte) error {
	proto := uint16(unix.ETH_P_IP)
	if b[0]>>4 == 6 {
		proto = unix.ETH_P_IPV6
	}
	return unix.Sendto(t.fd, b, 0, &unix.SockaddrLinklayer{Protocol: networkOrder(proto), Ifindex: t.device})
}

// Receive returns the next packet that comes to the namespace, or nil.
func (t *tap) Receive(wait time.Duration) ([]byte, error) {
	for end := time.Now().Add(wait); ; {
		n, from, err := unix.Recvfrom(t.fd, t.buf, 0)
		switch {
		case err == nil:
			if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING && !agree.Chatter(t.buf[:n]) {
				return append([]byte(nil), t.buf[:n]...), nil
			}
			continue
		case err != unix.EAGAIN && err != unix.EINTR:
			return nil, err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, nil
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return nil, err
		}
	}
}
