package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab/probe"
	"github.com/spf13/cobra"
)

// rendezvousPort is where our rendezvous listens unless told otherwise.
const rendezvousPort = 4479

// keyFile returns where a role keeps its key unless told otherwise.
func keyFile(role string) string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return role + ".key"
	}
	return filepath.Join(dir, "punchlab", role+".key")
}

// loadKey loads a role's key, and makes one where there is none.
func loadKey(path string) (identity.Key, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return identity.Key{}, labError(err)
	}
	k, err := identity.LoadOrNewKey(path, func() (identity.Key, error) { return identity.NewKey(rand.Reader) })
	if err != nil {
		return k, usage(err)
	}
	return k, nil
}

// logger writes structured lines to stderr, for people or as JSON.
func logger(asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

func rendezvousCommand() *cobra.Command {
	var key, listen string
	var printKey, stun, asJSON bool
	c := &cobra.Command{
		Use:   "rendezvous",
		Short: "Run the rendezvous server",
		Long: `Introduce viewers to cameras, and relay where no direct path exists. With two addresses on this host it also answers
RFC 5780 on ports 3478 and 3479, so that 'punchlab classify' and any STUN client can classify a NAT by it.`,
		Example: `  punchlab rendezvous --print-key
  punchlab rendezvous --listen 192.0.2.1:4479 --key /etc/punchlab/rendezvous.key`,
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
			return serveRendezvous(cmd.Context(), k, at, stun, logger(asJSON))
		},
	}
	c.Flags().StringVar(&key, "key", keyFile("rendezvous"), "`file` of the server's key; made if missing")
	c.Flags().StringVar(&listen, "listen", fmt.Sprintf("0.0.0.0:%d", rendezvousPort), "address and port to listen on")
	c.Flags().BoolVar(&printKey, "print-key", false, "print the public key, which cameras need, and exit")
	c.Flags().BoolVar(&asJSON, "json", false, "log as lines of JSON")
	c.Flags().BoolVar(&stun, "stun", true, "answer RFC 5780 too, where this host has two addresses")
	return c
}

func serveRendezvous(ctx context.Context, k identity.Key, at netip.AddrPort, stun bool, log *slog.Logger) error {
	srv, err := rendezvous.New(rendezvous.Config{Static: k, Rand: rand.Reader})
	if err != nil {
		return usage(err)
	}
	addrs := []netip.Addr{at.Addr()}
	if at.Addr().IsUnspecified() {
		addrs = globalAddrs()
	}
	if len(addrs) == 0 {
		addrs = []netip.Addr{at.Addr()}
	}
	// One socket for each address: an answer must leave from where the question came in.
	var conns []*net.UDPConn
	for _, a := range addrs {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, at.Port())))
		if err != nil {
			return labError(err)
		}
		conns = append(conns, c)
	}
	n, err := node.New(srv, conns, node.Options{Observe: func(e any) { logEvent(log, e) }})
	if err != nil {
		return labError(err)
	}
	defer n.Close()
	log.Info("listening", "addresses", n.LocalAddrs(), "key", k.Public().String())
	if stun && len(addrs) >= 2 {
		s, err := probe.NewServer(net.ListenPacket, [2]netip.Addr{addrs[0], addrs[1]}, [2]uint16{3478, 3479})
		if err != nil {
			log.Warn("no RFC 5780 server", "error", err)
		} else {
			defer s.Close()
			log.Info("answering RFC 5780", "addresses", addrs[:2])
		}
	}
	<-ctx.Done()
	return nil
}

