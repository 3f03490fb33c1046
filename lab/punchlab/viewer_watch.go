package main

import (
	"context"
	"errors"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/program/viewer"
	core "github.com/punchlab/punchlab/impl/viewer"
	"github.com/spf13/cobra"
)

// watchFlags are those of 'viewer watch'.
type watchFlags struct {
	*viewerFlags
	save         string
	length, wait time.Duration
}

func viewerWatchCommand(common *viewerFlags) *cobra.Command {
	f := watchFlags{viewerFlags: common}
	c := &cobra.Command{
		Use:   "watch NAME",
		Short: "Watch a camera from the book",
		Long: `Watch a camera by its name. It says when it is connected, by which path, and how the video flows. A connection that breaks is
made again.`,
		Example: "  punchlab viewer watch door --for 10s --save door.h264",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args[0]) },
	}
	c.Flags().StringVar(&f.save, "save", "", "write the video to `FILE.h264`")
	c.Flags().DurationVar(&f.length, "for", 0, "stop after so much video (default: until interrupted)")
	c.Flags().DurationVar(&f.wait, "wait", 0, "keep asking so long for a camera that is offline")
	return c
}

func (f *watchFlags) run(ctx context.Context, name string) error {
	s, err := newScreen(f.save, f.length, f.fps, f.json)
	if err != nil {
		return usage(err)
	}
	ctx, s.stop = context.WithCancel(ctx)
	defer s.stop()
	says := make(chan any, 64)
	v, err := f.open(func(e any) { // on another goroutine than this one
		if _, frame := e.(core.FrameReceived); !frame {
			offer(says, e)
		}
	})
	if err != nil {
		return errors.Join(err, s.close())
	}
	err = f.watch(ctx, v, name, s, says)
	if e := v.Close(); e != nil {
		err = errors.Join(err, labError(e))
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	return s.end()
}

// watch shows a camera until the context ends.
func (f *watchFlags) watch(ctx context.Context, v viewer.Session, name string, s *screen, says <-chan any) error {
	feed, err := v.Watch(name, viewer.WatchOptions{Once: f.wait == 0})
	if err != nil {
		return usage(err)
	}
	defer feed.Close()
	frames, failed := pump(ctx, feed)
	late := make(<-chan time.Time)
	if f.wait > 0 {
		late = time.After(f.wait)
	}
	for {
		select {
		case x := <-frames:
			s.frame(x.Frame, x.Path)
			late = nil
		case e := <-says:
			s.saw(feed.Camera(), e)
		case <-late:
			c, _ := v.Camera(name)
			return &exitError{exitFail, errors.New("no connection: " + c.Failure)}
		case err := <-failed:
			var r *viewer.Refusal
			if errors.As(err, &r) {
				return &exitError{exitFail, errors.New("no connection: " + r.Cause)}
			}
			return nil
		}
	}
}

// pump takes frames from a feed until its end, of which it tells last.
func pump(ctx context.Context, feed viewer.Stream) (<-chan viewer.Frame, <-chan error) {
	frames, failed := make(chan viewer.Frame), make(chan error, 1)
	go func() {
		for {
			x, err := feed.Next(ctx)
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- x:
			case <-ctx.Done():
			}
		}
	}()
	return frames, failed
}

// saw prints what happens to a camera's connection.
func (s *screen) saw(camera identity.UID, event any) {
	switch e := event.(type) {
	case core.LoggedIn, core.Denied:
		s.event(e)
	case core.Connected:
		if e.Camera == camera {
			s.say("connected", "path", e.Path.Route.String(), "role", roleName(e.Role))
		}
	case core.PathChanged:
		if e.Camera == camera {
			s.event(e)
		}
	case core.DirectFailed:
		if e.Camera == camera {
			s.event(e)
		}
	case core.Reconnecting:
		if e.Camera == camera {
			s.say("reconnecting")
		}
	case core.Failed:
		if e.Camera == camera {
			s.say("failed", "code", e.Code.String(), "cause", e.Cause)
		}
	case core.Closed:
		if e.Camera == camera {
			s.say("closed", "code", e.Code.String())
		}
	case core.Presence:
		if e.Camera == camera {
			s.say("camera", "state", e.State.String())
		}
	}
}
