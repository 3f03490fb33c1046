package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/impl/cluster"
)

// Embedded is Options.NATS for a NATS server in this process.
const Embedded = "embedded"

// join makes this server's node, and the NATS server that it brings along, if any.
func (h *Handle) join() (err error) {
	o := h.opt
	if o.NATS == "" {
		return nil
	}
	c := cluster.Config{
		Key: o.Key, Name: o.Cluster.Name, Endpoints: o.Cluster.Advertise, URL: o.NATS, Replicas: o.replicas(), Log: o.Log, Rand: o.Rand,
		Keepalive: o.Limits.Keepalive,
	}
	if c.Name == "" {
		c.Name = o.nodeName()
	}
	if len(c.Endpoints) == 0 {
		for _, a := range o.Addrs {
			c.Endpoints = append(c.Endpoints, netip.AddrPortFrom(o.public(a), o.Port))
		}
	}
	if o.NATS == Embedded {
		dir := o.Cluster.Dir
		if dir == "" && o.Database != "" {
			dir = filepath.Join(filepath.Dir(o.Database), "nats")
		}
		if dir != "" {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("start rendezvous: %w", err)
			}
		}
		h.nats, err = cluster.Embed(cluster.ServerConfig{
			Key: o.Key, Name: c.Name, Dir: dir, Listen: o.Cluster.Listen, Routes: o.Cluster.Routes, Peers: o.Cluster.Peers, Log: o.Log,
		})
		if err != nil {
			return err
		}
		c.URL, c.Options = h.nats.Connect()
		c.Memory = dir == ""
	} else if c.Options, err = o.external(); err != nil {
		return err
	}
	if h.cluster, err = cluster.New(c); err != nil {
		return errors.Join(err, h.closeNATS())
	}
	return nil
}

func (h *Handle) closeNATS() error {
	if h.nats == nil {
		return nil
	}
	return h.nats.Close()
}

// external is how a NATS server is reached that is not this process': through the network, where that is somebody else's.
func (o Options) external() (opts []nats.Option, err error) {
	if o.Network.DialContext != nil {
		opts = append(opts, nats.SetCustomDialer(dialer{o.Network.DialContext}))
	}
	switch {
	case o.Cluster.Credentials != "":
		if _, err := os.Stat(o.Cluster.Credentials); err != nil {
			return nil, fmt.Errorf("start rendezvous: NATS credentials: %w", err)
		}
		opts = append(opts, nats.UserCredentials(o.Cluster.Credentials))
	case !strings.Contains(o.NATS, "@"): // another node's embedded server lets in who has the key; others take no notice
		login, err := cluster.Credentials(o.Key)
		if err != nil {
			return nil, err
		}
		opts = append(opts, login)
	}
	return opts, nil
}

// dialer is a network's DialContext as nats.go wants it.
type dialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const dialTimeout = 2 * time.Second

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

// nodeName names the node by its first address, which no other node has.
func (o Options) nodeName() string {
	at := netip.AddrPortFrom(o.public(o.Addrs[0]), o.Port)
	if at.Addr().Is4() {
		return strings.NewReplacer(".", "-", ":", "-").Replace(at.String())
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(at.String())) // never fails
	return fmt.Sprintf("node-%016x", h.Sum64())
}

// replicas is how many NATS servers keep what is shared: three, where there are as many embedded ones.
func (o Options) replicas() int {
	if o.Cluster.Replicas == 0 && o.NATS == Embedded && len(o.Cluster.Peers) >= 2 {
		return 3
	}
	return o.Cluster.Replicas
}

// Joined waits until the server shares what it knows with the other nodes. Without NATS it returns at once. An embedded NATS
// server with Peers is of use once most of them are there.
func (h *Handle) Joined(ctx context.Context) error {
	for h.cluster != nil {
		st := h.cluster.Health()
		if st.Connected {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("join cluster: %w: %s", ctx.Err(), st.Why)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
