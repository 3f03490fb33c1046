package node

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

// An outbound is the headers that sendmmsg(2) wants for some packets. Packets of one size to one destination share a
// message, which the kernel or the device segments (UDP_SEGMENT): the last may be smaller. Those between them may go
// elsewhere, as at a relay of several streams; the order of packets to one destination is kept.
//
//	packets   A1200 B900 A1200 B900 A700 A1200      (destination, size)
//	messages  A{1200 1200 700} B{900 900} A{1200}
const (
	outboundLen  = 64  // messages
	outboundAll  = 256 // packets
	maxSegments  = 64  // of a message; UDP_MAX_SEGMENTS before Linux 6.9
	maxMessage   = 65_000
	searchWithin = 16 // messages back: a relay of more streams than that gains less
)

type outbound struct {
	msgs  [outboundLen]unix.Mmsghdr
	name  [outboundLen]unix.RawSockaddrInet6
	ctl   [outboundLen]control
	plans [outboundLen]plan
	iovs  [outboundAll]unix.Iovec
	of    [outboundAll]uint8 // packet's message
	n     int                // messages
}

// plan is what goes into a message.
type plan struct {
	first         int // packet
	count         int
	size          int // of each but the last
	bytes         int
	closed        bool
	start, filled int // iovs
}

var outbounds = sync.Pool{New: func() any { return new(outbound) }}

// written is what came of packets.
type written struct {
	core.Count
	calls, refused int64
	segmented      int64 // of the packets, those that shared a message
}

// write sends packets that leave by s, in order to each destination. A packet the kernel refuses is skipped.
func (s *socket) write(ps []core.Packet) (w written) {
	s.out = outbounds.Get().(*outbound)
	for len(ps) > 0 {
		k := s.out.group(ps, s.gso)
		s.out.fill(ps[:k], s.six)
		s.flush(ps[:k], &w)
		ps = ps[k:]
	}
	clear(s.out.iovs[:]) // let the packets go
	outbounds.Put(s.out)
	s.out = nil
	return w
}

// group plans messages for packets from the first on, and returns for how many there was room.
func (o *outbound) group(ps []core.Packet, gso bool) int {
	o.n = 0
	for i := range ps[:min(len(ps), outboundAll)] {
		m := -1
		if gso {
			m = o.join(ps, i)
		}
		if m < 0 {
			if o.n == outboundLen {
				return i
			}
			m = o.n
			o.n++
			size := len(ps[i].B)
			o.plans[m] = plan{first: i, size: size, closed: size == 0}
		}
		p := &o.plans[m]
		p.count++
		p.bytes += len(ps[i].B)
		o.of[i] = uint8(m)
	}
	return min(len(ps), outboundAll)
}

// join finds the message that packet i can be added to, or -1.
func (o *outbound) join(ps []core.Packet, i int) int {
	size := len(ps[i].B)
	for m := o.n - 1; m >= max(0, o.n-searchWithin); m-- {
		p := &o.plans[m]
		first := &ps[p.first]
		if first.To != ps[i].To {
			continue
		}
		if p.closed || first.TTL != ps[i].TTL || size == 0 || size > p.size || p.count == maxSegments || p.bytes+size > maxMessage {
			return -1 // nothing may overtake what is in a later one
		}
		p.closed = size < p.size
		return m
	}
	return -1
}

// fill writes the headers.
func (o *outbound) fill(ps []core.Packet, six bool) {
	start := 0
	for m := range o.plans[:o.n] {
		p := &o.plans[m]
		p.start, p.filled = start, 0
		start += p.count
	}
	for i := range ps {
		p := &o.plans[o.of[i]]
		v := &o.iovs[p.start+p.filled]
		v.Base = unsafe.SliceData(ps[i].B)
		v.SetLen(len(ps[i].B))
		p.filled++
	}
	for m := range o.plans[:o.n] {
		p := &o.plans[m]
		first := &ps[p.first]
		segment := 0
		if p.count > 1 {
			segment = p.size
		}
		o.header(m, first.To, first.TTL, segment, p.start, p.count, six)
	}
}

