package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/cloud"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/program/camera"
	"github.com/punchlab/punchlab/impl/source"
	"github.com/spf13/cobra"
)

type cameraFlags struct {
	dir, key, rendezvousKey, input, mode, size string
	rendezvous                                 []string
	fps, bitrate, floor, viewers               int
	port, tls                                  uint16
	printLabel, json, reset                    bool
	openLabel, always, noLAN, noMap            bool

	store  storeFlags
	record string
	bound  int64
}

func cameraCommand() *cobra.Command {
	var f cameraFlags
	c := &cobra.Command{
		Use:   "camera",
		Short: "Run a camera",
		Long: `Register at a rendezvous and serve video to viewers. Without a viewer it sends keepalives alone.

--dir is a folder that 'punchlab provision' made. Who first proves to have the label becomes the camera's owner; others need his
invitation. Pairings are kept in the folder. With --rendezvous and --rendezvous-key a folder without a label gets one. --reset
forgets everybody: the label works again.

Without --dir nothing is kept, and everybody with the label may watch. The label, printed at the start, is what a QR code carries;
it is a secret.

--input is a file, - for an H.264 stream on standard input, rtsp://… or another URL, /dev/video0, or lavfi:FILTER. All but H.264
need ffmpeg, which runs while somebody watches. H.264 is passed on as it is; what a path doesn't carry is encoded anew, down to
--floor, and below that pictures are left out.

--record stores the video, encrypted, in an S3-compatible store: always, or from before to after each motion (SIGUSR1).`,
		Example: `  punchlab camera --dir batch-1/7ZK3-Q2MD-90XV-5R1T-HC8E-WB4N-6YGA --input rtsp://192.168.1.20/stream1
  punchlab camera --dir door --rendezvous rv.example.net --rendezvous-key "$(punchlab rendezvous --print-key)" --input /dev/video0
  ffmpeg -i door.mp4 -c:v libx264 -bf 0 -g 25 -f h264 - | punchlab camera --input - …
  punchlab camera --dir door --record motion --store https://s3.example.net/cameras --store-credentials store.txt
  punchlab camera --dir door --reset`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) },
	}
	fl := c.Flags()
	fl.StringVar(&f.dir, "dir", "", "the camera's `folder`, as provisioned")
	fl.StringVar(&f.key, "key", keyFile("camera"), "without --dir: `file` of the camera's key; made if missing")
	fl.StringSliceVar(&f.rendezvous, "rendezvous", nil, fmt.Sprintf(
		"rendezvous `HOST[:PORT]`, several separated by commas (port %d); a folder's label goes before it", rendezvousPort))
	fl.StringVar(&f.rendezvousKey, "rendezvous-key", "", "the rendezvous' public key, or a `file` with it")
	fl.StringVar(&f.input, "input", "", "the `video`: file, -, URL, /dev/video0 or lavfi:FILTER (default: the built-in clip, again and again)")
	fl.IntVar(&f.fps, "fps", 0, "frames per second of an H.264 file or stream (default 25), or of what is encoded (default: the input's)")
	fl.StringVar(&f.mode, "mode", "auto", "auto: H.264 as it is where that fits; copy: as it is, always; encode: never")
	fl.IntVar(&f.bitrate, "bitrate", 2_000_000, "of what is encoded, at most, in bits a second")
	fl.IntVar(&f.floor, "floor", 200_000, "of what is encoded, at least")
	fl.StringVar(&f.size, "size", "", "of what is encoded, `WIDTHxHEIGHT` (default: the input's)")
	fl.BoolVar(&f.always, "always", false, "run ffmpeg without a viewer too: the first picture comes at once")
	fl.BoolVar(&f.openLabel, "open-label", false, "let everybody with the label watch, when there is an owner already")
	fl.IntVar(&f.viewers, "max-viewers", 8, "viewers at a time")
	fl.Uint16Var(&f.port, "port", 0, "UDP port (default: any)")
	fl.Uint16Var(&f.tls, "tls", rendezvousTLS, "the rendezvous' port for TLS")
	fl.BoolVar(&f.noLAN, "no-lan", false, "hear no viewers on the local network but by the rendezvous")
	fl.BoolVar(&f.noMap, "no-map", false, "ask the router for no port mapping")
	fl.StringVar(&f.record, "record", "", "`WHEN` to record: always, or around each motion (motion)")
	fl.Int64Var(&f.bound, "spool", 1<<30, "`bytes` of recordings that wait on the disk at most while the store cannot be reached")
	f.store.register(fl)
	fl.BoolVar(&f.reset, "reset", false, "forget owner, guests and recordings that are not stored, and exit")
	fl.BoolVar(&f.json, "json", false, "log as lines of JSON")
	fl.BoolVar(&f.printLabel, "print-label", false, "print the label and exit")
	for name, values := range map[string][]string{"mode": {"auto", "copy", "encode"}, "record": {"always", "motion"}} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}

