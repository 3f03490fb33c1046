package lab

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/capture"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/nat"
)

// void takes what is delivered to a host that is not there.
type void struct{}

func (void) Deliver(*fabric.Packet) bool { return true }

// Replay builds the topology in the fabric alone, reset to the seed: the same routers, links and stations as Up has them, with
// nobody on the hosts. It is for capture.Verify, which plays the hosts' packets. All routers must be of engine table.
func (t *Topology) Replay(seed uint64) (*capture.Replay, error) {
	f := fabric.New(fabric.Config{})
	r := &capture.Replay{Fabric: f, Net: f.NewNet(seed), Inputs: map[string]capture.Sender{}}
	for _, p := range t.Public {
		u, err := r.Net.Attach(fabric.UplinkConfig{Name: p.Name, Routed: singles(p.Addrs), Profile: p.Profile, Output: void{}})
		if err != nil {
			return nil, fmt.Errorf("replay topology %s: host %s: %w", t.Name, p.Name, err)
		}
		r.Inputs["uplink "+p.Name] = u
	}
	routers := map[string]*fabric.Router{}
	for _, s := range outermostFirst(t) {
		k, err := s.replay(r, routers[s.Behind])
		if err != nil {
			return nil, fmt.Errorf("replay topology %s: site %s: %w", t.Name, s.Name, err)
		}
		routers[s.Name] = k
	}
	r.Net.Reset(seed)
	return r, nil
}

// replay builds the site's router and its hosts.
func (s *Site) replay(r *capture.Replay, behind *fabric.Router) (*fabric.Router, error) {
	if s.EngineOf("") != EngineTable {
		return nil, fmt.Errorf("its router is of engine %s: only engine %s can be replayed", s.EngineOf(""), EngineTable)
	}
	table, err := nat.NewTable(s.tableConfig(0))
	if err != nil {
		return nil, err
	}
	k, err := r.Net.AttachRouter(fabric.RouterConfig{
		Name: s.Name, Table: table, Gateway: s.Gateway(), Gateway6: s.Gateway6(), LAN: insides(s), WAN: toward(s, s.WAN),
		Profile: s.Profile, Behind: behind,
	})
	if err != nil {
		return nil, err
	}
	attach := func(name string, addrs []netip.Addr, self bool) error {
		st, err := k.Attach(fabric.StationConfig{Name: name, Addrs: lanPrefixes(s, addrs), Output: void{}, Self: self})
		if err == nil {
			r.Inputs["station "+name] = st
		}
		return err
	}
	for j := range s.Hosts {
		if err := attach(stationName(s.Name, s.Hosts[j].Name), s.Hosts[j].addrs(), false); err != nil {
			return nil, err
		}
	}
	if c, err := mappingConfig(s); err != nil || c.Enabled() {
		if err == nil {
			err = attach(stationName(s.Name, "router"), gateways(s), true)
		}
		return k, err
	}
	return k, nil
}

// Roles says who is who in a capture of the topology. The three roles are hosts' names; empty where there is none.
func (t *Topology) Roles(viewer, rendezvous, camera string) capture.Roles {
	var r capture.Roles
	roles := map[string]*string{viewer: &r.Viewer, rendezvous: &r.Rendezvous, camera: &r.Camera}
	add := func(host, name, behind string, addrs []netip.Addr) {
		if role := roles[host]; role != nil {
			*role = name
		}
		r.Hosts = append(r.Hosts, capture.Host{Name: name, Behind: behind, Addrs: addrs})
	}
	moves := map[string]bool{} // to a site where it has a standby interface
	for i := range t.Sites {
		for _, h := range t.Sites[i].Hosts {
			moves[h.Name] = moves[h.Name] || h.Standby
		}
	}
	for i := range t.Sites {
		s := &t.Sites[i]
		r.Routers = append(r.Routers, capture.Router{
			Name: s.Name, Behind: s.Behind, Addrs: s.wans(), LAN: slices.Concat(s.lans(), insides(s)), Behavior: s.realized(s.Behavior),
		})
		for j := range s.Hosts {
			h := &s.Hosts[j]
			name := stationName(s.Name, h.Name)
			if moves[h.Name] {
				name = h.Name
			}
			if h.Standby {
				r.Hosts = append(r.Hosts, capture.Host{Name: name, Behind: s.Name, Addrs: h.addrs()})
			} else {
				add(h.Name, name, s.Name, h.addrs())
			}
		}
	}
	for _, p := range t.Public {
		add(p.Name, p.Name, "", p.Addrs)
	}
	return r
}
