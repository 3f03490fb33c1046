package live

import (
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"golang.org/x/sys/unix"
)

// What a frame begins with before its IP header.
const (
	etherLen = 14 // a packet socket's: an Ethernet header
	vnetLen  = 10 // a TUN device's: struct virtio_net_hdr (OASIS Virtio 1.2 §5.1.6)
)

// port is a device's descriptor in the fabric process.
type port struct {
	fd     int
	room   int                                       // bytes before the IP header: 0, or etherLen
	header [etherLen]byte                            // for frames to the site
	enter  func(now time.Duration, k *fabric.Packet) // takes what is read
	index  int                                       // in the loop's table, which is also what epoll reports

	monitor string    // of a monitor's socket: its name
	net     *netState // not nil: a monitor's
}

// newPort returns the port of the descriptor that came along with a request, which keeps it until the port is entered.
func newPort(r *request, d deviceBody) (*port, error) {
	if r.fd < 0 {
		return nil, errMessage
	}
	p := &port{fd: r.fd}
	switch d.Kind {
	case kindTUN:
		p.room = vnetLen
	case kindPacket:
		p.room = etherLen
		copy(p.header[:], d.Dst[:])
		copy(p.header[6:], d.Src[:])
	default:
		return nil, errMessage
	}
	return p, nil
}

// offload tells whether the device takes GSO packets and unfinished checksums.
func (p *port) offload() bool { return p.room == vnetLen }

// read reads a packet. It is nil when there is nothing more to read, for a reason that is no error or one; an empty
// packet is one to be left out.
func (p *port) read(l *loop) (*fabric.Packet, unix.Errno) {
	if p.room == etherLen {
		return p.readEther(l)
	}
	// What a device does not split may be long, so everything is read into a big packet. Most are small and are copied:
	// that costs less than telling the kernel of two buffers.
	if l.big == nil {
		if l.big = l.fab.GetBig(); l.big == nil {
			return nil, unix.ENOBUFS
		}
	}
	k := l.big
	n, e := rawRead(p.fd, k.Buffer(vnetLen))
	if e != 0 || n < vnetLen {
		return nil, e
	}
	k.SetFrame(vnetLen, n)
	if n > vnetLen+link.MaxMTU {
		l.big = nil
	} else if small := l.fab.Get(); small != nil {
		small.SetFrame(vnetLen, copy(small.Buffer(vnetLen), k.Frame(vnetLen)))
		k = small
	} else {
		l.big = nil
	}
	getVnet(k.Frame(vnetLen), &k.GSO)
	return k, 0
}

func (p *port) readEther(l *loop) (*fabric.Packet, unix.Errno) {
	k := l.fab.Get()
	if k == nil {
		return nil, unix.ENOBUFS
	}
	n, e := rawRead(p.fd, k.Buffer(etherLen))
	if e != 0 || n == 0 {
		l.fab.Put(k)
		return nil, e
	}
	k.SetFrame(etherLen, max(n, etherLen))
	switch h := k.Frame(etherLen); {
	case n < etherLen, [2]byte(h[12:14]) != etherIPv4 && [2]byte(h[12:14]) != etherIPv6:
		k.SetFrame(0, 0)
	}
	return k, 0
}

var etherIPv4, etherIPv6 = [2]byte{0x08, 0x00}, [2]byte{0x86, 0xdd}

// getVnet and putVnet read and write struct virtio_net_hdr, in the byte order of the machine:
//
//	flags u8 │ gso_type u8 │ hdr_len u16 │ gso_size u16 │ csum_start u16 │ csum_offset u16
func getVnet(b []byte, g *fabric.GSO) {
	if b[0]|b[1] == 0 {
		return
	}
	*g = fabric.GSO{
		Type: fabric.GSOType(b[1]), HdrLen: order.Uint16(b[2:]), Size: order.Uint16(b[4:]),
		CsumStart: order.Uint16(b[6:]), CsumOffset: order.Uint16(b[8:]), NeedsCsum: b[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0,
	}
}

func putVnet(b []byte, g *fabric.GSO) {
	*(*[vnetLen]byte)(b) = [vnetLen]byte{}
	if !g.NeedsCsum {
		return
	}
	b[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	b[1] = byte(g.Type)
	order.PutUint16(b[2:], g.HdrLen)
	order.PutUint16(b[4:], g.Size)
	order.PutUint16(b[6:], g.CsumStart)
	order.PutUint16(b[8:], g.CsumOffset)
}

// Deliver writes the packet to the site. It is called by the engine.
func (p *port) Deliver(k *fabric.Packet) bool {
	f := k.Frame(p.room)
	if p.room == vnetLen {
		putVnet(f, &k.GSO)
	} else {
		copy(f, p.header[:12])
		typ := etherIPv6
		if f[etherLen]>>4 == 4 {
			typ = etherIPv4
		}
		copy(f[12:], typ[:])
	}
	return rawWrite(p.fd, f) == 0
}

// rawRead and rawWrite are for non-blocking descriptors only: they don't tell Go's scheduler about the system call,
// which saves more than the call of an empty device costs.
func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}

func rawWrite(fd int, b []byte) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return e
}
