package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab/probe"
	"github.com/spf13/cobra"
)

func rendezvousCommand() *cobra.Command {
	var key, listen string
	var printKey, stun, asJSON bool
	var tlsPort uint16
	c := &cobra.Command{
		Use:   "rendezvous",
		Short: "Run the rendezvous server",
		Long: `Introduce viewers to cameras, and relay where no direct path exists. It listens by UDP on its port and the next one, by TCP
on its port, and by TLS on --tls, for networks that let nothing else out. With two addresses on this host devices learn how
their NATs behave; it then also answers RFC 5780 on ports 3478 and 3479, so that 'punchlab classify' and any STUN client can
classify a NAT by it.`,
		Example: `  punchlab rendezvous --print-key
  punchlab rendezvous --listen 192.0.2.1:4479 --key /etc/punchlab/rendezvous.key
  punchlab rendezvous --tls 0     # no TLS: port 443 is somebody else's`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := loadKey(key)
			if err != nil {
				return err
			}
			if printKey {
				fmt.Println(k.Public())
				return nil
			}
			at, err := resolve(listen, rendezvousPort)
			if err != nil {
				return usage(err)
			}
			return serveRendezvous(cmd.Context(), k, at, tlsPort, stun, logger(asJSON))
		},
	}
	c.Flags().StringVar(&key, "key", keyFile("rendezvous"), "`file` of the server's key; made if missing")
	c.Flags().StringVar(&listen, "listen", fmt.Sprintf("0.0.0.0:%d", rendezvousPort), "address and port to listen on")
	c.Flags().Uint16Var(&tlsPort, "tls", rendezvousTLS, "port to listen on by TLS; 0: none")
	c.Flags().BoolVar(&printKey, "print-key", false, "print the public key, which cameras need, and exit")
	c.Flags().BoolVar(&asJSON, "json", false, "log as lines of JSON")
	c.Flags().BoolVar(&stun, "stun", true, "answer RFC 5780 too, where this host has two addresses")
	return c
}

func serveRendezvous(ctx context.Context, k identity.Key, at netip.AddrPort, tlsPort uint16, stun bool, log *slog.Logger) error {
	addrs := []netip.Addr{at.Addr()}
	if at.Addr().IsUnspecified() {
		addrs = device.GlobalAddrs()
	}
	if len(addrs) == 0 {
		addrs = []netip.Addr{at.Addr()}
	}
	cfg := rendezvous.Config{Static: k, Rand: rand.Reader}
	ports := [2]uint16{at.Port(), at.Port() + 1}
	v4 := slices.DeleteFunc(slices.Clone(addrs), netip.Addr.Is6)
	if len(v4) >= 2 && ports[1] != 0 {
		cfg.Grids = []rendezvous.Grid{{Addrs: [2]netip.Addr(v4[:2]), Ports: ports}}
	} else {
		log.Warn("this host has no two IPv4 addresses: devices cannot tell how their NATs behave")
	}
	srv, err := rendezvous.New(cfg)
	if err != nil {
		return usage(err)
	}
	// One socket for each address: an answer must leave from where the question came in.
	var conns []*net.UDPConn
	for _, a := range addrs {
		for _, port := range ports[:min(2, 1+len(cfg.Grids))] {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
			if err != nil {
				return labError(errors.Join(err, closeAll(conns)))
			}
			conns = append(conns, c)
		}
	}
	n, err := node.New(srv, conns, node.Options{Observe: func(e any) { logEvent(log, e) }, Accept: listenStreams(addrs, at.Port(), tlsPort, log)})
	if err != nil {
		return labError(err)
	}
	defer n.Close()
	log.Info("listening", "addresses", n.LocalAddrs(), "key", k.Public().String())
	if stun && len(v4) >= 2 {
		s, err := probe.NewServer(net.ListenPacket, [2]netip.Addr(v4[:2]), [2]uint16{3478, 3479})
		if err != nil {
			log.Warn("no RFC 5780 server", "error", err)
		} else {
			defer s.Close()
			log.Info("answering RFC 5780", "addresses", v4[:2])
		}
	}
	<-ctx.Done()
	return nil
}

func closeAll(conns []*net.UDPConn) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// listenStreams opens TCP and TLS. A port that cannot be had costs those who have no UDP, and nobody else.
func listenStreams(addrs []netip.Addr, tcp, tls uint16, log *slog.Logger) (all []node.Listener) {
	for _, a := range addrs {
		for proto, port := range map[core.Proto]uint16{core.TCP: tcp, core.TLS: tls} {
			if port == 0 {
				continue
			}
			l, err := net.Listen("tcp", netip.AddrPortFrom(a, port).String())
			if err != nil {
				log.Warn("not listening on a port for networks without UDP", "error", err)
				continue
			}
			all = append(all, node.Listener{Listener: l, Proto: proto})
		}
	}
	return all
}
