package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/spf13/cobra"
)

// viewerFlags are what 'viewer' and its commands have in common.
type viewerFlags struct {
	key, book, strategy, as, token string
	fps                            int
	noLAN, json                    bool
}

// labelFlags are those of 'viewer LABEL'.
type labelFlags struct {
	viewerFlags
	save, at     string
	length, wait time.Duration
}

func viewerCommand() *cobra.Command {
	var f labelFlags
	c := &cobra.Command{
		Use:   "viewer LABEL|PHOTO|FILE|-",
		Short: "Watch cameras: by a label, or by the names of a book of cameras",
		Long: `Add cameras by their labels, see which of them are online, watch them, and say who else may. With a label alone: ask the
rendezvous for that camera, punch through, and receive its video, without writing anything down.`,
		Example: `  punchlab viewer add label.png --name door      pair with the camera; its first viewer becomes the owner
  punchlab viewer list                           what is online, and since when
  punchlab viewer watch door --for 10s --save door.h264
  punchlab viewer share door --for 24h           an invitation, as a QR code

  punchlab viewer label.png --for 10s --save door.h264
  ffplay door.h264`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			label, err := scanLabel(args[0], cmd.InOrStdin())
			if errors.Is(err, fs.ErrNotExist) {
				return usagef("%w, or one of the commands that 'punchlab viewer --help' lists", err)
			} else if err != nil {
				return usage(err)
			}
			return f.run(cmd.Context(), label)
		},
	}
	common := c.PersistentFlags()
	common.StringVar(&f.key, "key", keyFile("viewer"), "`file` of the viewer's key; made if missing")
	common.StringVar(&f.book, "book", filepath.Join(filepath.Dir(keyFile("viewer")), "cameras.json"), "`file` of the cameras; made if missing")
	common.StringVar(&f.strategy, "strategy", "adaptive", "how to reach a camera: "+strings.Join(punch.Names(), ", "))
	common.StringVar(&f.as, "as", "", "the `name` that a camera's owner sees of this viewer")
	common.StringVar(&f.token, "token", "", "`file` of an account's token, where the rendezvous wants one")
	common.BoolVar(&f.noLAN, "no-lan", false, "do not look for cameras on the local network")
	common.IntVar(&f.fps, "fps", 25, "the camera's frames per second")
	common.BoolVar(&f.json, "json", false, "print each event, or each camera, as a line of JSON on standard output")
	fl := c.Flags()
	fl.StringVar(&f.at, "at", "", "with --strategy port-forward: the `HOST:PORT` that the camera's owner has forwarded to it")
	fl.StringVar(&f.save, "save", "", "write the video to `FILE.h264`")
	fl.DurationVar(&f.length, "for", 0, "stop after so much video (default: until interrupted)")
	fl.DurationVar(&f.wait, "wait", 0, "keep asking so long for a camera that is offline")
	_ = c.RegisterFlagCompletionFunc("strategy", cobra.FixedCompletions(punch.Names(), cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(viewerAddCommand(&f.viewerFlags), viewerListCommand(&f.viewerFlags), viewerWatchCommand(&f.viewerFlags),
		viewerShareCommand(&f.viewerFlags), viewerGuestsCommand(&f.viewerFlags), viewerRevokeCommand(&f.viewerFlags),
		viewerRoleCommand(&f.viewerFlags), viewerReleaseCommand(&f.viewerFlags), viewerRenameCommand(&f.viewerFlags),
		viewerRemoveCommand(&f.viewerFlags), viewerKeyCommand(&f.viewerFlags))
	return c
}

func (f *labelFlags) run(ctx context.Context, label identity.Label) error {
	policy, err := punch.Lookup(f.strategy)
	switch {
	case err != nil:
		return usage(err)
	case policy.Methods&punch.MethodTURN != 0:
		return usagef("--strategy turn: only the lab has a TURN server to lend; choose another")
	case policy.Forward && f.at == "":
		return usagef("--strategy %s: give --at HOST:PORT, the endpoint that the camera's owner has set up", f.strategy)
	}
	k, err := loadKey(f.key)
	if err != nil {
		return err
	}
	boot, err := f.boots()()
	if err != nil {
		return usage(err)
	}
	addrs, err := resolveAll(label.Rendezvous)
	if err != nil {
		return usage(err)
	}
	token, err := f.account()
	if err != nil {
		return err
	}
	d, err := device.Open(device.Host(), policy, 0)
	if err != nil {
		return labError(err)
	}
	defer d.Close()
	v, err := viewer.New(viewer.Config{
		Static: k, Rendezvous: device.Servers(addrs, rendezvousTLS, policy.Uplink), RendezvousKey: label.RendezvousKey, Rand: rand.Reader, FPS: f.fps,
		Host: d.Host(), Classify: device.Classifies(policy), Name: f.as, Token: token, Boot: boot,
	})
	if err != nil {
		return usage(err)
	}
	s, err := newScreen(f.save, f.length, f.fps, f.json)
	if err != nil {
		return usage(err)
	}
	s.label, s.wait = true, f.wait
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	if err := d.Drive(v, s.event); err != nil {
		return labError(err)
	}
	ask := func(now time.Time) { err = v.Connect(now, label, f.strategy) }
	if policy.Forward {
		at, e := resolve(f.at, rendezvousPort)
		if e != nil {
			return usage(e)
		}
		ask = func(now time.Time) { err = v.ConnectDirect(now, label, at, f.strategy) }
	}
	d.Node().Do(func(now time.Time) {
		if policy.Forward {
			ask(now)
		} else {
			err = v.Start(now) // Ready asks
		}
	})
	if err != nil {
		return labError(err)
	}
	var silent <-chan time.Time
	if !policy.Forward {
		silent = time.After(max(silentFor, f.wait))
	}
	late := false
	for asking := true; asking; {
		select {
		case <-ctx.Done():
			asking = false
		case <-s.again:
			silent = nil
			d.Node().Do(ask)
		case <-silent:
			asking, late = false, true
		}
	}
	d.Node().Do(func(now time.Time) { v.Close(now) })
	err = d.Close()
	if late && s.failed == nil {
		s.failed = &viewer.Failed{Code: wire.CodeRendezvousSilent, Cause: fmt.Sprintf("no answer from the rendezvous %s: %s",
			strings.Join(label.Rendezvous, ", "), isItThere)}
	}
	return errors.Join(err, s.end())
}

// screen shows a viewer's events and keeps its video. Its event method runs on the node's goroutine; the rest follows the
// node's end.
type screen struct {
	json   bool
	label  bool          // of a label alone: nobody else waits for a session
	wait   time.Duration // for an offline camera
	start  time.Time
	file   *os.File
	video  *media.Writer
	frames int
	want   int // 0: no end
	failed *viewer.Failed
	err    error
	stop   func()
	again  chan struct{} // ask for the camera once more
}

// silentFor is how long the rendezvous may take to answer at all.
const silentFor = 10 * time.Second

// isItThere is what to look at when a rendezvous does not answer.
const isItThere = "is this device online, does its network let it out, and does the rendezvous run there?"

// askEvery is how often an offline camera is asked for.
const askEvery = 300 * time.Millisecond

// newScreen keeps video in a file, if one is named, and wants length of it; 0: all there is.
func newScreen(save string, length time.Duration, fps int, json bool) (*screen, error) {
	s := &screen{json: json, start: time.Now(), again: make(chan struct{}, 1), want: int(length * time.Duration(fps) / time.Second)}
	if save == "" {
		return s, nil
	}
	file, err := os.Create(save)
	if err != nil {
		return nil, err
	}
	s.file, s.video = file, media.NewWriter(file)
	return s, nil
}

func (s *screen) event(e any) {
	switch e := e.(type) {
	case viewer.LoggedIn:
		s.say("logged in", "reflexive", e.Reflexive.String(), "rtt_s", e.RTT.Seconds())
	case viewer.Ready:
		offer(s.again, struct{}{})
	case viewer.Connected:
		s.say("connected", "path", e.Path.Route.String())
	case viewer.FirstPacket:
		s.say("first packet", "path", e.Path.Route.String())
	case viewer.PathChanged:
		s.say("path changed", "from", e.From.Route.String(), "to", e.To.Route.String())
	case viewer.DirectFailed:
		s.say("no direct path", "cause", e.Cause)
	case viewer.Denied:
		s.say("denied", "code", e.Code.String(), "cause", e.Code.Sentence())
		if s.label && e.Code != wire.CodeShuttingDown && e.Code != wire.CodeOverloaded && time.Since(s.start) >= s.wait {
			s.failed = &viewer.Failed{Code: e.Code, Cause: e.Code.Sentence()}
			s.stop()
		}
	case viewer.FrameReceived:
		s.frame(e.Frame, e.Path.Route.String())
	case viewer.Failed:
		if e.Code == wire.CodeUnavailable && time.Since(s.start) < s.wait {
			time.AfterFunc(askEvery, func() { offer(s.again, struct{}{}) })
			return
		}
		s.failed = &e
		s.say("failed", "code", e.Code.String(), "cause", e.Cause)
		s.stop()
	case viewer.Closed:
		s.say("closed", "code", e.Code.String())
		s.stop()
	}
}

func (s *screen) frame(f media.Frame, path string) {
	s.frames++
	if s.frames == 1 || f.Key {
		s.say("key frame", "index", f.Index, "frames", s.frames, "path", path, "latency_s", f.Complete.Sub(f.Captured).Seconds())
	}
	if s.video != nil && s.err == nil {
		s.err = s.video.WriteFrame(f)
	}
	if s.want > 0 && s.frames >= s.want || s.err != nil {
		s.stop()
	}
}

// say prints an event: a JSON object on standard output, or a line for people on standard error.
func (s *screen) say(what string, pairs ...any) {
	at := time.Since(s.start)
	if s.json {
		o := map[string]any{"event": what, "at_s": at.Seconds()}
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i].(string)] = pairs[i+1]
		}
		if err := writeJSON(os.Stdout, o); err != nil && s.err == nil {
			s.err = err
		}
		return
	}
	fmt.Fprintf(os.Stderr, "%8.3f s  %s", at.Seconds(), what)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(os.Stderr, "  %v=%v", pairs[i], pairs[i+1])
	}
	fmt.Fprintln(os.Stderr)
}

// close closes the file.
func (s *screen) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// end closes the file and turns what happened into an exit code.
func (s *screen) end() error {
	s.err = errors.Join(s.err, s.close())
	switch {
	case s.err != nil:
		return labError(fmt.Errorf("save video: %w", s.err))
	case s.failed != nil:
		return &exitError{exitFail, fmt.Errorf("no connection: %s", s.failed.Cause)}
	case s.frames == 0:
		return &exitError{exitUndecided, errors.New("stopped before a frame came")}
	}
	fmt.Fprintf(os.Stderr, "%d frames\n", s.frames)
	return nil
}
