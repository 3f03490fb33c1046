package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/lab/probe"
	"github.com/spf13/cobra"
)

// rendezvousFlags are what the command was called with.
type rendezvousFlags struct {
	key, database                    string
	listen, public                   []string
	printKey, printUnit, printDocker bool
	stun, asJSON                     bool
	check                            string
	advertise                        []string
	o                                rendezvous.Options
}

func rendezvousCommand() *cobra.Command {
	f := &rendezvousFlags{}
	c := &cobra.Command{
		Use:   "rendezvous",
		Short: "Run the rendezvous server",
		Long: `Introduce viewers to cameras, tell viewers which cameras are online, and relay where no direct path exists. It listens by
UDP on its port and the next one, by TCP on its port, and by TLS on --tls, for networks that let nothing else out. With two
addresses on this host devices learn how their NATs behave; it then also answers RFC 5780 on ports 3478 and 3479, so that
'punchlab classify' and any STUN client can classify a NAT by it.

With --maker it serves only cameras with a certificate of that maker's, with --account only viewers with a token.

Several servers with the same key and --nats are one: any of them serves any camera, and introduces it to viewers of any other.
Cameras and viewers go to another one when theirs ends. '--nats embedded' brings the NATS server along; three of those, each
with --nats-routes and twice --nats-peer, go on when one machine is lost.

SIGHUP has it read the files of makers, revocations and account again: who is revoked loses his session at once. SIGTERM sends
devices elsewhere and lets relays in use go on for --drain; a second one ends it at once.`,
		Example: `  punchlab rendezvous --print-key
  punchlab rendezvous --listen 192.0.2.1:4479 --key /etc/punchlab/rendezvous.key --maker maker.pub --revoked revoked.txt
  punchlab rendezvous --http 127.0.0.1:9479             # /metrics, /healthz, /readyz
  punchlab rendezvous --nats nats://nats.example.com    # one of several
  punchlab rendezvous --nats embedded --nats-routes 10.0.0.1:6222 --nats-peer 10.0.0.2:6222 --nats-peer 10.0.0.3:6222
  punchlab rendezvous --print-unit > /etc/systemd/system/punchlab-rendezvous.service
  punchlab rendezvous --tls 0     # no TLS: port 443 is somebody else's`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	fl, o := c.Flags(), &f.o
	fl.StringVar(&f.key, "key", keyFile("rendezvous"), "`file` of the server's key; made if missing. All nodes of a cluster have the same")
	fl.StringVar(&f.database, "database", "", "`file` of what outlives a restart; unless given, beside the key; \"memory\": none")
	fl.StringSliceVar(&f.listen, "listen", []string{fmt.Sprintf("0.0.0.0:%d", rendezvousPort)}, "`address` and port to listen on; several with one port")
	fl.StringSliceVar(&f.public, "public", nil, "`address` at which others see that of --listen, where a provider translates it")
	fl.Uint16Var(&o.TLS, "tls", rendezvousTLS, "port to listen on by TLS; 0: none")
	fl.BoolVar(&f.stun, "stun", true, "answer RFC 5780 too, where this host has two addresses")
	fl.StringSliceVar(&o.Makers, "maker", nil, "public key of a maker whose cameras are served, or a `file` of such; none: everybody's")
	fl.StringSliceVar(&o.Revoked, "revoked", nil, "`file` of a maker's list of revoked cameras")
	fl.StringVar(&o.Account, "account", "", "public key of the account whose tokens viewers need, or a `file` with it; none: they need none")
	fl.DurationVar(&o.Limits.Keepalive, "keepalive", 0, "between a device's signs of life; whole seconds (default 15s)")
	fl.DurationVar(&o.Drain, "drain", 10*time.Second, "how long relays may go on when the server is told to end")
	fl.StringVar(&o.HTTP, "http", "", "`address` and port of /metrics, /healthz and /readyz, which tell nothing secret and ask nobody for a password")
	fl.BoolVar(&f.asJSON, "json", false, "log as lines of JSON")
	f.clusterFlags(c)
	fl.BoolVar(&f.printKey, "print-key", false, "print the public key, which cameras need, and exit")
	fl.BoolVar(&f.printUnit, "print-unit", false, "print a systemd unit and exit")
	fl.BoolVar(&f.printDocker, "print-dockerfile", false, "print a Dockerfile and exit")
	fl.StringVar(&f.check, "check", "", "ask the server whose --http is this `address` how it is, and exit")
	return c
}

func (f *rendezvousFlags) clusterFlags(c *cobra.Command) {
	fl, o := c.Flags(), &f.o
	fl.StringVar(&o.NATS, "nats", "", "`URL` by which this server meets others, several by commas, or \"embedded\"; none: it is alone")
	fl.StringVar(&o.Cluster.Name, "node", "", "`name` of this node, no other's; unless given, its first address")
	fl.StringSliceVar(&f.advertise, "advertise", nil, "`address` and port at which other nodes reach this one; unless given, those of --listen")
	fl.StringVar(&o.Cluster.Credentials, "nats-credentials", "", "`file` of NATS credentials")
	fl.IntVar(&o.Cluster.Replicas, "nats-replicas", 0, "copies of what the nodes share; unless given 1, or 3 with two --nats-peer and more")
	fl.StringVar(&o.Cluster.Dir, "nats-dir", "", "`folder` of the embedded NATS server; unless given, beside the database")
	fl.StringVar(&o.Cluster.Listen, "nats-listen", "", "`address` and port of the embedded NATS server for other nodes without one")
	fl.StringVar(&o.Cluster.Routes, "nats-routes", "", "`address` and port of the embedded NATS server for other embedded ones")
	fl.StringSliceVar(&o.Cluster.Peers, "nats-peer", nil, "another embedded NATS server's --nats-routes")
}

func (f *rendezvousFlags) run(ctx context.Context) error {
	switch {
	case f.printUnit:
		fmt.Print(rendezvous.Unit)
		return nil
	case f.printDocker:
		fmt.Print(rendezvous.Dockerfile)
		return nil
	case f.check != "":
		return checkHealth(ctx, f.check)
	}
	k, err := loadKey(f.key)
	if err != nil {
		return err
	}
	if f.printKey {
		fmt.Println(k.Public())
		return nil
	}
	f.o.Key = k
	if err := f.addresses(); err != nil {
		return err
	}
	switch f.database {
	case "memory":
	case "":
		f.o.Database = strings.TrimSuffix(f.key, ".key") + ".db"
	default:
		f.o.Database = f.database
	}
	f.o.Log = logger(f.asJSON)
	return serveRendezvous(ctx, f.o, f.stun)
}

// addresses reads --listen, --public and --advertise.
func (f *rendezvousFlags) addresses() error {
	for _, s := range f.listen {
		at, err := listenAddr(s)
		if err != nil {
			return usage(err)
		}
		if f.o.Port != 0 && f.o.Port != at.Port() {
			return usagef("--listen %s: all addresses have one port, %d or %d", s, f.o.Port, at.Port())
		}
		f.o.Port = at.Port()
		if !at.Addr().IsUnspecified() {
			f.o.Addrs = append(f.o.Addrs, at.Addr())
		} else if len(f.listen) > 1 {
			return usagef("--listen %s is every address of this host: name it alone", s)
		}
	}
	for _, s := range f.public {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return usagef("--public %s: use an IP address", s)
		}
		f.o.Public = append(f.o.Public, a)
	}
	for _, s := range f.advertise {
		at, err := listenAddr(s)
		if err != nil {
			return usage(err)
		}
		f.o.Cluster.Advertise = append(f.o.Cluster.Advertise, at)
	}
	return nil
}

