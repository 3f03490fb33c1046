package portmap

import (
	"net/netip"
	"time"
)

// The actions that tell about the connection. The lab's WAN side is always up; what it lacks may be an address.

func (c *Core) getExternalIPAddress(time.Duration, netip.Addr, arguments) ([]string, error) {
	if !c.connected() {
		return nil, errActionFailed
	}
	return []string{c.told().String()}, nil
}

func (c *Core) getStatusInfo(now time.Duration, _ netip.Addr, _ arguments) ([]string, error) {
	status := "Connected"
	if !c.connected() {
		status = "Disconnected"
	}
	return []string{status, "ERROR_NONE", c.uptime(now)}, nil
}

func (c *Core) getConnectionTypeInfo(time.Duration, netip.Addr, arguments) ([]string, error) {
	return []string{"IP_Routed", "IP_Routed"}, nil
}

func (c *Core) getNATRSIPStatus(time.Duration, netip.Addr, arguments) ([]string, error) {
	return []string{"0", "1"}, nil
}

func (c *Core) requestConnection(time.Duration, netip.Addr, arguments) ([]string, error) {
	if !c.connected() {
		return nil, errActionFailed
	}
	return nil, nil
}

// refuseAction is for what a host may not do to the router of others.
func (c *Core) refuseAction(time.Duration, netip.Addr, arguments) ([]string, error) {
	return nil, errNotAuthorized
}

// getCommonLinkProperties tells no rate of the link: 0 is what routers say that do not know it.
func (c *Core) getCommonLinkProperties(time.Duration, netip.Addr, arguments) ([]string, error) {
	return []string{"Ethernet", "0", "0", "Up"}, nil
}
