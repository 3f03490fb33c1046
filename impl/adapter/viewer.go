package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/rand"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/program/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// Files of a viewer's state folder.
const (
	viewerKey   = "viewer.key"
	viewerBook  = "cameras.json"
	viewerBoot  = "boot"
	viewerLabel = "ticket" // that the camera in the book was entered by
)

// viewer watches the ticket's camera, and ends by itself.
func (e environment) viewer(ctx context.Context, log *slog.Logger) error {
	label, err := e.label()
	if err != nil {
		return err
	}
	key, err := identity.LoadOrNewKey(e.path(viewerKey), func() (identity.Key, error) { return identity.NewKey(rand.Reader) })
	if err != nil {
		return err
	}
	v, err := viewer.Open(viewer.Options{
		Key: key, Book: e.path(viewerBook), Boot: viewer.Boots(e.path(viewerBoot), time.Now), FPS: fps, Log: log, Resolve: e.find,
	})
	if err != nil {
		return err
	}
	f, err := e.openFrames()
	if err != nil {
		return errors.Join(err, v.Close())
	}
	name, err := e.enter(v, label)
	if err == nil {
		err = e.watch(ctx, v, name, f)
	}
	return errors.Join(err, v.Close(), f.close())
}

func (e environment) path(name string) string { return filepath.Join(e.state, name) }

// label reads the ticket.
func (e environment) label() (l identity.Label, err error) {
	if e.ticket == "" {
		return l, errors.New("PUNCHLAB_TICKET names no file: which camera?")
	}
	b, err := os.ReadFile(e.ticket)
	if err != nil {
		return l, err
	}
	if l, err = identity.ParseLabel(string(b)); err != nil {
		return l, fmt.Errorf("the ticket is no label of impl/PROTOCOL.md: %w", err)
	}
	return l, nil
}

// find is where a label's rendezvous is: PUNCHLAB_RENDEZVOUS, at the label's port.
func (e environment) find(ctx context.Context, host string) ([]netip.AddrPort, error) {
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	at, err := e.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	return []netip.AddrPort{netip.AddrPortFrom(at[0], uint16(n))}, nil
}

// enter makes sure that the camera is in the book, by this ticket: one that was reset has another. It returns its name there.
func (e environment) enter(v *viewer.Viewer, l identity.Label) (string, error) {
	last, err := os.ReadFile(e.path(viewerLabel))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	name := l.UID().String()
	if _, err := v.Camera(name); err == nil {
		if strings.TrimSpace(string(last)) == l.String() {
			return name, nil
		}
		if err := v.Remove(name); err != nil {
			return "", err
		}
	}
	if _, err := v.Enter(l, ""); err != nil {
		return "", err
	}
	return name, identity.WriteFile(e.path(viewerLabel), []byte(l.String()+"\n"), 0o600)
}

// Between two attempts to connect.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 2 * time.Second
)

// watch watches a camera for the time that is asked for, from the first frame on, and asks anew where a connection fails. It gives up
// where that is of no use, and where no frame comes in time.
func (e environment) watch(ctx context.Context, v *viewer.Viewer, name string, f *frames) error {
	s := &show{frames: f, media: e.media, end: time.Now().Add(e.timeout)}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.once(ctx, v, name)
		var refused *viewer.Refusal
		switch {
		case ctx.Err() != nil:
			return nil
		case !time.Now().Before(s.end) && s.seen > 0:
			return nil
		case !time.Now().Before(s.end):
			return fmt.Errorf("no frame within %v: %w", e.timeout, s.why)
		case errors.As(err, &refused) && s.hopeless(refused.Code):
			return fmt.Errorf("no connection, %s: %w", refused.Code.String(), err)
		case err != nil && refused == nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		select {
		case <-time.After(min(pause, time.Until(s.end))):
		case <-ctx.Done():
			return nil
		}
	}
}

// show is what is seen of a camera.
type show struct {
	frames *frames
	media  time.Duration
	end    time.Time // of the wait for the first frame, then of the show
	seen   int
	why    error // the last connection failed
}

// once watches by one connection, until it fails or the time is over.
func (s *show) once(ctx context.Context, v *viewer.Viewer, name string) error {
	feed, err := v.Watch(name, viewer.WatchOptions{Once: true})
	if err != nil {
		return err
	}
	defer feed.Close()
	for {
		within, cancel := context.WithDeadline(ctx, s.end)
		x, err := feed.Next(within)
		cancel()
		if err != nil {
			if s.why == nil || !errors.Is(err, context.DeadlineExceeded) {
				s.why = err
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		now := time.Now()
		s.frames.note(x.Index, now, x.Data)
		if s.seen++; s.seen == 1 {
			s.end = now.Add(s.media)
		}
	}
}

// hopeless says whether asking again is of no use. Who has seen nothing yet is told at once that the camera is offline.
func (s *show) hopeless(c wire.Code) bool {
	return s.seen == 0 && c == wire.CodeUnavailable || slices.Contains([]wire.Code{
		wire.CodeNotPaired, wire.CodeClaimed, wire.CodeRevoked, wire.CodeReplaced, wire.CodeNotAllowed, wire.CodeVersion, wire.CodeProfile,
		wire.CodeAccount, wire.CodeAccountExpired, wire.CodeWrongKey,
	}, c)
}
