package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/spf13/cobra"
)

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
