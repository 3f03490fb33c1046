package camera

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/source"
)

// video is where the camera's pictures come from.
type video struct {
	open  func() media.Source
	hub   *source.Hub // nil: pictures are stored ones, the same for every reader
	close func() error
}

// maxClip bounds a file that is held in memory, in bytes.
const maxClip = 512 << 20

// openVideo opens the input. notify is called whenever a live one has something new.
func (o Options) openVideo(notify func(), observe func(source.Event)) (*video, error) {
	if o.Input == "" {
		return clipVideo(media.EmbeddedClip()), nil
	}
	in, err := source.ParseInput(o.Input)
	if err != nil {
		return nil, err
	}
	cfg := o.Source
	cfg.Input, cfg.Notify, cfg.Observe = in, notify, observe
	switch in.Kind {
	case source.Pipe:
		cfg.Pipe = o.Stdin
	case source.File:
		clip, err := readClip(in.Name, cfg.FPS)
		if clip != nil || err != nil {
			return clipVideo(clip), err
		}
	}
	if in.Kind != source.Pipe {
		if err := source.Check(cfg); err != nil {
			return nil, err
		}
	}
	h, err := source.New(cfg)
	if err != nil {
		return nil, err
	}
	return &video{open: func() media.Source { return h.Open() }, hub: h, close: h.Close}, nil
}

func clipVideo(c *media.Clip) *video {
	if c == nil {
		return nil
	}
	return &video{open: c.Loop, close: func() error { return nil }}
}

// readClip reads a file that is a bare H.264 stream; nil: it is something else, for ffmpeg.
func readClip(path string, fps int) (*media.Clip, error) {
	if fps == 0 {
		fps = 25
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open input: there is no file %s", path)
	} else if err != nil {
		return nil, fmt.Errorf("open input: %w", err)
	}
	defer f.Close()
	var head [4]byte
	n, err := io.ReadFull(f, head[:])
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("open input: %s is empty", path)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("open input: %w", err)
	case !bytes.HasPrefix(head[:n], []byte{0, 0, 1}) && !bytes.HasPrefix(head[:n], []byte{0, 0, 0, 1}):
		return nil, nil
	}
	rest, err := io.ReadAll(io.LimitReader(f, maxClip))
	if err != nil {
		return nil, fmt.Errorf("open input: %w", err)
	}
	clip, err := media.ParseAnnexB(append(head[:n], rest...), fps)
	if err != nil {
		return nil, fmt.Errorf("open input %s: %w", path, err)
	}
	return clip, nil
}

// each hands on the video as it comes, in real time, until the context or the input ends, or nobody takes it any more; what comes
// while it is private is left out.
func (v *video) each(ctx context.Context, private func() bool, take func(media.AccessUnit) error) {
	src := v.open()
	if c, ok := src.(io.Closer); ok {
		defer c.Close()
	}
	next := paced(src)
	if r, ok := src.(*source.Reader); ok {
		next = r.Read
	}
	for {
		au, err := next(ctx)
		if err != nil {
			return
		}
		if !private() && take(au) != nil {
			return
		}
	}
}

// paced reads a stored stream at its own pace.
func paced(src media.Source) func(context.Context) (media.AccessUnit, error) {
	begun := time.Now()
	return func(ctx context.Context) (media.AccessUnit, error) {
		au, err := src.Next()
		if err != nil {
			return au, err
		}
		t := time.NewTimer(time.Until(begun.Add(au.PTS)))
		defer t.Stop()
		select {
		case <-ctx.Done():
			return au, ctx.Err()
		case <-t.C:
		}
		au.Captured = begun.Add(au.PTS)
		return au, nil
	}
}
