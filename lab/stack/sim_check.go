package stack

import (
	"fmt"
	"strconv"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
)

// CheckSim says why engine sim cannot have a trial, and which engine can. The error is a *lab.Problem.
func CheckSim(s System, t *lab.Topology, tr Trial, events []lab.Event) error {
	if _, ok := s.(Simulator); !ok {
		return cannot(fmt.Sprintf("system %s (strategy %s) is programs on real sockets", s.Name(), tr.Strategy))
	}
	for _, check := range []func() string{
		func() string { return checkSimStrategy(t, tr.Strategy) },
		func() string { return checkSimTopology(t) },
		func() string { return checkSimOptions(t, tr.Options) },
		func() string { return checkSimEvents(t, events) },
	} {
		if why := check(); why != "" {
			return cannot(why)
		}
	}
	return nil
}

// cannot is the problem of a trial that engine sim cannot have.
func cannot(why string) error {
	return &lab.Problem{Msg: "engine sim cannot have this trial: " + why + "; run it on engine netfilter or table"}
}

func checkSimStrategy(t *lab.Topology, strategy string) string {
	p, err := punch.Lookup(strategy)
	switch {
	case err != nil:
		return err.Error()
	case p.Forward:
		return fmt.Sprintf("strategy %s needs TCP, by which a camera tells a provider of dynamic names where it is", p.Name)
	case p.Uplink == punch.UplinkTCP || p.Uplink == punch.UplinkTLS:
		return fmt.Sprintf("strategy %s needs TCP", p.Name)
	case p.Methods&punch.MethodTURN != 0:
		return fmt.Sprintf("strategy %s needs a TURN server, which is a program of its own", p.Name)
	}
	if device.Maps(p) {
		for _, host := range []string{"camera", "viewer"} {
			if s := t.SiteOf(host); s != nil && s.PortMap != "" {
				return fmt.Sprintf("strategy %s asks site %s's router for port mappings, and its servers (portmap: %s) need sockets", p.Name, s.Name, s.PortMap)
			}
		}
	}
	return ""
}

// checkSimTopology looks for what needs streams: where UDP does not pass, devices fall back on TLS.
func checkSimTopology(t *lab.Topology) string {
	if hosts := rendezvousHosts(t); len(hosts) > 1 {
		return fmt.Sprintf("%d rendezvous nodes meet over NATS, which needs TCP", len(hosts))
	}
	for _, host := range []string{"camera", "viewer"} {
		addrs := t.AddrsFrom(host, "rendezvous")
		if len(addrs) == 0 {
			return fmt.Sprintf("host %s has no family in common with rendezvous", host)
		}
		path := t.NATs(host)
		if addrs[0].Is6() && t.SiteOf(host) != nil && len(t.NATs6(host)) > 0 {
			path = t.NATs6(host)
		}
		if nat.Promise(path).NoUDP {
			return fmt.Sprintf("host %s is where UDP does not pass, and needs TLS", host)
		}
	}
	return ""
}

// maxSimFleet is how many cameras a fleet has at most: each costs half a millisecond of handshake, in every trial.
const maxSimFleet = 1000

func checkSimOptions(t *lab.Topology, options map[string]string) string {
	for _, name := range []string{optScan, optLost} {
		if v := options[name]; v != "" {
			return fmt.Sprintf("it has no trial.%s (%s)", name, v)
		}
	}
	switch n, _ := strconv.Atoi(options[optFleet]); {
	case n > maxSimFleet:
		return fmt.Sprintf("it registers a fleet in every trial, and %d cameras are more than the %d that are cheap", n, maxSimFleet)
	case n > 0 && t.HostAddr(fleetHost) == nil:
		return fmt.Sprintf("topology %s has no host %q, which trial.fleet needs", t.Name, fleetHost)
	}
	return ""
}

func checkSimEvents(t *lab.Topology, events []lab.Event) string {
	for i, e := range events {
		if e.Do != lab.DoNAT {
			continue
		}
		if b, err := t.SwitchNAT(e.Site, e.NAT); err == nil && nat.Promise([]nat.Behavior{b}).NoUDP {
			return fmt.Sprintf("after event %d (%s) UDP does not pass, and devices need TLS", i+1, e)
		}
	}
	return ""
}
