package live

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/punchlab/punchlab/lab/netns"
)

// member is what a net consists of: an uplink, router or station, with or without a device.
type member struct {
	name  string
	net   *Net
	id    uint32  // of it in the fabric process
	dev   *device // nil: none
	place place
}

func (n *Net) newMember(name string) member {
	return member{name: name, net: n, id: n.fab.ids.Add(1)}
}

// Name is the member's name.
func (m *member) Name() string { return m.name }

func checkAddrs(addrs []netip.Prefix) error {
	for _, p := range addrs {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("address %v is not one of IPv4 or IPv6 with its prefix length", p)
		}
	}
	return nil
}

// makeDevice makes the member's device.
func (m *member) makeDevice(ns *netns.NS, c deviceConfig) error {
	var err error
	if m.place, err = m.net.fab.claim(ns, c.name); err != nil {
		return err
	}
	m.dev, err = m.net.newDevice(m.id, ns, c)
	if err != nil {
		m.dev = nil
		m.net.fab.unclaim(m.place)
		return explainDevice(err)
	}
	return nil
}

// abandon removes the device of a member that could not be added.
func (m *member) abandon() {
	if m.dev != nil {
		m.dev.abandon()
		m.net.fab.unclaim(m.place)
	}
}

// add enters a member, whose device the fabric process has by now, into the net.
func (n *Net) add(m *member) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fmt.Errorf("net is %w", ErrClosed)
	}
	n.members[m.id] = m
	return nil
}

// call asks the fabric process for something about the member.
func (m *member) call(o op, body func(*encoder)) ([]byte, error) {
	return m.net.fab.client.call(o, m.net.id, m.id, body, -1)
}

// close detaches the member and removes its device.
func (m *member) close() error {
	n := m.net
	n.mu.Lock()
	_, open := n.members[m.id]
	delete(n.members, m.id)
	n.mu.Unlock()
	if !open {
		return nil
	}
	_, err := m.call(opDetach, nil)
	if errors.Is(err, ErrFabricEnded) {
		err = nil
	}
	return errors.Join(err, m.release(true))
}

// release lets go of the device, and removes it from its namespace if told so.
func (m *member) release(remove bool) error {
	if m.dev == nil {
		return nil
	}
	err := m.dev.close(remove)
	m.net.fab.unclaim(m.place)
	return err
}