// header writes message m: the packets from iov start on.
func (o *outbound) header(m int, to netip.AddrPort, ttl uint8, segment, start, count int, six bool) {
	h := &o.msgs[m].Hdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&o.name[m])), Namelen: toRaw(&o.name[m], to, six), Iov: &o.iovs[start]}
	h.SetIovlen(count)
	ctl := 0
	if ttl != 0 {
		level, kind := int32(unix.IPPROTO_IP), int32(unix.IP_TTL)
		if !to.Addr().Is4() {
			level, kind = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT
		}
		*(*int32)(o.ctl[m].add(&ctl, level, kind, 4)) = int32(ttl)
	}
	if segment != 0 {
		*(*uint16)(o.ctl[m].add(&ctl, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)) = uint16(segment)
	}
	if ctl > 0 {
		h.Control = (*byte)(unsafe.Pointer(&o.ctl[m]))
		h.SetControllen(ctl)
	}
}

// add appends a control message at *at, and returns where its data go.
func (c *control) add(at *int, level, kind int32, length int) unsafe.Pointer {
	b := c.bytes()[*at:]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(length))
	*at += unix.CmsgSpace(length)
	return unsafe.Pointer(&b[unix.CmsgLen(0)])
}

// send tries the messages from and up to to, once, and as recv does unknown to the scheduler.
func (o *outbound) send(fd uintptr, from, to int) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.msgs[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// flush sends the messages that are planned.
func (s *socket) flush(ps []core.Packet, w *written) {
	for m := 0; m < s.out.n; {
		done, err := s.sendmmsg(m, s.out.n, w)
		for i := m; i < m+done; i++ {
			p := &s.out.plans[i]
			w.Packets += int64(p.count)
			w.Bytes += int64(p.bytes)
			if p.count > 1 {
				w.segmented += int64(p.count)
			}
		}
		if m += done; err == nil || m == s.out.n {
			continue
		}
		if p := s.out.plans[m]; p.count > 1 {
			s.singly(ps, m, p, err, w)
		} else {
			s.retry(m, 1, p.bytes, w)
		}
		m++
	}
}

// retry tries one message of one packet, more than once in all: what it fails with may have been left behind by an ICMP
// error, which the kernel reports at the next call, whatever that is for.
func (s *socket) retry(m, tries, size int, w *written) {
	for range tries {
		if done, err := s.sendmmsg(m, m+1, w); err == nil && done == 1 {
			w.Add(size)
			return
		}
	}
	w.refused++
}

// singly sends the packets of a message that could not be sent as one. The kernel or the device may be unable to segment
// (EIO: no checksum offload; EINVAL: no such option, or in older kernels larger than the MTU): then it is not asked again.
// Where these packets alone are larger than the MTU (EMSGSIZE), it is.
func (s *socket) singly(ps []core.Packet, m int, p plan, err error, w *written) {
	if err == unix.EIO || err == unix.EINVAL {
		s.gso = false
	}
	to, ttl := ps[p.first].To, ps[p.first].TTL
	for k := range p.count {
		s.out.header(m, to, ttl, 0, p.start+k, 1, s.six)
		s.retry(m, 2, int(s.out.iovs[p.start+k].Len), w)
	}
}

// sendmmsg sends messages; a full socket buffer is waited for, as for any UDP socket of Go.
func (s *socket) sendmmsg(from, to int, w *written) (int, error) {
	s.from, s.to, s.wrote, s.werrno = from, to, 0, 0
	w.calls++
	if err := s.raw.Write(s.tryWrite); err != nil {
		return 0, err
	}
	if s.werrno != 0 {
		return 0, s.werrno
	}
	return s.wrote, nil
}
