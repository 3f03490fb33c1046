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
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab/probe"
	"github.com/spf13/cobra"
)

// Where our rendezvous listens unless told otherwise: UDP and TCP, and TLS.
const rendezvousPort, rendezvousTLS = 4479, 443

// mapTimeout is how long a device waits for its router to map a port.
const mapTimeout = 2 * time.Second

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
	policy, err := punch.Lookup("adaptive") // a viewer that wants another names it
	if err != nil {
		return labError(err)
	}
	d, err := device.Open(device.Host(), policy, 0)
	if err != nil {
		return labError(err)
	}
	defer d.Close()
	cam, err := camera.New(camera.Config{
		Static: k, Rendezvous: device.Servers(addrs, rendezvousTLS, policy.Uplink), RendezvousKey: label.RendezvousKey, Secret: label.Secret,
		Rand: rand.Reader, Source: source, Host: d.Host(), Classify: true,
	})
	if err != nil {
		return usage(err)
	}
	log, registered := logger(f.json), make(chan netip.Addr, 1)
	err = d.Drive(cam, func(e any) {
		logEvent(log, e)
		if r, ok := e.(camera.Registered); ok {
			offer(registered, r.Reflexive.Addr())
		}
	})
	if err != nil {
		return labError(err)
	}
	d.Node().Do(func(now time.Time) { err = cam.Start(now) })
	if err != nil {
		return labError(err)
	}
	mapWhenSeen(ctx, d, registered, cam.HandleMapped, func(err error) { log.Info("no port mapping", "reason", err) })
	<-ctx.Done()
	d.Node().Do(cam.Close)
	return nil
}

// offer gives a value to who waits for the first one.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// mapWhenSeen asks the router for a port mapping as soon as the rendezvous has said where it sees the device.
func mapWhenSeen(ctx context.Context, d *device.Device, seen <-chan netip.Addr, mapped func(time.Time, netip.AddrPort), none func(error)) {
	select {
	case at := <-seen:
		if err := d.MapPort(ctx, at, mapTimeout, mapped); err != nil {
			none(err)
		}
	case <-ctx.Done():
	}
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

// writeJSON prints one value a line.
func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
