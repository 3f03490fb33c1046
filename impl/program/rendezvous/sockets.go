package rendezvous

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/node"
)

// sockets are what a server listens on.
type sockets struct {
	udp     []*net.UDPConn
	streams []node.Listener
}

func (s *sockets) close() error {
	var errs []error
	for _, c := range s.udp {
		errs = append(errs, c.Close())
	}
	for _, l := range s.streams {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// listen opens one UDP socket for each address and port, since an answer must leave from where the question came in, and
// listeners for streams.
func (o Options) listen() (s sockets, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, addrs := range o.families() {
		for i, a := range addrs {
			ports := []uint16{o.Port}
			if len(addrs) > 1 && i < 2 {
				ports = append(ports, o.Second)
			}
			for _, port := range ports {
				c, err := o.Network.ListenUDP(netip.AddrPortFrom(a, port))
				if err != nil {
					return s, fmt.Errorf("start rendezvous: listen by UDP at %v: %w%s", netip.AddrPortFrom(a, port), err, remedy(err))
				}
				s.udp = append(s.udp, c)
			}
			if err := o.listenStreams(a, &s); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func (o Options) listenStreams(a netip.Addr, s *sockets) error {
	for _, l := range []struct {
		proto core.Proto
		port  uint16
	}{{core.TCP, o.Port}, {core.TLS, o.TLS}} {
		if l.port == 0 {
			continue
		}
		at := netip.AddrPortFrom(a, l.port)
		listener, err := o.Network.ListenTCP(at)
		switch {
		case err == nil:
			s.streams = append(s.streams, node.Listener{Listener: listener, Proto: l.proto})
		case o.NeedStreams:
			return fmt.Errorf("start rendezvous: listen by %v at %v: %w%s", l.proto, at, err, remedy(err))
		default:
			o.Log.Warn("cannot listen for networks without UDP", "protocol", l.proto.String(), "address", at.String(), "error", err.Error()+remedy(err))
		}
	}
	return nil
}

// remedy says what to do about a socket that cannot be had.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return ": another program has this port, perhaps another rendezvous: end it, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ": this host does not have that address: name one of its own"
	case errors.Is(err, syscall.EACCES):
		return ": ports below 1024 need CAP_NET_BIND_SERVICE: choose another, or none"
	}
	return ""
}
