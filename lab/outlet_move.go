package lab

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// moved is an interface that is in another namespace than its own.
type moved struct {
	home  *netns.NS
	name  string // there
	up    bool   // there
	mtu   int    // there
	alias bool   // its name there is an alternative one here

	away *netns.NS
	as   string // its name here
}

// moveIn moves an interface that carries nothing, down.
func moveIn(from *netns.NS, name string, to *netns.NS, as string) (m moved, err error) {
	link, err := from.Netlink().LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return m, fmt.Errorf("there is no interface %s: give one of %v", name, movable(from))
	}
	if err == nil {
		err = idle(from.Netlink(), link)
	}
	if err != nil {
		return m, err
	}
	a := link.Attrs()
	m = moved{home: from, name: a.Name, up: a.Flags&net.FlagUp != 0, mtu: a.MTU, away: to, as: as}
	if err := move(from, a.Index, to, as); err != nil {
		return m, explainMove(a.Name, err)
	}
	// If nobody is left to give it back, this is by what its owner finds it. Kernels before 5.5 have no such names.
	if link, err = to.Netlink().LinkByName(as); err == nil {
		m.alias = to.Netlink().LinkAddAltName(link, m.name) == nil
	}
	return m, nil
}

// explainMove says what to do about the kernel's refusals.
func explainMove(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("move interface %s: %w: run as root", name, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("move interface %s: %w: the kernel keeps some sorts (wireless, bridges, tunnels) where they are: give a wired one", name, err)
	}
	return fmt.Errorf("move interface %s: %w", name, err)
}

// movable are the names of the interfaces that idle allows.
func movable(ns *netns.NS) (names []string) {
	links, err := ns.Netlink().LinkList()
	if err != nil {
		return nil
	}
	for _, l := range links {
		if idle(ns.Netlink(), l) == nil {
			names = append(names, l.Attrs().Name)
		}
	}
	return names
}

// idle refuses an interface that the machine uses: to take it away would cut connections, perhaps the one by which the
// command was given.
func idle(h *netlink.Handle, link netlink.Link) error {
	a := link.Attrs()
	if a.Flags&net.FlagLoopback != 0 {
		return fmt.Errorf("interface %s is the loopback", a.Name)
	}
	if a.MasterIndex != 0 {
		return fmt.Errorf("interface %s is part of a bridge or bond: take it out first (ip link set %s nomaster)", a.Name, a.Name)
	}
	addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", a.Name, err)
	}
	i := slices.IndexFunc(addrs, func(a netlink.Addr) bool { return !a.IP.IsLinkLocalUnicast() })
	if i >= 0 {
		return fmt.Errorf("interface %s is in use: it has address %v: if it is the right one, take that off first (ip addr flush dev %s)",
			a.Name, addrs[i].IPNet, a.Name)
	}
	return nil
}

// move brings an interface of one namespace to another, under a name that is free there, in one request. It is down then.
func move(from *netns.NS, index int, to *netns.NS, name string) error {
	return from.Do(func() error {
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.FD()))))
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// back gives the interface back: its name, its MTU, and whether it was up.
func (m moved) back() error {
	h := m.away.Netlink()
	link, err := h.LinkByName(m.as)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return fmt.Errorf("interface %s is gone: it was unplugged, or its peer removed, while it was here", m.name)
	}
	if err != nil {
		return fmt.Errorf("give interface %s back: %w", m.name, err)
	}
	var errs []error
	if m.alias {
		errs = append(errs, h.LinkDelAltName(link, m.name))
	}
	if link.Attrs().MTU != m.mtu {
		errs = append(errs, h.LinkSetMTU(link, m.mtu))
	}
	name := m.name
	err = move(m.away, link.Attrs().Index, m.home, name)
	for n := 0; errors.Is(err, unix.EEXIST) && n < 100; n++ {
		name = fmt.Sprintf("plug%d", n)
		err = move(m.away, link.Attrs().Index, m.home, name)
	}
	if name != m.name {
		errs = append(errs, fmt.Errorf("another interface has its name by now, and it is called %s", name))
	}
	if err == nil && m.up {
		if link, err = m.home.Netlink().LinkByName(name); err == nil {
			err = m.home.Netlink().LinkSetUp(link)
		}
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("give interface %s back: %w", m.name, err)
	}
	return nil
}
