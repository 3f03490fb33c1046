package node

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An inbound is room for some messages and the headers that recvmmsg(2) wants. They are pooled: a socket holds some only
// while it reads. With GRO a message is many datagrams of one size from one sender, the last perhaps smaller.
const (
	inboundLen = 16
	drainLen   = 4       // of these at once
	room       = 2048    // larger datagrams are cut off, and then refused by whoever parses them; ours are below 1,500
	groRoom    = 1 << 16 // the most that the kernel coalesces
)

type inbound struct {
	n    int
	room int
	pool *sync.Pool
	msgs [inboundLen]unix.Mmsghdr
	iovs [inboundLen]unix.Iovec
	name [inboundLen]unix.RawSockaddrInet6 // holds the smaller RawSockaddrInet4 too
	ctl  [inboundLen]control
	bufs []byte // of room bytes each
}

// control is room for the control messages of one header, aligned as Cmsghdr: two of an int each.
type control [ctlRoom / 8]uint64

const ctlRoom = 64

func (c *control) bytes() []byte { return (*[ctlRoom]byte)(unsafe.Pointer(c))[:] }

var small, large sync.Pool

func init() {
	small.New = func() any { return &inbound{room: room, pool: &small, bufs: make([]byte, inboundLen*room)} }
	large.New = func() any { return &inbound{room: groRoom, pool: &large, bufs: make([]byte, inboundLen*groRoom)} }
}

// kept are large rooms that outlive collections: a pool is emptied by them, and a mebibyte made anew each time that packets come is
// what a flood would cost a process that is collected often.
var kept = make(chan *inbound, 4)

func takeInbound(gro bool) *inbound {
	if gro {
		select {
		case b := <-kept:
			return b
		default:
			return large.Get().(*inbound)
		}
	}
	return small.Get().(*inbound)
}

func (b *inbound) free() {
	if b.pool == &large {
		select {
		case kept <- b:
			return
		default:
		}
	}
	b.pool.Put(b)
}

// read waits for packets or the deadline. What was read is in s.in until release.
func (s *socket) read() error {
	s.errno = 0
	if err := s.raw.Read(s.tryRead); err != nil {
		return err
	}
	if s.errno != 0 && s.errno != unix.EAGAIN && s.errno != unix.EINTR {
		return s.errno
	}
	return nil
}

// drain reads what has come, in more rooms than one only if it fills them: what is handed to the core together is also sent
// together, in fewer and larger messages. None is held while waiting.
func (s *socket) drain(fd uintptr) syscall.Errno {
	for s.held < len(s.in) {
		b := takeInbound(s.gro)
		if errno := b.recv(fd); errno != 0 {
			b.free()
			return errno
		}
		s.in[s.held] = b
		s.held++
		if b.n < inboundLen {
			break
		}
	}
	return 0
}

// release gives back what was read.
func (s *socket) release() {
	for i := range s.held {
		s.in[i].free()
		s.in[i] = nil
	}
	s.held = 0
}

// recv reads once, without waiting. So the scheduler need not know of the call: telling it would wake the runtime's monitor
// thread after each idle while, which takes longer than relaying a packet does.
func (b *inbound) recv(fd uintptr) syscall.Errno {
	for i := range b.msgs {
		b.iovs[i].Base = &b.bufs[i*b.room]
		b.iovs[i].SetLen(b.room)
		h := &b.msgs[i].Hdr
		*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.name[i])), Namelen: uint32(unsafe.Sizeof(b.name[i])), Iov: &b.iovs[i]}
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&b.ctl[i]))
		h.SetControllen(ctlRoom)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[0])), inboundLen, unix.MSG_DONTWAIT, 0, 0)
	if b.n = int(n); errno != 0 {
		b.n = 0
	}
	return errno
}

// packets is how many packets there are.
func (b *inbound) packets() (n int64) {
	for i := range b.n {
		_, p, size := b.message(i)
		n += int64(max(1, (len(p)+size-1)/size))
	}
	return n
}

// message is the i-th message read, its sender, and the size of all its packets but the last.
func (b *inbound) message(i int) (from netip.AddrPort, p []byte, size int) {
	n := min(int(b.msgs[i].Len), b.room)
	p = b.bufs[i*b.room : i*b.room+n : i*b.room+n]
	if size = b.segment(i); size == 0 {
		size = max(n, 1)
	}
	return fromRaw(&b.name[i]), p, size
}

// segment is the size that UDP_GRO names, or zero.
func (b *inbound) segment(i int) int {
	ctl := b.ctl[i].bytes()[:min(int(b.msgs[i].Hdr.Controllen), ctlRoom)]
	for len(ctl) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&ctl[0]))
		l := int(h.Len)
		if l < unix.SizeofCmsghdr || l > len(ctl) {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && l >= unix.CmsgLen(4) {
			return int(*(*int32)(unsafe.Pointer(&ctl[unix.CmsgLen(0)])))
		}
		ctl = ctl[min(unix.CmsgSpace(l-unix.CmsgLen(0)), len(ctl)):]
	}
	return 0
}

func fromRaw(r *unix.RawSockaddrInet6) netip.AddrPort {
	switch r.Family {
	case unix.AF_INET:
		r4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(r))
		return netip.AddrPortFrom(netip.AddrFrom4(r4.Addr), ntohs(r4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(r.Addr).Unmap(), ntohs(r.Port))
	}
	return netip.AddrPort{}
}

func toRaw(r *unix.RawSockaddrInet6, to netip.AddrPort, six bool) (length uint32) {
	if !six && to.Addr().Is4() {
		r4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(r))
		*r4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: ntohs(to.Port()), Addr: to.Addr().As4()}
		return uint32(unsafe.Sizeof(*r4))
	}
	*r = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: ntohs(to.Port()), Addr: to.Addr().As16()}
	return uint32(unsafe.Sizeof(*r))
}

// ntohs swaps between host and network order, whichever the host's is.
func ntohs(p uint16) uint16 {
	b := [2]byte{byte(p >> 8), byte(p)}
	return *(*uint16)(unsafe.Pointer(&b))
}