func (f *cameraFlags) run(ctx context.Context) error {
	if f.reset {
		return f.forget()
	}
	o := camera.Options{
		Dir: f.dir, OpenLabel: f.openLabel, UDPPort: f.port, TLS: f.tls, NoMap: f.noMap, NoLAN: f.noLAN, Input: f.input, MaxViewers: f.viewers,
		Log: logger(f.json),
	}
	label, err := f.identify(&o)
	if err != nil {
		return err
	}
	if f.printLabel || f.dir == "" {
		fmt.Println(label)
	}
	if f.printLabel {
		return nil
	}
	if o.Source, err = f.source(); err != nil {
		return usage(err)
	}
	if err := f.recording(&o); err != nil {
		return usage(err)
	}
	motion := make(chan os.Signal, 1)
	signal.Notify(motion, syscall.SIGUSR1) // which ends programs that do not know it
	defer signal.Stop(motion)
	o.Motion = motion
	served := false
	o.Ready = func(h *camera.Handle) {
		served = true
		o.Log.Info("camera", "uid", label.UID().String(), "addresses", h.Addrs())
	}
	return cameraError(camera.Run(ctx, o), served)
}

// cameraError says by its exit code what kind of mistake it is.
func cameraError(err error, served bool) error {
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, source.ErrNoFFmpeg):
		return unsupported("%w", err)
	case served:
		return labError(err)
	}
	return notStarted(err)
}

func (f *cameraFlags) forget() error {
	if f.dir == "" {
		return usagef("--reset: name the camera's folder by --dir; without one nothing is kept")
	}
	if err := camera.Reset(f.dir); err != nil {
		return usage(err)
	}
	fmt.Fprintln(os.Stderr, "punchlab: the camera has forgotten everybody; who first adds it by its label becomes its owner")
	return nil
}

