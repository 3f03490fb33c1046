// Package sniff sees what passes a device of the kernel, as a wire would carry it.
//
// A host leaves work to its network card: one packet of up to 64 KiB to be split into many (TCP's TSO, and UDP_SEGMENT of
// many datagrams in one call), and checksums of which only the pseudo-header is summed up. A virtual device has no card, so
// both reach the far end undone, past everybody who looks on. What is to be done the kernel says in a header before each
// frame (PACKET_VNET_HDR), and package packet does it:
//
//	virtio header │ Ethernet │ IP │ UDP │ datagram │ datagram │ rest        read from a packet socket
//	       │
//	       └─► IP │ UDP │ datagram     IP │ UDP │ datagram     IP │ UDP │ rest     told, each with its checksum
//
// They have the time at which the kernel passed the whole, and IDs that count on from its own, as those of the kernel's
// own segments do. Up to Linux 6.1 the header has no word for datagrams to be split, and the kernel refuses to tell such a
// packet (EINVAL): it is missed, which the caller counts.
package sniff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab/packet"
	"golang.org/x/sys/unix"
)

// What a frame begins with.
const (
	vnetLen  = 10 // struct virtio_net_hdr (OASIS Virtio 1.2 §5.1.6)
	etherLen = 14
)

// buffer is what a socket may hold, in bytes of kernel memory; the kernel grants an ordinary user less (net.core.rmem_max).
const buffer = 8 << 20

// Open opens a socket, which does not block, for the packets of a device of the calling thread's namespace in both
// directions. A mute one gets none until Unmute.
func Open(device int, muted bool) (int, error) {
	// Not SOCK_DGRAM: it has no PACKET_VNET_HDR.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	if muted {
		err = Mute(fd)
	}
	err = errors.Join(err,
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
	)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: device})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set up packet socket: %w", err)
	}
	return fd, nil
}

// Mute lets a packet socket receive nothing. Unbinding it instead would wait for all of the kernel's processors.
func Mute(fd int) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
	})
}

// Unmute undoes Mute.
func Unmute(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }

// networkOrder is an EtherType as packet sockets have it.
func networkOrder(v uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)}) }

// Reader reads sockets of Open. Its zero value is ready. It is not safe for concurrent use.
type Reader struct {
	frame   [vnetLen + etherLen + 1<<16]byte
	control [64]byte
	from    unix.RawSockaddrLinklayer
	iov     unix.Iovec
	hdr     unix.Msghdr
}

// Passed is something that passed a device: a packet, or several at once.
type Passed struct {
	At  time.Duration // when, since 1970; zero: the kernel does not say
	Out bool          // from the namespace, and not to it

	offload
	link  int // bytes before the IP header
	frame []byte
}

// Read reads what passed next. Errors are the kernel's: EAGAIN where there is nothing more, EINVAL where it will not tell a
// packet, ENETDOWN once after the device went down.
func (r *Reader) Read(fd int) (p Passed, e unix.Errno) {
	r.iov = unix.Iovec{Base: &r.frame[0], Len: uint64(len(r.frame))}
	r.hdr = unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&r.from)), Namelen: unix.SizeofSockaddrLinklayer,
		Iov: &r.iov, Iovlen: 1, Control: &r.control[0], Controllen: uint64(len(r.control)),
	}
	// Raw, as nothing here waits: Go's scheduler need not be told.
	n, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.hdr)), unix.MSG_DONTWAIT)
	if e != 0 || int(n) < vnetLen {
		return p, e
	}
	p = Passed{At: r.stamp(), Out: r.from.Pkttype == unix.PACKET_OUTGOING, offload: offloadOf(r.frame[:vnetLen])}
	if t := r.from.Hatype; t == unix.ARPHRD_ETHER || t == unix.ARPHRD_LOOPBACK { // others, as TUN, have no link header
		p.link = etherLen
	}
	if ip := r.from.Protocol; ip == networkOrder(unix.ETH_P_IP) || ip == networkOrder(unix.ETH_P_IPV6) {
		p.frame = r.frame[vnetLen:n]
	}
	return p, 0
}

func (r *Reader) stamp() time.Duration {
	const header = unix.SizeofCmsghdr
	b := r.control[:r.hdr.Controllen]
	if len(b) < header+int(unsafe.Sizeof(unix.Timespec{})) {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	return time.Duration((*unix.Timespec)(unsafe.Pointer(&b[header])).Nano())
}

// Wire tells the IP packets that a wire would carry: none if it was no IP. They are valid until tell returns; what Read
// returned is used up.
func (p *Passed) Wire(tell func(b []byte)) {
	if len(p.frame) <= p.link {
		return
	}
	b := p.frame[p.link:]
	if p.size > 0 && packet.Segment(b, int(p.size), tell) == nil {
		return
	}
	if p.unfinished {
		_ = packet.FinishChecksum(b, int(p.start)-p.link, int(p.offset)) // what is not in the packet nobody can finish
	}
	tell(b)
}

// offload is what the sender left to its card.
type offload struct {
	unfinished    bool   // the checksum
	start, offset uint16 // what it counts from, in the frame, and where its field is behind that
	size          uint16 // payload bytes of a segment; zero: there is nothing to split
}

// offloadOf reads struct virtio_net_hdr, in the byte order of the machine:
//
//	flags u8 │ gso_type u8 │ hdr_len u16 │ gso_size u16 │ csum_start u16 │ csum_offset u16
func offloadOf(b []byte) (o offload) {
	word := func(at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }
	if b[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 {
		o.unfinished, o.start, o.offset = true, word(6), word(8)
	}
	if b[1] != unix.VIRTIO_NET_HDR_GSO_NONE {
		o.size = word(4)
	}
	return o
}