// listenAddr reads an address with or without a port, or resolves a name.
func listenAddr(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, rendezvousPort), nil
	}
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at, nil
	}
	return resolve(s, rendezvousPort)
}

// serveRendezvous runs the server until the context ends. SIGHUP has it read its files again.
func serveRendezvous(ctx context.Context, o rendezvous.Options, stun bool) error {
	signal.Reset(syscall.SIGHUP) // main ends programs by it
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	o.Reload = hup
	var closeSTUN func()
	served := false
	o.Ready = func(h *rendezvous.Handle) {
		served = true
		o.Log.Info("listening", "addresses", h.Addrs(), "key", o.Key.Public().String())
		if at := h.HTTP(); at != nil {
			o.Log.Info("metrics and health", "address", at.String())
		}
		if stun {
			closeSTUN = answerSTUN(h.Addrs(), o.Log)
		}
		tellSystemd("READY=1")
	}
	context.AfterFunc(ctx, func() { tellSystemd("STOPPING=1") })
	err := rendezvous.Run(ctx, o)
	if closeSTUN != nil {
		closeSTUN()
	}
	if err != nil && !served {
		return notStarted(err)
	} else if err != nil {
		return labError(err)
	}
	return nil
}

// notStarted says by its exit code whether this host kept a program from starting, or what it was told.
func notStarted(err error) error {
	var network *net.OpError
	if errors.As(err, &network) || errors.Is(err, syscall.ENOSPC) {
		return labError(err)
	}
	return usage(err)
}

// tellSystemd tells a service manager that waits for it how the program is (sd_notify(3)).
func tellSystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.Dial("unixgram", path) // a path that begins with @ is an abstract one, here as there
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state)) // without it the manager reports a timeout
}

// checkHealth asks a server how it is. It is well while it answers, even when it is alone or its disk is full.
func checkHealth(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/healthz", nil)
	if err != nil {
		return usagef("--check %s: use ADDRESS:PORT", at)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return &exitError{exitFail, fmt.Errorf("the server does not answer: %w", err)}
	}
	defer r.Body.Close()
	if _, err := io.Copy(os.Stdout, io.LimitReader(r.Body, 64<<10)); err != nil {
		return &exitError{exitFail, err}
	}
	if r.StatusCode != http.StatusOK {
		return &exitError{exitFail, fmt.Errorf("the server answers %s", r.Status)}
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