// identify finds out which camera this is: the folder's, or that of a key alone.
func (f *cameraFlags) identify(o *camera.Options) (l identity.Label, err error) {
	if f.dir == "" {
		k, err := loadKey(f.key)
		if err != nil {
			return l, err
		}
		if l, err = f.label(k); err != nil {
			return l, usage(err)
		}
		o.Key, o.Label = k, l
		return l, nil
	}
	path := filepath.Join(f.dir, camera.LabelFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && len(f.rendezvous) > 0 && f.rendezvousKey != "" {
		probe, err := f.label(identity.Key{})
		if err != nil {
			return l, usage(err)
		}
		if err := camera.New(f.dir, probe.RendezvousKey, probe.Rendezvous, rand.Reader); err != nil {
			return l, usage(err)
		}
	}
	b, err := identity.ReadSecret(path)
	if errors.Is(err, syscall.ENOTDIR) {
		return l, usagef("--dir %s is a file: give the folder that it is in", f.dir)
	} else if errors.Is(err, fs.ErrNotExist) {
		return l, usagef("%s holds no camera's label: name a folder that 'punchlab provision' made, or give "+
			"--rendezvous and --rendezvous-key for a new one", f.dir)
	} else if err != nil {
		return l, usage(err)
	}
	if l, err = identity.ParseLabel(string(b)); err != nil {
		return l, usagef("%s: %w", path, err)
	}
	return l, nil
}

// label is what the QR code of a camera says that has no folder. The pairing secret is derived from the key, so that it needs no file of
// its own.
func (f *cameraFlags) label(k identity.Key) (l identity.Label, err error) {
	if len(f.rendezvous) == 0 || f.rendezvousKey == "" {
		return l, errors.New("give --dir FOLDER as 'punchlab provision' made it, or --rendezvous HOST and --rendezvous-key KEY " +
			"('punchlab rendezvous --print-key' prints it)")
	}
	if l.RendezvousKey, err = identity.ParsePublicKey(textOrFile(f.rendezvousKey)); err != nil {
		return l, fmt.Errorf("--rendezvous-key: %w", err)
	}
	for _, r := range f.rendezvous {
		if _, _, err := net.SplitHostPort(r); err != nil {
			r = net.JoinHostPort(strings.Trim(r, "[]"), strconv.Itoa(rendezvousPort))
		}
		l.Rendezvous = append(l.Rendezvous, r)
	}
	if k.IsZero() {
		return l, nil
	}
	l.Key = k.Public()
	private := k.Private()
	sum := sha256.Sum256(append([]byte("punchlab pairing secret v1"), private[:]...))
	l.Secret = identity.Secret(sum[:16])
	return l, l.Validate()
}

// source is how video is made.
func (f *cameraFlags) source() (c source.Config, err error) {
	c = source.Config{FPS: f.fps, Bitrate: f.bitrate, Floor: min(f.floor, f.bitrate), Always: f.always}
	switch f.mode {
	case "auto":
		c.Mode = source.Auto
	case "copy":
		c.Mode = source.Copy
	case "encode":
		c.Mode = source.Encode
	default:
		return c, fmt.Errorf("--mode %s: auto, copy or encode", f.mode)
	}
	if f.size == "" {
		return c, nil
	}
	w, h, ok := strings.Cut(f.size, "x")
	if ok {
		c.Width, err = strconv.Atoi(w)
	}
	if ok && err == nil {
		c.Height, err = strconv.Atoi(h)
	}
	if !ok || err != nil {
		return c, fmt.Errorf("--size %s: write WIDTHxHEIGHT, as in 1280x720", f.size)
	}
	return c, nil
}

// recording has the camera record, where that is asked for.
func (f *cameraFlags) recording(o *camera.Options) error {
	switch f.record {
	case "":
		return nil
	case "always", "motion":
	default:
		return fmt.Errorf("--record %s: always or motion", f.record)
	}
	if f.dir == "" {
		return errors.New("--record needs --dir: recordings that are not yet stored, and their key, are kept there")
	}
	s3, err := f.store.s3()
	if err != nil {
		return err
	}
	store, err := s3.Open()
	if err != nil {
		return err
	}
	o.Record = func(uid identity.UID, spool string) (camera.Recorder, error) {
		key, err := cloud.LoadOrNewKey(filepath.Join(f.dir, camera.RecordingKey), rand.Reader)
		if err != nil {
			return nil, err
		}
		return cloud.NewRecorder(cloud.Config{
			UID: uid, Key: key, Store: store, Spool: spool, Bound: f.bound, OnMotion: f.record == "motion",
			Event: func(e any) { logRecording(o.Log, e) },
		})
	}
	return nil
}

// logRecording writes a recorder's event as one structured line.
func logRecording(log *slog.Logger, e any) {
	switch e := e.(type) {
	case cloud.Started:
		log.Info("recording", "part", e.Part, "at", e.At.Format(time.RFC3339))
	case cloud.Ended:
		log.Info("recorded", "part", e.Part)
	case cloud.Found:
		log.Info("the spool holds recordings of an earlier run", "segments", e.Segments, "bytes", e.Bytes, "damaged", e.Damaged)
	case cloud.Stored:
		log.Debug("stored", "segment", e.Segment, "bytes", e.Bytes, "waiting", e.Waiting)
	case cloud.StoreFailed:
		log.Error("the store takes nothing: recordings wait on the disk", "error", e.Err.Error(), "waiting", e.Waiting)
	case cloud.StoreBack:
		log.Info("the store takes recordings again", "after", e.After.String(), "waiting", e.Waiting)
	case cloud.SpoolFailed:
		log.Error("the disk takes no recordings: they wait in memory", "error", e.Err.Error())
	case cloud.SpoolBack:
		log.Info("the disk takes recordings again")
	case cloud.Lost:
		log.Error("recordings are lost", "segments", e.Segments, "length", e.Duration.String(), "error", e.Err.Error())
	case cloud.Overrun:
		log.Warn("pictures come faster than they can be recorded", "left out", e.AccessUnits)
	}
}
