package live

import (
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab/fabric"
	"golang.org/x/sys/unix"
)

// etherLen is the length of an Ethernet header, which a packet socket's frames begin with.
const etherLen = 14

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
	case kindPacket:
		p.room = etherLen
		copy(p.header[:], d.Dst[:])
		copy(p.header[6:], d.Src[:])
	default:
		return nil, errMessage
	}
	return p, nil
}

// vnet tells whether the device takes GSO packets and unfinished checksums.
func (p *port) vnet() bool { return false }

// read fills the packet. ok is false when there is nothing more to read; an empty packet is one to be left out.
func (p *port) read(k *fabric.Packet) (ok bool, e unix.Errno) {
	n, e := rawRead(p.fd, k.Buffer(p.room))
	if e != 0 || n == 0 {
		return false, e
	}
	k.SetFrame(p.room, max(n, p.room))
	if p.room == etherLen {
		switch h := k.Frame(etherLen); {
		case n < etherLen, [2]byte(h[12:14]) != etherIPv4 && [2]byte(h[12:14]) != etherIPv6:
			k.SetFrame(0, 0)
		}
	}
	return true, 0
}

var etherIPv4, etherIPv6 = [2]byte{0x08, 0x00}, [2]byte{0x86, 0xdd}

// Deliver writes the packet to the site. It is called by the engine.
func (p *port) Deliver(k *fabric.Packet) bool {
	f := k.Frame(p.room)
	if p.room == etherLen {
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
