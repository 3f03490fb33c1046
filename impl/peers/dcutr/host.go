package main

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// The roles' numbers, which their keys are made from.
const (
	relayRole = iota + 1
	cameraRole
	viewerRole
)

// documentation are networks for documentation and measurement, which stand for the internet in the lab. The library
// offers no such address for hole punching.
var documentation = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8::/32"),
}

// trustDocumentation has the library take those networks for public.
func trustDocumentation() {
	known := func(n *net.IPNet) bool {
		a, ok := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		return ok && slices.Contains(documentation, netip.PrefixFrom(a.Unmap(), ones))
	}
	manet.Unroutable4 = slices.DeleteFunc(manet.Unroutable4, known)
	manet.Unroutable6 = slices.DeleteFunc(manet.Unroutable6, known)
}

// keyOf is a role's key: a lab's secrets are nobody's.
func keyOf(seed uint64, role int) (crypto.PrivKey, peer.ID, error) {
	var s [32]byte
	binary.BigEndian.PutUint64(s[:], seed)
	s[8] = byte(role)
	private := ed25519.NewKeyFromSeed(s[:])
	key, _, err := crypto.KeyPairFromStdKey(&private)
	if err != nil {
		return nil, "", fmt.Errorf("make key: %w", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	return key, id, err
}

// newHost makes a role's host, on a port for UDP and TCP; 0 is any.
func newHost(c config, role int, port uint, more ...libp2p.Option) (host.Host, error) {
	trustDocumentation()
	key, _, err := keyOf(c.seed, role)
	if err != nil {
		return nil, err
	}
	var listen []string
	for _, ip := range []string{"/ip4/0.0.0.0", "/ip6/::"} {
		listen = append(listen, fmt.Sprintf("%s/udp/%d/quic-v1", ip, port), fmt.Sprintf("%s/tcp/%d", ip, port))
	}
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Identity(key), libp2p.ListenAddrStrings(listen...), libp2p.DisableMetrics(),
		libp2p.Transport(libp2pquic.NewTransport), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.QUICReuse(quicreuse.NewConnManager),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	return h, nil
}

// relayInfo says where the relay is.
func (c config) relayInfo() (peer.AddrInfo, error) {
	_, id, err := keyOf(c.seed, relayRole)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	info := peer.AddrInfo{ID: id}
	for _, a := range c.relay {
		family := "ip4"
		if a.Is6() {
			family = "ip6"
		}
		for _, transport := range []string{"udp/%d/quic-v1", "tcp/%d"} {
			m, err := ma.NewMultiaddr(fmt.Sprintf("/%s/%s/"+transport, family, a, c.port))
			if err != nil {
				return info, fmt.Errorf("address of the relay: %w", err)
			}
			info.Addrs = append(info.Addrs, m)
		}
	}
	return info, nil
}

// throughRelay is the camera's address by the relay.
func (c config) throughRelay() (peer.AddrInfo, error) {
	relay, err := c.relayInfo()
	if err != nil {
		return relay, err
	}
	_, camera, err := keyOf(c.seed, cameraRole)
	if err != nil {
		return relay, err
	}
	info := peer.AddrInfo{ID: camera}
	for _, a := range relay.Addrs {
		circuit, err := ma.NewMultiaddr("/p2p/" + relay.ID.String() + "/p2p-circuit")
		if err != nil {
			return info, fmt.Errorf("address by the relay: %w", err)
		}
		info.Addrs = append(info.Addrs, a.Encapsulate(circuit))
	}
	return info, nil
}

// isRelayed reports whether an address goes through a relay.
func isRelayed(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// pathOf is what a connection is called in the lines.
func pathOf(remote ma.Multiaddr) string {
	if isRelayed(remote) {
		return "relayed"
	}
	return "direct"
}
