package portmap_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	client "github.com/punchlab/punchlab/impl/portmap"
	"github.com/punchlab/punchlab/lab/portmap"
)

// wants is a mapping that the implementation's client asks for on a host of the site.
func (s *site) wants(host int, inner uint16) client.Config {
	ns := s.hosts[host]
	return client.Config{
		Gateway: gateway, Internal: netip.AddrPortFrom(s.addr(host), inner), Seen: external, Timeout: patience,
		ListenPacket: func(network, address string) (c net.PacketConn, err error) {
			err = ns.Do(func() error {
				c, err = net.ListenPacket(network, address)
				return err
			})
			return c, err
		},
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = ns.Do(func() error {
				c, err = new(net.Dialer).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}
}

func (s *site) mapped(host int, inner uint16, change func(*client.Config)) (*client.Mapping, error) {
	s.t.Helper()
	c := s.wants(host, inner)
	if change != nil {
		change(&c)
	}
	m, err := client.Map(s.t.Context(), c)
	if err == nil {
		s.t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// through sends from outside to an external endpoint, and says whether the host has it on its port.
func (s *site) through(host int, inner uint16, to netip.AddrPort, wait time.Duration) bool {
	s.t.Helper()
	in := open(s.t, s.hosts[host], netip.AddrPortFrom(s.addr(host), inner))
	defer in.Close()
	out := open(s.t, s.core, netip.AddrPortFrom(outside, 0))
	defer out.Close()
	_, err := out.WriteToUDPAddrPort([]byte("knock"), to)
	must(s.t, err)
	got, _ := receive(s.t, in, wait)
	return got == "knock"
}

// The implementation's client gets its port from every kind of router that has one to give, somebody outside gets in by
// it, and nobody does after Close.
func TestClientMapsPorts(t *testing.T) {
	s := newSite(t, "port-restricted-cone", 2)
	for _, c := range []struct {
		preset string
		by     client.Method
		other  bool // another port is granted
	}{
		{"upnp", client.UPnP, false},
		{"upnp-igd1", client.UPnP, false},
		{"nat-pmp", client.NATPMP, false},
		{"pcp", client.PCP, false},
		{"all", client.PCP, false},
		{"upnp-other-port", client.UPnP, true},
		{"nat-pmp-other-port", client.NATPMP, true},
		{"pcp-other-port", client.PCP, true},
		{"upnp-permanent", client.UPnP, false},
		{"short-lease", client.PCP, false},
	} {
		t.Run(c.preset, func(t *testing.T) {
			s.t = t
			config, _ := portmap.Lookup(c.preset)
			s.serve(config)
			started := time.Now()
			m, err := s.mapped(0, 5000, nil)
			must(t, err)
			took := time.Since(started)
			t.Logf("by %v in %v: %v", m.Method(), took.Round(time.Millisecond), m.External())
			e := m.External()
			late := took > 100*time.Millisecond // the other methods have their turn by then, maybe, and one of them is quicker
			if m.Method() != c.by && !(late && c.by == client.PCP) || e.Addr() != external || (e.Port() != 5000) != c.other {
				t.Errorf("mapped by %v to %v", m.Method(), e)
			}
			if !s.through(0, 5000, e, patience) {
				t.Error("nothing came in by the mapping")
			}
			must(t, m.Close())
			if maps, err := s.nat.PortMaps(); err != nil || len(maps) != 0 {
				t.Errorf("after Close: %v, %v", maps, err)
			}
		})
	}
}

// Routers that map nothing, or lie, are told apart.
func TestClientIsRefused(t *testing.T) {
	s := newSite(t, "port-restricted-cone", 1)
	for _, c := range []struct {
		preset string
		want   error
	}{
		{"none", client.ErrNoService},
		{"silent", client.ErrNoService},
		{"refused", client.ErrRefused},
		{"lying", client.ErrSecondNAT},
	} {
		t.Run(c.preset, func(t *testing.T) {
			s.t = t
			config, _ := portmap.Lookup(c.preset)
			s.serve(config)
			m, err := s.mapped(0, 5000, func(config *client.Config) {
				if c.want == client.ErrNoService { // which it knows when the time is over; all else it is told
					config.Timeout = 1200 * time.Millisecond
				}
			})
			if err == nil {
				t.Fatalf("mapped to %v", m.External())
			}
			t.Log(err)
			if !errors.Is(err, c.want) {
				t.Errorf("want %v", c.want)
			}
			if maps, err := s.nat.PortMaps(); err != nil || len(maps) != 0 {
				t.Errorf("left behind: %v, %v", maps, err)
			}
		})
	}
}

// A mapping comes back after the router has rebooted: at its announcement, and where there is none, when asked to check.
func TestClientNoticesReboots(t *testing.T) {
	s := newSite(t, "port-restricted-cone", 1)
	for _, preset := range []string{"all", "nat-pmp", "pcp", "upnp", "quiet-reboot"} {
		t.Run(preset, func(t *testing.T) {
			s.t = t
			config, _ := portmap.Lookup(preset)
			p := s.serve(config)
			m, err := s.mapped(0, 5000, nil)
			must(t, err)
			e := m.External()
			before := p.Counts()[portmap.Mapped]
			must(t, p.Reboot())
			if preset == "upnp" || preset == "quiet-reboot" {
				m.Check()
			}
			eventually(t, "the mapping", func() bool { return p.Counts()[portmap.Mapped] > before })
			if !s.through(0, 5000, e, patience) {
				t.Error("nothing came in by the mapping")
			}
			must(t, m.Close())
		})
	}
}