// globalAddrs lists this host's IPv4 addresses but loopback.
func globalAddrs() (addrs []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

// logEvent writes a core's event as one structured line.
func logEvent(log *slog.Logger, e any) {
	log.Info(fmt.Sprintf("%T", e), "event", fmt.Sprintf("%+v", e))
}

type cameraFlags struct {
	key, rendezvousKey, input string
	rendezvous                []string
	fps                       int
	printLabel, json          bool
}

func cameraCommand() *cobra.Command {
	var f cameraFlags
	c := &cobra.Command{
		Use:   "camera",
		Short: "Run a camera",
		Long: `Register at a rendezvous and serve video to viewers that have the label. Without a viewer it sends keepalives alone.
The label, printed at the start, is what a QR code carries; it is a secret.`,
		Example: `  punchlab camera --rendezvous rv.example.net --rendezvous-key "$(punchlab rendezvous --print-key)"
  ffmpeg -i door.mp4 -c:v libx264 -bf 0 -g 25 -f h264 - | punchlab camera --input - …`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	fl := c.Flags()
	fl.StringVar(&f.key, "key", keyFile("camera"), "`file` of the camera's key; made if missing")
	fl.StringSliceVar(&f.rendezvous, "rendezvous", nil, fmt.Sprintf("rendezvous `HOST[:PORT]`, several separated by commas (port %d)", rendezvousPort))
	fl.StringVar(&f.rendezvousKey, "rendezvous-key", "", "the rendezvous' public key")
	fl.StringVar(&f.input, "input", "", "H.264 Annex B `file`, or - for standard input (default: the built-in clip, again and again)")
	fl.IntVar(&f.fps, "fps", 25, "frames per second of --input")
	fl.BoolVar(&f.json, "json", false, "log as lines of JSON")
	fl.BoolVar(&f.printLabel, "print-label", false, "print the label and exit")
	return c
}

func (f *cameraFlags) run(ctx context.Context) error {
	k, err := loadKey(f.key)
	if err != nil {
		return err
	}
	label, err := f.label(k)
	if err != nil {
		return usage(err)
	}
	fmt.Println(label)
	if f.printLabel {
		return nil
	}
	source, err := f.source()
	if err != nil {
		return usage(err)
	}
	addrs, err := resolveAll(label.Rendezvous)
	if err != nil {
		return usage(err)
	}
	cam, err := camera.New(camera.Config{
		Static: k, Rendezvous: addrs, RendezvousKey: label.RendezvousKey, Secret: label.Secret, Rand: rand.Reader, Source: source,
	})
	if err != nil {
		return usage(err)
	}
	log := logger(f.json)
	return serve(ctx, cam, node.Options{Observe: func(e any) { logEvent(log, e) }}, cam.Start, cam.Close)
}

// label is what the camera's QR code says. The pairing secret is derived from the key, so that it needs no file of its own.
func (f *cameraFlags) label(k identity.Key) (l identity.Label, err error) {
	if len(f.rendezvous) == 0 || f.rendezvousKey == "" {
		return l, errors.New("give --rendezvous HOST and --rendezvous-key KEY ('punchlab rendezvous --print-key' prints it)")
	}
	l.Key = k.Public()
	if l.RendezvousKey, err = identity.ParsePublicKey(f.rendezvousKey); err != nil {
		return l, err
	}
	for _, r := range f.rendezvous {
		if _, _, err := net.SplitHostPort(r); err != nil {
			r = net.JoinHostPort(r, fmt.Sprint(rendezvousPort))
		}
		l.Rendezvous = append(l.Rendezvous, r)
	}
	private := k.Private()
	sum := sha256.Sum256(append([]byte("punchlab pairing secret v1"), private[:]...))
	l.Secret = identity.Secret(sum[:16])
	return l, l.Validate()
}

// source opens the video. A file is read once and repeated; standard input is shared by all viewers one after another.
func (f *cameraFlags) source() (func() media.Source, error) {
	switch f.input {
	case "":
		return media.EmbeddedClip().Loop, nil
	case "-":
		r, err := media.NewReader(os.Stdin, f.fps)
		if err != nil {
			return nil, err
		}
		return func() media.Source { return r }, nil
	}
	b, err := os.ReadFile(f.input)
	if err != nil {
		return nil, err
	}
	clip, err := media.ParseAnnexB(b, f.fps)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.input, err)
	}
	return clip.Loop, nil
}

func resolveAll(hosts []string) (addrs []netip.AddrPort, err error) {
	for _, h := range hosts {
		a, err := resolve(h, rendezvousPort)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// serve drives a core on a socket of its own until ctx ends, and lets it say goodbye.
func serve(ctx context.Context, c core.Core, o node.Options, start func(time.Time) error, end func(time.Time)) error {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return labError(err)
	}
	n, err := node.New(c, []*net.UDPConn{conn}, o)
	if err != nil {
		return labError(err)
	}
	defer n.Close()
	n.Do(func(now time.Time) { err = start(now) })
	if err != nil {
		return labError(err)
	}
	<-ctx.Done()
	n.Do(end)
	return nil
}

// writeJSON prints one value a line.
func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
