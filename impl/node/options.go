package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Options are what a driver can be told.
type Options struct {
	// Observe is given each event of the core, in order, on the goroutine that drives the core: it must not block and
	// must not call the Node.
	Observe func(event any)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// ReadBuffer is the size asked of the kernel for each socket's receive buffer, in bytes; zero: 1 MiB.
	ReadBuffer int

	// Listen opens a UDP socket for a core that asks for one, on a port of the host's choice; nil: the core is told that
	// there are none.
	Listen func() (*net.UDPConn, error)
	// MaxSockets bounds the sockets open for the core at a time; zero: 1,024.
	MaxSockets int
	// Extra are sockets beside the UDP ones that are no *net.UDPConn, such as an allocation on a TURN server. A packet leaves
	// by one whose From is its LocalAddr. Writing may block: packets then wait, bounded.
	Extra []net.PacketConn

	// Dial opens a TCP connection from local. That is zero, meaning any, unless the node accepts TCP streams: then it is the
	// listener's port, which several sockets share (SO_REUSEADDR and SO_REUSEPORT, as DialTCP and ListenTCP set them), so
	// that the two sides of a simultaneous open meet. nil: packets to streams that do not stand are dropped and counted.
	Dial func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error)
	// DialTimeout ends what Dial, a TLS handshake and an accepted stream's first frame take; zero: 10 s.
	DialTimeout time.Duration
	// Accept are listeners for streams; the Node closes them.
	Accept []Listener
	// MaxStreams bounds the streams dialled and, apart from those, the streams accepted at a time; MaxStreamsEach those accepted
	// from one IP address. Zero: 4,096 and 256.
	MaxStreams, MaxStreamsEach int
	// Certificate is for TLS listeners; nil: one is made and signed by itself. Nobody verifies it: Noise inside the stream
	// authenticates both sides.
	Certificate *tls.Certificate

	// NoOffload leaves out UDP generic segmentation and receive offload (GSO, GRO).
	NoOffload bool
}

// Listener accepts streams of a protocol: core.TCP, or core.TLS over the TCP connections that it accepts.
type Listener struct {
	net.Listener
	Proto core.Proto
}

// Stats counts what happened at the sockets.
type Stats struct {
	Received, Sent   core.Count
	Reads, Writes    int64 // system calls that moved packets
	ReadErrors       int64
	WriteErrors      int64 // packets the kernel refused
	Unroutable       int64 // packets whose From is none of the sockets
	LargestReadBatch int

	Opened, Refused      int64 // sockets that the core asked for
	Coalesced, Segmented int64 // packets received by GRO and sent by GSO
	Dialled, Accepted    int64 // streams that came to stand
	DialErrors           int64
	StreamErrors         int64 // streams that broke
	StreamDrops          int64 // packets to a stream that is backlogged, or could not be dialled
	Streams              int   // now
	Asleep               int64 // packets that came while suspended, which a host that sleeps does not get
}

// withDefaults fills in what was left out, and finds what cannot be.
func (o Options) withDefaults() (Options, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, d := range []struct {
		v    *int
		zero int
	}{{&o.ReadBuffer, 1 << 20}, {&o.MaxSockets, 1024}, {&o.MaxStreams, 4096}, {&o.MaxStreamsEach, 256}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 10 * time.Second
	}
	for _, l := range o.Accept {
		if l.Listener == nil || l.Proto != core.TCP && l.Proto != core.TLS {
			return o, errors.New("start node: Accept holds a listener without a protocol; use core.TCP or core.TLS")
		}
		if l.Proto == core.TLS && o.Certificate == nil {
			c, err := selfSigned()
			if err != nil {
				return o, err
			}
			o.Certificate = &c
		}
	}
	return o, nil
}
