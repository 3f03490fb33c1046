package lab_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
)

// homes are two homes and a public host, each router of the engine.
func homes(t *testing.T, engine, a, b string) *lab.Topology {
	t.Helper()
	topo := meet(t, lab.Site{NAT: a}, lab.Site{NAT: b})
	topo.UseEngine(engine)
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// reflexive dials from a port and returns the connection with where the other end saw it come from.
func reflexive(t *testing.T, from *lab.Machine, port uint16, server *net.TCPListener) (net.Conn, netip.AddrPort) {
	t.Helper()
	conn, err := from.DialTCP(soon(t), netip.AddrPortFrom(from.Addr(), port), endpoint(server.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return conn, endpoint(accepted.RemoteAddr())
}

func endpoint(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// Two hosts behind filters that let nobody in open one connection from both ends, from the ports on which they listen and
// from which they talk to a server (RFC 5382 REQ-2).
func TestTCPSimultaneousOpen(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, homes(t, engine, "port-restricted-cone", "linux"))
			public := l.Host("p")
			server, err := public.ListenTCP(netip.AddrPortFrom(public.Addr(), 7000))
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			const port = 5000
			var seen [2]netip.AddrPort
			hosts := [2]*lab.Machine{l.Host("camera"), l.Host("viewer")}
			for i, h := range hosts {
				listener, err := h.ListenTCP(netip.AddrPortFrom(h.Addr(), port))
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				_, seen[i] = reflexive(t, h, port, server)
			}
			type end struct {
				conn net.Conn
				err  error
			}
			ends := [2]chan end{make(chan end, 1), make(chan end, 1)}
			for i, h := range hosts {
				go func() {
					conn, err := h.DialTCP(soon(t), netip.AddrPortFrom(h.Addr(), port), seen[1-i])
					ends[i] <- end{conn, err}
				}()
			}
			var conns [2]net.Conn
			for i := range ends {
				e := <-ends[i]
				if e.err != nil {
					t.Fatal(e.err)
				}
				defer e.conn.Close()
				conns[i] = e.conn
			}
			if _, err := conns[0].Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 5)
			if _, err := io.ReadFull(conns[1], b); err != nil || string(b) != "hello" {
				t.Fatalf("the other end reads %q, %v", b, err)
			}
		})
	}
}

// A dial ends with its context, however long the kernel would try.
func TestDialTCPHonoursItsContext(t *testing.T) {
	l := up(t, startFabric(t), homes(t, lab.EngineTable, "linux", "linux"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	nobody := netip.AddrPortFrom(l.Topology().Site("b").WAN[0], 9)
	conn, err := l.Host("camera").DialTCP(ctx, netip.AddrPort{}, nobody)
	if err == nil {
		conn.Close()
		t.Fatal("a connection to nobody")
	}
	// The kernel tries for two minutes.
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) || took > patience {
		t.Errorf("after %v: %v, want the context's end", took, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestGateway(t *testing.T) {
	l := up(t, startFabric(t), homes(t, lab.EngineTable, "linux", "linux"))
	if got, want := l.Host("camera").Gateway(), l.Topology().Site("a").Gateway(); got != want {
		t.Errorf("the camera's gateway is %v, want %v", got, want)
	}
	if got := l.Host("p").Gateway(); got.IsValid() {
		t.Errorf("a public host's gateway is %v", got)
	}
}

// What a router's servers announce to a group reaches who has joined it.
func TestListenPacketJoinsGroups(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			topo := meet(t, lab.Site{NAT: "linux", PortMap: "pcp"}, lab.Site{NAT: "linux"})
			topo.UseEngine(engine)
			l := up(t, f, topo)
			c, err := l.Host("camera").ListenPacket("udp4", "224.0.0.1:5350") // RFC 6887 §14.1
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := l.Do(lab.Event{Do: lab.DoReboot, Site: "a"}); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1500)
			if _, _, err := c.ReadFrom(b); err != nil {
				t.Errorf("no announcement: %v", err)
			}
		})
	}
}

