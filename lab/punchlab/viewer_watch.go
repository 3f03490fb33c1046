package main

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/program/viewer"
	core "github.com/punchlab/punchlab/impl/viewer"
	"github.com/spf13/cobra"
)

// watchFlags are those of 'viewer watch'.
type watchFlags struct {
	*viewerFlags
	save, http, httpToken string
	length, wait          time.Duration
}

func viewerWatchCommand(common *viewerFlags) *cobra.Command {
	f := watchFlags{viewerFlags: common}
	c := &cobra.Command{
		Use:   "watch NAME",
		Short: "Watch a camera from the book, here or in a browser",
		Long: `Watch a camera by its name. It says when it is connected, by which path, and how the video flows. A connection that breaks is
made again. With --http a page shows all cameras of the book, their state and their pictures, and any WHEP client can play
them at /whep/NAME; a camera sends only while somebody looks.`,
		Example: `  punchlab viewer watch door --for 10s --save door.h264
  punchlab viewer watch --http 127.0.0.1:8080`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			switch {
			case len(args) == 1:
				name = args[0]
			case f.http == "":
				return usagef("name a camera, or show them all with --http")
			case f.save != "" || f.length > 0:
				return usagef("--save and --for want one camera's name")
			}
			return f.run(cmd.Context(), name)
		},
	}
	c.Flags().StringVar(&f.save, "save", "", "write the video to `FILE.h264`")
	c.Flags().StringVar(&f.http, "http", "", "show the cameras in a browser, at this `address`, such as 127.0.0.1:8080 or :8080")
	c.Flags().StringVar(&f.httpToken, "http-token", "", "the `token` that opens the page (default: drawn, or none where only this host can look)")
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
	err = f.show(ctx, v, name, s, says)
	if e := v.Close(); e != nil {
		err = errors.Join(err, labError(e))
	}
	if err != nil || f.pageAlone() {
		return errors.Join(err, s.close())
	}
	return s.end()
}

// pageAlone says whether the video is for browsers alone.
func (f *watchFlags) pageAlone() bool { return f.http != "" && f.save == "" && f.length == 0 }

// show shows a camera here, the cameras in a browser, or both.
func (f *watchFlags) show(ctx context.Context, v viewer.Session, name string, s *screen, says <-chan any) (err error) {
	fragment := ""
	if name != "" {
		c, err := v.Camera(name)
		if err != nil {
			return usage(err)
		}
		fragment = "#" + url.PathEscape(c.Name)
	}
	if f.http != "" {
		p, err := servePage(v, f.http, f.httpToken, fragment)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
	}
	if !f.pageAlone() {
		return f.watch(ctx, v, name, s, says)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-says:
			s.saw(identity.UID{}, e)
		}
	}
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
			if s.frame(x.Frame, x.Path); ctx.Err() != nil {
				return nil
			}
			late = nil
		case e := <-says:
			s.saw(feed.Camera(), e)
		case <-late:
			c, _ := v.Camera(name)
			return &exitError{exitFail, errors.New("no connection: " + c.Failure)}
		case err := <-failed:
			var r *viewer.Refusal
			if errors.As(err, &r) {
				return &exitError{exitFail, errors.New("no connection: " + r.Cause + whatNext[r.Code])}
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
