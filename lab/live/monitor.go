package live

import (
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"golang.org/x/sys/unix"
)

// monitored is what recvmsg needs to read a monitor's socket; one serves all.
type monitored struct {
	data    [1 << 16]byte
	control [64]byte
	from    unix.RawSockaddrLinklayer
	iov     unix.Iovec
	hdr     unix.Msghdr
}

func (m *monitored) recv(fd int) (n int, e unix.Errno) {
	m.iov = unix.Iovec{Base: &m.data[0], Len: uint64(len(m.data))}
	m.hdr = unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&m.from)), Namelen: unix.SizeofSockaddrLinklayer,
		Iov: &m.iov, Iovlen: 1, Control: &m.control[0], Controllen: uint64(len(m.control)),
	}
	got, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	return int(got), e
}

// stamp is when the packet passed, since 1970; zero if the kernel does not say.
func (m *monitored) stamp() time.Duration {
	const header = unix.SizeofCmsghdr
	b := m.control[:m.hdr.Controllen]
	if len(b) < header+int(unsafe.Sizeof(unix.Timespec{})) {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	return time.Duration((*unix.Timespec)(unsafe.Pointer(&b[header])).Nano())
}

// ip tells whether the packet is one of IP.
func (m *monitored) ip() bool {
	return m.from.Protocol == networkOrder(unix.ETH_P_IP) || m.from.Protocol == networkOrder(unix.ETH_P_IPV6)
}

// direction is the host's: what the router sends comes in to it.
func (m *monitored) direction() pcapng.Direction {
	if m.from.Pkttype == unix.PACKET_OUTGOING {
		return pcapng.Inbound
	}
	return pcapng.Outbound
}

// addMonitor serves opMonitor.
func (l *loop) addMonitor(n *netState, r *request) error {
	name := r.body.text()
	if r.body.err != nil || r.fd < 0 {
		return errMessage
	}
	p := &port{fd: r.fd, monitor: name, net: n}
	if err := l.register(p); err != nil {
		return err
	}
	r.fd = -1
	n.monitors = append(n.monitors, p)
	if n.capture != nil {
		return unmute(p.fd)
	}
	return nil
}

// drainMonitor records a burst of what a monitor saw, and tells whether there may be more.
func (l *loop) drainMonitor(p *port) (more bool) {
	c := p.net.capture
	for range readBurst {
		n, e := l.monitored.recv(p.fd)
		if e == unix.ENETDOWN {
			continue // the device went down; the error is reported once
		}
		if e != 0 {
			return false
		}
		if c == nil || !l.monitored.ip() {
			continue
		}
		t := l.now()
		if s := l.monitored.stamp(); s > 0 {
			t = s - c.log.Origin
		}
		data := l.monitored.data[:min(n, len(l.monitored.data))]
		if c.room(len(data)) {
			c.cur = c.log.AppendMonitored(c.cur, p.monitor, t, l.monitored.direction(), data, n)
		}
	}
	return true
}
