package main

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
)

// runRelay serves until ctx ends.
func runRelay(ctx context.Context, c config) error {
	h, err := newHost(c, relayRole, c.port, libp2p.ForceReachabilityPublic())
	if err != nil {
		return err
	}
	defer h.Close()
	r, err := relay.New(h, relay.WithInfiniteLimits())
	if err != nil {
		return fmt.Errorf("start relay service: %w", err)
	}
	defer r.Close()
	say("ready", "peer", h.ID())
	<-ctx.Done()
	return nil
}
