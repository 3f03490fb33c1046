package adapter

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	core "github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/program/camera"
	"github.com/punchlab/punchlab/impl/source"
)

const (
	// keepalive is between two pings of an idle camera, × 0.8 to 1: 15 s at least (RFC 8085 §3.5), and more than one within the 30 s
	// after which many NATs forget.
	keepalive = 20 * time.Second
	// mainPort is the camera's, UDP and TCP, as it leaves the factory; any other where that is taken.
	mainPort = 4477
	// fps is the contract's rate of the source.
	fps = 30
	// rendezvousName stands in labels for the lab's rendezvous.
	rendezvousName = "RENDEZVOUS.PUNCHLAB.EXAMPLE"
)

// unit is a camera that runs.
type unit struct {
	env    environment
	log    *slog.Logger
	frames *frames
	failed chan error // it runs no longer

	busy   sync.Mutex // one action at a time
	handle *camera.Handle
}

// camera runs one until the context ends.
func (e environment) camera(ctx context.Context, log *slog.Logger) (err error) {
	switch {
	case e.source == "":
		return errors.New("PUNCHLAB_SOURCE names no file: there is nothing to send")
	case len(e.rendezvous) == 0:
		return errors.New("PUNCHLAB_RENDEZVOUS names no address: there is nowhere to register")
	}
	hosts := []string{net.JoinHostPort(rendezvousName, strconv.Itoa(camera.Port))}
	if err := camera.New(e.state, RendezvousKey().Public(), hosts, rand.Reader); err != nil {
		return err
	}
	u := &unit{env: e, log: log, failed: make(chan error, 1)}
	if u.frames, err = e.openFrames(); err != nil {
		return err
	}
	up, err := u.start(ctx)
	if err == nil {
		err = u.live(ctx, up)
	}
	return errors.Join(err, u.frames.close())
}

// live serves viewers, and those who ask for actions.
func (u *unit) live(ctx context.Context, up <-chan struct{}) error {
	l, err := u.listen()
	if err != nil {
		return errors.Join(err, u.close())
	}
	defer l.Close()
	var calls sync.WaitGroup
	calls.Go(func() { u.answer(ctx, l) })
	for waiting := true; waiting; {
		select {
		case <-up:
			up = nil
			if err = u.env.put(readyFile, nil); err != nil {
				waiting = false
			}
		case err = <-u.failed:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	_ = l.Close()
	calls.Wait()
	return errors.Join(err, u.close())
}

func (u *unit) close() error {
	u.busy.Lock()
	defer u.busy.Unlock()
	return u.handle.Close()
}

// start starts the camera, and says what it is. The channel is closed once it is registered and has found out how its NAT behaves.
func (u *unit) start(ctx context.Context) (<-chan struct{}, error) {
	e := u.env
	port := filepath.Join(e.state, camera.PortFile)
	if _, err := os.Stat(port); err != nil {
		if err := identity.WriteFile(port, []byte(strconv.Itoa(mainPort)+"\n"), 0o644); err != nil {
			return nil, err
		}
	}
	up := make(chan struct{})
	var once sync.Once
	h, err := camera.Start(ctx, camera.Options{
		Dir: e.state, Resolve: e.resolve, Input: e.source, Source: source.Config{FPS: fps}, Keepalive: keepalive, NoMap: e.alone(), Log: u.log,
		Sent: func(now time.Time, _ identity.UID, au media.AccessUnit) { u.frames.note(au.Index, now, au.Data) },
		Observe: func(event any) {
			if _, ready := event.(core.Ready); ready {
				once.Do(func() { close(up) })
			}
		},
	})
	if err != nil {
		return nil, err
	}
	u.handle = h
	if err := e.putCamera(h.Label()); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return up, nil
}

// alone says whether the host is in no network: then there is no router that could map ports.
func (e environment) alone() bool {
	return !slices.ContainsFunc(e.addrs, func(a netip.Addr) bool { return !a.IsLoopback() })
}

// resolve finds a rendezvous, whatever its name. One address of it: several would be taken for several servers.
func (e environment) resolve(context.Context, string) ([]netip.Addr, error) {
	if len(e.rendezvous) == 0 {
		return nil, errors.New("PUNCHLAB_RENDEZVOUS names no address")
	}
	return e.rendezvous[:1], nil
}

// do does what somebody at the camera asks for, and returns the label where that is another one now.
func (u *unit) do(ctx context.Context, action string) (label string, err error) {
	u.busy.Lock()
	defer u.busy.Unlock()
	switch action {
	case "privacy-on", "privacy-off":
		return "", u.handle.SetPrivacy(action == "privacy-on")
	case "reset", "transfer":
		return u.forget(ctx)
	}
	return "", unsupportedf("the camera cannot %q", action)
}

// forget makes the camera one that has never had an owner. Its label gets another secret, since who has had it knows the one before:
// the new one is for the next owner alone, as if the camera showed it on a display. What it is called by stays.
func (u *unit) forget(ctx context.Context) (string, error) {
	err := u.handle.Close()
	if err == nil {
		_, err = camera.Relabel(u.env.state, rand.Reader)
	}
	if err == nil {
		err = camera.Reset(u.env.state)
	}
	up, startErr := u.start(ctx)
	if startErr != nil {
		u.failed <- fmt.Errorf("start again: %w", startErr)
		return "", errors.Join(err, startErr)
	}
	select {
	case <-up:
	case <-ctx.Done():
	case <-time.After(u.env.timeout / 2): // it is reset all the same, and goes on asking the rendezvous
	}
	return u.handle.Label().String(), err
}
