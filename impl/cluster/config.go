package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/impl/identity"
)

// Config describes a Node. Zero knobs take the defaults named.
type Config struct {
	Key  identity.Key // the servers' static key
	Name string       // of this node: letters, digits, "-" and "_", at most 32; no other node's
	// Endpoints are where other nodes reach this one's sockets by UDP, for relay frames; none: it relays for its own devices
	// alone.
	Endpoints []netip.AddrPort

	URL     string        // NATS servers, separated by commas
	Options []nats.Option // beside the node's own: a dialer, credentials, an in-process server
	// Memory keeps the buckets in the NATS servers' memory instead of their files, should they have to be made.
	Memory   bool
	Replicas int // of the buckets, should they have to be made; 0: 1

	Hello     time.Duration // between signs of life; 0: 1 s
	Dead      time.Duration // without a sign, after which a node is dead; 0: 3.5 × Hello
	Keepalive time.Duration // the devices': when a node has died, its cameras are told to be gone after as long; 0: 15 s
	Timeout   time.Duration // of a request to NATS; 0: 1 s

	Rand io.Reader    // cryptographically random; nil: crypto/rand
	Log  *slog.Logger // nil: none
	Now  func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Hello == 0 {
		c.Hello = time.Second
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Dead, c.Hello * 7 / 2}, {&c.Keepalive, 15 * time.Second}, {&c.Timeout, time.Second}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	c.Replicas = max(c.Replicas, 1)
	switch {
	case c.Key.IsZero():
		return c, errors.New("configure cluster: the static key is missing")
	case !nameable(c.Name):
		return c, fmt.Errorf("configure cluster: name %q: use 1 to 32 letters, digits, \"-\" and \"_\"", c.Name)
	case c.Dead <= c.Hello:
		return c, fmt.Errorf("configure cluster: dead after %v: use more than the %v between hellos", c.Dead, c.Hello)
	case c.Replicas > 5:
		return c, fmt.Errorf("configure cluster: %d replicas: NATS has five at most", c.Replicas)
	}
	return c, nil
}

// nameable says whether a name can be part of a subject.
func nameable(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}
