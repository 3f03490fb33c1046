package node

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// stream carries datagrams over a connection, each after its length in 16 bits (RFC 4571 §2).
//
//	 0                   1
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 …
//	+-------------------------------+---------------
//	|            LENGTH             | packet …
//	+-------------------------------+---------------
//
// It begins with the first packet to its endpoint, which waits while the connection is made, or with a connection that
// was accepted. Where both happen, the two are one: of two sides that dial each other, one side's SYN may reach the
// other's listener, whose own connect then has no pair of endpoints left.
//
//	first packet ─► dialling ──connected──► stands ──broken, idle, not needed──► gone; the next packet dials again
//	                 │    └─────────accepted──▲ ▲
//	                 └─failed─► gone            └─accepted
type stream struct {
	key      netip.AddrPort     // the remote endpoint
	accepted netip.Addr         // whose guest it is; the zero Addr: ours
	cancel   context.CancelFunc // ends dialling; nil where nobody does

	mu     sync.Mutex // taken after the Node's
	change sync.Cond
	conn   net.Conn // nil: not yet
	queue  []byte   // frames to be written
	frames int
	paused bool
	ending bool // the writer closes the connection when the queue is empty
	dead   bool // broken: nothing is written any more
}

const (
	lengthSize = 2
	// What waits at most: while a connection is made, and when it is backlogged. A quarter of a MiB is about two key frames.
	maxWaiting = 64 // packets
	maxBacklog = 1 << 18
	// maxFrame is as for datagrams: a larger one ends the stream.
	maxFrame = room
	// readRoom is for what a stream has read: a TLS record.
	readRoom = 1 << 14
	// streamIdle is for the next frame, all of it. Devices ping more often.
	streamIdle = 5 * time.Minute
	// writeTimeout is how long a connection may take nothing before it is given up, and flushTimeout when the node is closed.
	writeTimeout = 10 * time.Second
	flushTimeout = 250 * time.Millisecond
)

func newStream(key netip.AddrPort) *stream {
	s := &stream{key: key}
	s.change.L = &s.mu
	return s
}

// stream sends a packet by its stream, and begins one where there is none.
func (n *Node) stream(p core.Packet) {
	s := n.streams[p.To]
	if s == nil {
		if s = n.dialStream(p.To); s == nil {
			n.stats.StreamDrops++
			return
		}
	}
	if !s.push(p.B) {
		n.stats.StreamDrops++
		return
	}
	n.stats.Sent.Add(len(p.B))
}

// push queues a packet, if there is room.
func (s *stream) push(b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead || len(b) > maxFrame || s.conn == nil && s.frames == maxWaiting || len(s.queue)+lengthSize+len(b) > maxBacklog {
		return false
	}
	s.queue = binary.BigEndian.AppendUint16(s.queue, uint16(len(b)))
	s.queue = append(s.queue, b...)
	s.frames++
	s.change.Signal()
	return true
}

// stand gives a stream its connection.
func (s *stream) stand(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	s.change.Signal()
}

func (s *stream) pause(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	s.change.Signal()
}

// finish has the stream end when what is queued was written, soon.
func (s *stream) finish() {
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending, s.paused = true, false
	if s.conn != nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(flushTimeout))
	}
	s.change.Signal()
}

// kill ends the stream now, and returns how many packets were not written.
func (s *stream) kill() (lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost, s.frames = s.frames, 0
	s.dead, s.queue = true, nil
	switch c := s.conn.(type) {
	case nil:
	case *tls.Conn:
		_ = c.NetConn().Close() // without the alert of its own Close, which would wait for room
	default:
		_ = c.Close()
	}
	s.change.Signal()
	return lost
}

// next waits for frames to write, in exchange for a buffer that is done with. It returns none at the end.
func (s *stream) next(done []byte) ([]byte, net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.dead && (s.paused || len(s.queue) == 0 && !s.ending) {
		s.change.Wait()
	}
	if s.dead || len(s.queue) == 0 {
		return nil, s.conn
	}
	frames := s.queue
	s.queue, s.frames = done[:0], 0
	most := writeTimeout
	if s.ending { // from now, however late this goroutine is: what waits would be lost unwritten
		most = flushTimeout
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(most))
	return frames, s.conn
}

// carry begins to read and write a stream that stands; the node's lock is held. The first frame is to come within idle.
func (n *Node) carry(s *stream, conn net.Conn, idle time.Duration) {
	s.stand(conn)
	s.pause(n.asleep)
	n.wg.Add(2)
	go n.writeStream(s)
	go n.readStream(s, conn, idle)
}

// writeStream writes what is queued.
func (n *Node) writeStream(s *stream) {
	defer n.wg.Done()
	var frames []byte
	for {
		var conn net.Conn
		frames, conn = s.next(frames)
		if frames == nil {
			_ = conn.Close()
			return
		}
		if _, err := conn.Write(frames); err != nil {
			n.broken(s, err)
			return
		}
	}
}

// broken forgets a stream that failed, or that the other side has ended.
func (n *Node) broken(s *stream, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.StreamDrops += int64(s.kill())
	if n.forget(s) && !n.closed && err != io.EOF {
		n.stats.StreamErrors++
	}
}

// forget removes a stream, and says whether it was there.
func (n *Node) forget(s *stream) bool {
	if n.streams[s.key] != s {
		return false
	}
	delete(n.streams, s.key)
	if s.accepted.IsValid() {
		n.farewell(s.accepted)
	} else {
		n.ndialled--
	}
	return true
}

// readStream hands the core what comes by a stream.
func (n *Node) readStream(s *stream, conn net.Conn, idle time.Duration) {
	defer n.wg.Done()
	to := core.Over(protoOf(s.key), endpoint(conn.LocalAddr()))
	b, have := make([]byte, readRoom), 0
	_ = conn.SetReadDeadline(time.Now().Add(idle)) // fails only when closed
	for {
		k, err := conn.Read(b[have:])
		have += k
		used, ok := n.frames(s, to, b[:have])
		if used > 0 { // not for a byte now and then: who never completes a frame does not keep his place
			_ = conn.SetReadDeadline(time.Now().Add(streamIdle))
		}
		if err != nil || !ok {
			n.broken(s, err)
			return
		}
		have = copy(b, b[used:have])
	}
}

// frames hands the core the frames that are complete, and returns their length, and whether the stream goes on.
func (n *Node) frames(s *stream, to netip.AddrPort, b []byte) (used int, ok bool) {
	if _, whole := cut(b); !whole {
		return 0, len(b) < lengthSize || int(binary.BigEndian.Uint16(b)) <= maxFrame
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.awake() || n.streams[s.key] != s {
		return 0, false
	}
	now := n.opt.Now()
	n.stats.Reads++
	for {
		p, whole := cut(b[used:])
		if !whole {
			break
		}
		if len(p) > maxFrame {
			return used, false
		}
		n.receive(now, s.key, to, p)
		used += lengthSize + len(p)
	}
	n.advance(now)
	n.settle()
	return used, true
}

// cut is the first frame's packet, if all of it is there.
func cut(b []byte) (p []byte, whole bool) {
	if len(b) < lengthSize {
		return nil, false
	}
	end := lengthSize + int(binary.BigEndian.Uint16(b))
	if len(b) < end {
		return nil, false
	}
	return b[lengthSize:end:end], true
}

func protoOf(a netip.AddrPort) core.Proto {
	p, _ := core.ProtoOf(a)
	return p
}
