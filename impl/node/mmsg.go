package node

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

// A batch is room for some datagrams and the headers recvmmsg(2) and sendmmsg(2) want. Batches are pooled: a socket
// holds one only while it reads or writes.
const (
	batchLen = 16
	room     = 2048 // larger datagrams are cut off, and then refused by whoever parses them; ours are below 1,500
)

type batch struct {
	n    int
	msgs [batchLen]unix.Mmsghdr
	iovs [batchLen]unix.Iovec
	name [batchLen]unix.RawSockaddrInet6 // holds the smaller RawSockaddrInet4 too
	bufs [batchLen][room]byte            // not used for sending
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) free() {
	if b != nil {
		batches.Put(b)
	}
}

// read waits for packets or the deadline. The batch is nil where nothing was read.
func (s *socket) read() (b *batch, err error) {
	var errno unix.Errno
	rerr := s.raw.Read(func(fd uintptr) bool {
		b = batches.Get().(*batch)
		b.n, errno = b.recv(fd)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			b.free()
			b = nil
			return false
		}
		return true
	})
	if rerr != nil {
		return b, rerr
	}
	if errno != 0 {
		return b, errno
	}
	return b, nil
}

func (b *batch) recv(fd uintptr) (int, unix.Errno) {
	for i := range b.msgs {
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(room)
		h := &b.msgs[i].Hdr
		*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.name[i])), Namelen: uint32(unsafe.Sizeof(b.name[i])), Iov: &b.iovs[i]}
		h.SetIovlen(1)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[0])), batchLen, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// packet is the i-th datagram read and its sender.
func (b *batch) packet(i int) (netip.AddrPort, []byte) {
	return fromRaw(&b.name[i]), b.bufs[i][:min(b.msgs[i].Len, room)]
}

// write sends packets that leave by s, in order. A packet the kernel refuses is skipped.
func (s *socket) write(ps []core.Packet) (sent core.Count, calls, refused int64) {
	b := batches.Get().(*batch)
	defer b.free()
	for len(ps) > 0 {
		n := min(len(ps), batchLen)
		for i, p := range ps[:n] {
			b.iovs[i].Base = unsafe.SliceData(p.B)
			b.iovs[i].SetLen(len(p.B))
			h := &b.msgs[i].Hdr
			*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.name[i])), Namelen: toRaw(&b.name[i], p.To, s.six), Iov: &b.iovs[i]}
			h.SetIovlen(1)
		}
		done, err := s.sendmmsg(b, n)
		calls++
		for _, p := range ps[:done] {
			sent.Add(len(p.B))
		}
		if err != nil && done == 0 {
			refused++
			done = 1
		}
		ps = ps[done:]
	}
	for i := range b.iovs {
		b.iovs[i].Base = nil // let the packets go
	}
	return sent, calls, refused
}

// sendmmsg sends the first n messages of b; a full socket buffer is waited for, as for any UDP socket of Go.
func (s *socket) sendmmsg(b *batch, n int) (done int, err error) {
	var errno syscall.Errno
	werr := s.raw.Write(func(fd uintptr) bool {
		r, _, e := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		done, errno = int(r), e
		return e != unix.EAGAIN && e != unix.EINTR
	})
	if werr != nil {
		return 0, werr
	}
	if errno != 0 {
		return 0, errno
	}
	return done, nil
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
