package lab

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/capture"
)

// absent lives on a host whose packets are played.
type absent struct{ void }

func (absent) Plug(*Port)       {}
func (absent) Kill(bool) error  { return nil }
func (absent) Sleep(bool) error { return nil }

// Replay builds the topology in the fabric alone, reset to the seed, with nobody on the hosts. It is for capture.Verify, which plays
// the hosts' packets. All routers must be of engine table.
func (t *Topology) Replay(seed uint64) (*capture.Replay, error) {
	for i := range t.Sites {
		if s := &t.Sites[i]; s.EngineOf("") != EngineTable {
			return nil, fmt.Errorf("replay topology %s: site %s: its router is of engine %s: only engine %s can be replayed",
				t.Name, s.Name, s.EngineOf(""), EngineTable)
		}
	}
	m, err := t.Model(seed, func(string) Resident { return absent{} })
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	r := &capture.Replay{Fabric: m.Fabric, Net: m.Net, Inputs: map[string]capture.Sender{}}
	for _, p := range m.Ports() {
		r.Inputs[p.Name] = p
		if p.station != nil {
			p.station.SetDown(false) // what a host sent from where it had moved to is played too
		}
	}
	for _, k := range m.routers {
		if k.servers != nil {
			r.Inputs["station "+k.servers.Name()] = k.servers
		}
	}
	return r, nil
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
