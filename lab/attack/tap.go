package attack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tapName is the device by which a tapped host's packets go, and the table that closes the others.
const tapName = "middle0"

// tap is what leads a host's packets through this program.
type tap struct {
	m    *lab.Machine
	tun  int // middle0: what the host sends is read, what it is to get written
	card int // packet socket: what comes to the host's card
	raw  int // sends by that card
	shut bool
}

// tapHost puts a tap before a host's card. On an error nothing is left.
func tapHost(m *lab.Machine) (t *tap, err error) {
	t = &tap{m: m, tun: -1, card: -1, raw: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	device, err := cardOf(m)
	if err != nil {
		return t, err
	}
	if t.raw, err = openRaw(m, device.Name); err != nil {
		return t, err
	}
	return t, m.Do(func() error {
		if t.card, err = sniff.Open(device.Index, false); err != nil {
			return err
		}
		if t.tun, err = openTUN(); err != nil {
			return err
		}
		if err := shut(device.Name, true); err != nil {
			return err
		}
		t.shut = true
		return divert(m.Addr(), device)
	})
}

// close takes the tap away: routes go with their device.
func (t *tap) close() error {
	var errs []error
	if t.shut { // first, as closing a TUN device takes tens of milliseconds, in which nothing would reach the host
		errs = append(errs, t.m.Do(func() error { return shut("", false) }))
	}
	for _, fd := range []int{t.tun, t.card, t.raw} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take a middle off host %s: %w", t.m.Name, err)
	}
	return nil
}

// cardOf finds the device that has the host's first address.
func cardOf(m *lab.Machine) (found net.Interface, err error) {
	err = m.Do(func() error {
		devices, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, d := range devices {
			addrs, err := d.Addrs()
			if err != nil {
				return err
			}
			for _, a := range addrs {
				if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == m.Addr() {
					found = d
					return nil
				}
			}
		}
		return fmt.Errorf("no device has its address %v", m.Addr())
	})
	return found, err
}

// openTUN makes the device, in the namespace of the calling thread. It goes with its descriptor.
func openTUN() (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun, without which nothing can stand in a host's path: %w", err)
	}
	ifr, err := unix.NewIfreq(tapName)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make device %s (is another middle on this host?): %w", tapName, err)
	}
	return fd, nil
}

// divert leads what the host sends to the TUN device: by routes that are more special than its own, which stay for what is
// bound to the card.
func divert(source netip.Addr, card net.Interface) error {
	nl, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer nl.Close()
	dev, err := nl.LinkByName(tapName)
	if err != nil {
		return err
	}
	if err := errors.Join(nl.LinkSetMTU(dev, card.MTU), nl.LinkSetTxQLen(dev, 1000), nl.LinkSetUp(dev)); err != nil {
		return fmt.Errorf("set up device %s: %w", tapName, err)
	}
	for _, to := range moreSpecial(card) {
		r := &netlink.Route{LinkIndex: dev.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: to, Src: source.AsSlice()}
		if err := nl.RouteAdd(r); err != nil {
			return fmt.Errorf("route %v by %s: %w", to, tapName, err)
		}
	}
	return nil
}

// undivert leads what the host sends to its own card again.
func (t *tap) undivert() error {
	return t.m.Do(func() error {
		nl, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer nl.Close()
		dev, err := nl.LinkByName(tapName)
		if err != nil {
			return err
		}
		routes, err := nl.RouteList(dev, netlink.FAMILY_V4)
		if err != nil {
			return fmt.Errorf("list routes by %s: %w", tapName, err)
		}
		for _, r := range routes {
			if err := nl.RouteDel(&r); err != nil {
				return fmt.Errorf("remove route %v by %s: %w", r.Dst, tapName, err)
			}
		}
		return nil
	})
}

// moreSpecial lists the halves of everything, and of each network on the card's link.
func moreSpecial(card net.Interface) (halves []*net.IPNet) {
	wholes := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	addrs, _ := card.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Bits() < 31 {
			wholes = append(wholes, p.Masked())
		}
	}
	for _, w := range wholes {
		low := w.Addr().As4()
		high := low
		high[w.Bits()/8] |= 0x80 >> (w.Bits() % 8)
		mask := net.CIDRMask(w.Bits()+1, 32)
		halves = append(halves, &net.IPNet{IP: low[:], Mask: mask}, &net.IPNet{IP: high[:], Mask: mask})
	}
	return halves
}

// shut has the kernel drop what comes by the card, behind the packet socket, or ends that. It works in the namespace of the
// calling thread.
func shut(card string, on bool) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Name: tapName, Family: nftables.TableFamilyIPv4}
	conn.AddTable(t) // so that the deletion finds one
	conn.DelTable(t)
	if on {
		first := nftables.ChainPriority(-460)
		conn.AddTable(t)
		chain := conn.AddChain(&nftables.Chain{
			Table: t, Name: "in", Hooknum: nftables.ChainHookPrerouting, Priority: &first, Type: nftables.ChainTypeFilter,
		})
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, card)
		conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("load nftables: %w", err)
	}
	return nil
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
