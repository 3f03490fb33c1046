package adapter

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	core "github.com/punchlab/punchlab/impl/rendezvous"

	"github.com/punchlab/punchlab/impl/program/rendezvous"
)

// drainTime is how long relays may go on when the server is told to end.
const drainTime = 300 * time.Millisecond

// serve runs the rendezvous, which relays too, until the context ends.
func (e environment) serve(ctx context.Context, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := rendezvous.Run(ctx, rendezvous.Options{
		Key: RendezvousKey(), Addrs: e.listenAt(), TLS: rendezvous.TLS, Database: filepath.Join(e.state, "rendezvous.db"),
		Limits: core.Config{Keepalive: keepalive}, Drain: drainTime, Log: log,
		Ready: func(*rendezvous.Handle) {
			if err := e.put(readyFile, nil); err != nil {
				cancel(err)
			}
		},
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return err
}

// listenAt lists two of the host's addresses of each family: as many as devices need to learn how their NATs behave.
func (e environment) listenAt() (at []netip.Addr) {
	var each [2]int
	for _, a := range e.addrs {
		family := 0
		if a.Is6() {
			family = 1
		}
		if each[family]++; each[family] <= 2 {
			at = append(at, a)
		}
	}
	return at
}

// relay is a host that the bundled protocol has no use for, since the rendezvous relays: ready at once, it listens to nobody.
func (e environment) relay(ctx context.Context, log *slog.Logger) error {
	log.Info("the rendezvous relays: nothing to do here")
	if err := e.put(readyFile, nil); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
