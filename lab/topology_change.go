package lab

import (
	"errors"
	"net/netip"

	"github.com/punchlab/punchlab/lab/nat"
)

// SwitchNAT returns the behaviour that a site's router has with another preset: the preset, the site's Override and its IPv6.
// The error is Problems.
func (t *Topology) SwitchNAT(site, preset string) (nat.Behavior, error) {
	c := t.Clone()
	s := c.Site(site)
	if s == nil {
		return nat.Behavior{}, Problems{Unknown("", "site", site, t.siteNames())}
	}
	s.NAT = preset
	var ps Problems
	lookupNAT("", preset, &ps)
	if len(ps) == 0 {
		c.resolveNAT(c.index(s), s, &ps)
	}
	return s.Behavior, ps.Err()
}

// FreeWAN returns n IPv4 addresses at most that the plan has left for the WAN side of a site's router: what the provider gives
// it when it is readdressed. They are always the same ones, and none is in use.
func (t *Topology) FreeWAN(site string, n int) (free []netip.Addr) {
	s := t.Site(site)
	if s == nil || len(s.WAN) == 0 || t.stranded(s) {
		return nil
	}
	if s.Behind != "" {
		return t.freeOnLAN(t.Site(s.Behind), n)
	}
	block, ok := t.block(s)
	taken := t.given()
	for i := 1; ok && i < blockSize/2 && len(free) < n; i++ {
		if a := offset(block, i); !taken[a] {
			free = append(free, a)
		}
	}
	return free
}

// OtherWAN returns the IPv4 addresses that a site's router gets when it is readdressed, as many as it has now.
func (t *Topology) OtherWAN(site string) []netip.Addr {
	s := t.Site(site)
	if s == nil {
		return nil
	}
	return t.otherWAN(s)
}

// freeOnLAN counts down from the LAN's last address, so that hosts added later keep theirs.
func (t *Topology) freeOnLAN(s *Site, n int) (free []netip.Addr) {
	taken := map[netip.Addr]bool{s.Gateway(): true}
	for _, h := range s.Hosts {
		taken[h.Addr] = true
	}
	for _, c := range t.children(s) {
		for _, a := range c.WAN {
			taken[a] = true
		}
	}
	for a := broadcast(s.LAN).Prev(); len(free) < n && usable(s.LAN, a); a = a.Prev() {
		if !taken[a] && !t.inSubnet(s, a) {
			free = append(free, a)
		}
	}
	return free
}

func (t *Topology) inSubnet(s *Site, a netip.Addr) bool {
	for _, sub := range t.Subnets(s.Name) {
		if sub.Prefix.Contains(a) {
			return true
		}
	}
	return false
}

// asProblems takes an error apart that is a *Problem or Problems.
func asProblems(err error) Problems {
	var many Problems
	var one *Problem
	switch {
	case errors.As(err, &many):
		return many
	case errors.As(err, &one):
		return Problems{one}
	case err != nil:
		return Problems{{Msg: err.Error()}}
	}
	return nil
}
