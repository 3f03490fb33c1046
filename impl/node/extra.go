package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// extra is a socket that is no UDP socket of the kernel's. Its WriteTo may take a round trip (a TURN client asks for a
// permission first), so that a goroutine writes what waits in a queue.
type extra struct {
	conn  net.PacketConn
	local netip.AddrPort
	queue chan *letter
	gone  chan struct{} // closed when its reader has ended
}

// letter is a packet that waits.
type letter struct {
	to netip.AddrPort
	b  []byte
}

const (
	extraQueue = 256
	// extraPause is how long reading pauses after an error, times the number of errors in a row up to maxPauses: an error
	// that stays must not become a busy loop, and none ends it but that the socket is closed.
	extraPause = 10 * time.Millisecond
	maxPauses  = 100
	extraAddrs = 256 // addresses kept in net's form
)

var letters = sync.Pool{New: func() any { return new(letter) }}

// newExtra checks and names a socket.
func (n *Node) newExtra(conn net.PacketConn) (*extra, error) {
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return nil, fmt.Errorf("socket %v: its local address must be an IP address and port: %w", conn.LocalAddr(), err)
	}
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	if n.socks[local] != nil || n.extra[local] != nil {
		return nil, fmt.Errorf("socket %v: another socket of the node has that address", local)
	}
	return &extra{conn: conn, local: local, queue: make(chan *letter, extraQueue), gone: make(chan struct{})}, nil
}

// Attach adds a socket to a node that runs, as Options.Extra does at the start, and returns its address for packets' From.
// The core may give it back by Output.Close.
func (n *Node) Attach(conn net.PacketConn) (netip.AddrPort, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return netip.AddrPort{}, fmt.Errorf("attach socket: %w", net.ErrClosed)
	}
	x, err := n.newExtra(conn)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("attach %w", err)
	}
	n.startExtra(x)
	return x.local, nil
}

func (n *Node) startExtra(x *extra) {
	n.extra[x.local] = x
	n.wg.Add(2)
	go n.readExtra(x)
	go n.writeExtra(x)
}

// detach closes a socket, which may take a round trip.
func (n *Node) detach(x *extra) {
	delete(n.extra, x.local)
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		_ = x.conn.Close()
	}()
}

// readExtra reads a socket until it is closed.
func (n *Node) readExtra(x *extra) {
	defer n.wg.Done()
	defer close(x.gone)
	b := make([]byte, room)
	for failed := 0; ; {
		k, addr, err := x.conn.ReadFrom(b)
		if err == nil {
			failed = 0
		} else {
			failed = min(failed+1, maxPauses)
		}
		if !n.fromExtra(x, b[:k], addr, err) {
			return
		}
		if failed > 0 && !n.waitFor(time.Duration(failed)*extraPause) {
			return
		}
	}
}

// fromExtra hands the core what was read, and says whether there is more to come.
func (n *Node) fromExtra(x *extra, b []byte, addr net.Addr, err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed || n.extra[x.local] != x || errors.Is(err, net.ErrClosed):
		return false
	case err != nil:
		n.stats.ReadErrors++
	case n.asleep:
		n.stats.Asleep++
	default:
		n.stats.Reads++
		now := n.opt.Now()
		if from := endpoint(addr); from.IsValid() {
			n.receive(now, from, x.local, b)
		}
		n.settle()
	}
	return true
}

// endpoint is a net.Addr as a core knows it.
func endpoint(addr net.Addr) netip.AddrPort {
	var a netip.AddrPort
	if u, ok := addr.(*net.UDPAddr); ok {
		a = u.AddrPort()
	} else if addr != nil {
		a, _ = netip.ParseAddrPort(addr.String())
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// waitFor waits for d, and says whether the node is still open.
func (n *Node) waitFor(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// leave queues a packet.
func (n *Node) leave(x *extra, p core.Packet) {
	l := letters.Get().(*letter)
	l.to, l.b = p.To, append(l.b[:0], p.B...)
	select {
	case x.queue <- l:
		n.stats.Sent.Add(len(p.B))
	default:
		letters.Put(l)
		n.stats.WriteErrors++
	}
}

// writeExtra writes what waits, until the socket is closed.
func (n *Node) writeExtra(x *extra) {
	defer n.wg.Done()
	addrs := map[netip.AddrPort]net.Addr{}
	for {
		var l *letter
		select {
		case l = <-x.queue:
		case <-x.gone:
			return
		}
		to := addrs[l.to]
		if to == nil {
			if len(addrs) == extraAddrs {
				clear(addrs)
			}
			to = net.UDPAddrFromAddrPort(l.to)
			addrs[l.to] = to
		}
		_, err := x.conn.WriteTo(l.b, to)
		letters.Put(l)
		if err != nil {
			n.mu.Lock()
			n.stats.WriteErrors++
			n.mu.Unlock()
		}
	}
}