// A forwarded port leads in by UDP and TCP whatever the router filters, through events that make it forget, until a Reset.
func TestForward(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		for _, preset := range []string{"port-restricted-cone", "symmetric", "linux", "firewall"} {
			t.Run(engine+"/"+preset, func(t *testing.T) {
				l := up(t, f, homes(t, engine, preset, "symmetric"))
				const port = 8443
				ext, err := l.Forward("camera", port)
				if err != nil {
					t.Fatal(err)
				}
				if again, err := l.Forward("camera", port); err != nil || again != ext {
					t.Errorf("forwarding again gives %v, %v; want %v", again, err, ext)
				}
				if want := outside(l, "a"); ext != netip.AddrPortFrom(want, port) {
					t.Fatalf("the external endpoint is %v, want port %d of %v", ext, port, want)
				}
				leadsIn(t, l, ext, true)
				if _, err := l.Do(lab.Event{Do: lab.DoReboot, Site: "a"}); err != nil {
					t.Fatal(err)
				}
				leadsIn(t, l, ext, true)
				if err := l.Reset(2); err != nil {
					t.Fatal(err)
				}
				leadsIn(t, l, ext, false)
			})
		}
	}
}

// outside is the address by which a site's host is reached from outside.
func outside(l *lab.Lab, site string) netip.Addr {
	s := l.Topology().Site(site)
	if s.Public() {
		return s.Hosts[0].Addr
	}
	return s.WAN[0]
}

// leadsIn tells whether the viewer reaches the camera at an endpoint, by UDP and by TCP.
func leadsIn(t *testing.T, l *lab.Lab, ext netip.AddrPort, want bool) {
	t.Helper()
	camera, viewer := l.Host("camera"), l.Host("viewer")
	listener, err := camera.ListenTCP(netip.AddrPortFrom(camera.Addr(), ext.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	in, err := camera.ListenUDP(netip.AddrPortFrom(camera.Addr(), ext.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := viewer.ListenUDP(netip.AddrPortFrom(viewer.Addr(), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.WriteToUDPAddrPort([]byte("hello"), ext); err != nil {
		t.Fatal(err)
	}
	within := patience
	if !want {
		within = 200 * time.Millisecond
	}
	if err := in.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.ReadFromUDPAddrPort(make([]byte, 9)); (err == nil) != want {
		t.Errorf("a datagram to %v: %v, want it to arrive: %v", ext, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	conn, err := viewer.DialTCP(ctx, netip.AddrPort{}, ext)
	if (err == nil) != want {
		t.Errorf("a connection to %v: %v, want one: %v", ext, err, want)
	}
	if conn != nil {
		conn.Close()
	}
}

func TestForwardFollowsTheAddress(t *testing.T) {
	l := up(t, startFabric(t), homes(t, lab.EngineTable, "port-restricted-cone", "linux"))
	if _, err := l.Forward("camera", 8443); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Do(lab.Event{Do: lab.DoReaddress, Site: "a"}); err != nil {
		t.Fatal(err)
	}
	leadsIn(t, l, netip.AddrPortFrom(l.Topology().FreeWAN("a", 1)[0], 8443), true)
}

func TestForwardRefuses(t *testing.T) {
	topo := meet(t, lab.Site{NAT: "linux"}, lab.Site{NAT: "symmetric", NoIPv4: true, IPv6: "firewall"})
	topo.Sites[0].Hosts = append(topo.Sites[0].Hosts, lab.Host{Name: "nas"})
	topo.UseEngine(lab.EngineTable)
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	l := up(t, startFabric(t), topo)
	if _, err := l.Forward("nas", 443); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host string
		port uint16
		want error
	}{{"p", 443, lab.ErrNoRouter}, {"viewer", 443, lab.ErrNoRouter}, {"camera", 443, nat.ErrPortTaken}} {
		if _, err := l.Forward(test.host, test.port); !errors.Is(err, test.want) {
			t.Errorf("forward %d to %s: %v, want %v", test.port, test.host, err, test.want)
		}
	}
	for host, port := range map[string]uint16{"camera": 0, "camra": 443} {
		if _, err := l.Forward(host, port); err == nil {
			t.Errorf("forward %d to %s succeeds", port, host)
		}
	}
}
