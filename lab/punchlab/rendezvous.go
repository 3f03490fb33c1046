package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/punchlab/punchlab/impl/program/rendezvous"
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
			o := rendezvous.Options{Key: k, Port: at.Port(), TLS: tlsPort, Log: logger(asJSON)}
			if !at.Addr().IsUnspecified() {
				o.Addrs = []netip.Addr{at.Addr()}
			}
			return serveRendezvous(cmd.Context(), o, stun)
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

// serveRendezvous runs the server until the context ends. SIGHUP has it read its files again.
func serveRendezvous(ctx context.Context, o rendezvous.Options, stun bool) error {
	signal.Reset(syscall.SIGHUP) // main ends programs by it
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	o.Reload = hup
	var closeSTUN func()
	o.Ready = func(h *rendezvous.Handle) {
		o.Log.Info("listening", "addresses", h.Addrs(), "key", o.Key.Public().String())
		if stun {
			closeSTUN = answerSTUN(h.Addrs(), o.Log)
		}
	}
	err := rendezvous.Run(ctx, o)
	if closeSTUN != nil {
		closeSTUN()
	}
	if err != nil {
		return labError(err)
	}
	return nil
}

// answerSTUN runs an RFC 5780 server at the usual ports of the first two IPv4 addresses.
func answerSTUN(at []netip.AddrPort, log *slog.Logger) (stop func()) {
	var addrs []netip.Addr
	for _, a := range at {
		if a.Addr().Is4() && !slices.Contains(addrs, a.Addr()) {
			addrs = append(addrs, a.Addr())
		}
	}
	if len(addrs) < 2 {
		log.Warn("this host has no two IPv4 addresses: devices cannot tell how their NATs behave")
		return nil
	}
	s, err := probe.NewServer(net.ListenPacket, [2]netip.Addr(addrs[:2]), [2]uint16{3478, 3479})
	if err != nil {
		log.Warn("no RFC 5780 server", "error", err)
		return nil
	}
	log.Info("answering RFC 5780", "addresses", addrs[:2])
	return func() { _ = s.Close() }
}
