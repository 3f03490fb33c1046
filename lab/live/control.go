package live

import (
	"errors"
	"fmt"
	"io"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"golang.org/x/sys/unix"
)

// control is the fabric process's end of the control socket.
type control struct {
	fd      int
	in      []byte
	oob     []byte
	out     encoder
	pending [][]byte // answers that the socket would not take yet
	uplinks []fabric.UplinkStats
}

func newControl(fd int) control {
	return control{fd: fd, in: make([]byte, maxMessage), oob: make([]byte, unix.CmsgSpace(4))}
}

// stuck tells whether answers wait for room in the socket.
func (c *control) stuck() bool { return len(c.pending) > 0 }

// request is a message of the parent's.
type request struct {
	op          op
	id          uint32
	net, uplink uint32
	body        decoder
	fd          int // -1: none came along
}

// next receives a request; it returns EAGAIN if there is none and io.EOF if there will be none.
func (c *control) next() (request, error) {
	n, oobn, flags, _, err := unix.Recvmsg(c.fd, c.in, c.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, unix.EINTR) {
		err = unix.EAGAIN
	}
	if err != nil {
		return request{}, err
	}
	if n == 0 {
		return request{}, io.EOF
	}
	r := request{body: decoder{b: c.in[:n]}, fd: -1}
	if oobn > 0 {
		if r.fd, err = descriptor(c.oob[:oobn]); err != nil {
			return request{}, err
		}
	}
	r.op = op(r.body.u8())
	r.id, r.net, r.uplink = r.body.u32(), r.body.u32(), r.body.u32()
	if r.body.err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return request{}, errMessage
	}
	return r, nil
}

func descriptor(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1, errMessage
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, errMessage
	}
	return fds[0], nil
}

// flush sends what waits, then b, and keeps what the socket doesn't take.
func (c *control) flush(b []byte) error {
	for len(c.pending) > 0 {
		if err := unix.Send(c.fd, c.pending[0], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
			break
		}
		c.pending = c.pending[1:]
	}
	if b == nil {
		return nil
	}
	if len(c.pending) == 0 {
		switch err := unix.Send(c.fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err {
		case nil:
			return nil
		case unix.EAGAIN, unix.EINTR, unix.ENOBUFS:
		case unix.EPIPE, unix.ECONNRESET:
			return io.EOF
		default:
			return fmt.Errorf("answer: %w", err)
		}
	}
	c.pending = append(c.pending, append([]byte(nil), b...))
	return nil
}

// serve answers a few control messages, delivering what falls due in between.
func (l *loop) serve() error {
	c := &l.control
	if err := c.flush(nil); err != nil {
		return err
	}
	for range controlBurst {
		r, err := c.next()
		if err == unix.EAGAIN {
			return nil
		}
		if err == unix.ECONNRESET {
			return io.EOF
		}
		if err != nil {
			return err
		}
		c.out.b = c.out.b[:0]
		c.out.u32(r.id)
		c.out.boolean(true)
		err = l.handle(&r)
		if r.fd >= 0 {
			unix.Close(r.fd) // the handler has taken it out if it keeps it
		}
		if err != nil {
			c.out.b = c.out.b[:4]
			c.out.boolean(false)
			c.out.b = append(c.out.b, err.Error()...)
		}
		if err := c.flush(c.out.b); err != nil {
			return err
		}
		l.deliver()
	}
	return nil
}

func (l *loop) handle(r *request) error {
	n := l.nets[r.net]
	switch {
	case r.op == opHello:
		return nil
	case r.op == opLateness:
		l.control.out.lateness(l.fab.Lateness(l.now()))
		return nil
	case r.op == opNewNet:
		l.nets[r.net] = l.fab.NewNet(r.body.u64())
		return r.body.err
	case n == nil:
		return errors.New("no such net")
	}
	switch r.op {
	case opCloseNet:
		n.Close()
		delete(l.nets, r.net)
		for id, p := range l.byID {
			if p.net == r.net {
				l.closePort(id, p)
			}
		}
	case opReset:
		n.Reset(r.body.u64())
		for _, p := range l.ports {
			if p != nil && p.net == r.net {
				l.discard(p)
			}
		}
	case opStats:
		s := n.Stats(l.control.uplinks[:0])
		l.control.uplinks = s.Uplinks
		l.control.out.stats(s)
	case opAttach:
		return l.attach(n, r)
	case opDetach, opProfile:
		return l.uplink(r)
	default:
		return errMessage
	}
	return r.body.err
}

func (l *loop) uplink(r *request) error {
	p := l.byID[r.uplink]
	if p == nil {
		return errors.New("no such uplink")
	}
	if r.op == opDetach {
		p.uplink.Close()
		l.closePort(r.uplink, p)
		return nil
	}
	profile := link.Profile{Up: r.body.impairment(), Down: r.body.impairment()}
	if r.body.err != nil {
		return r.body.err
	}
	return p.uplink.SetProfile(profile)
}

func (l *loop) attach(n *fabric.Net, r *request) error {
	a := r.body.attachment()
	if r.body.err != nil || r.fd < 0 {
		return errMessage
	}
	p := &port{fd: r.fd, net: r.net}
	if a.kind == kindPacket {
		p.room = etherLen
		copy(p.header[:], a.dst[:])
		copy(p.header[6:], a.src[:])
	}
	u, err := n.Attach(fabric.UplinkConfig{Name: a.name, Routed: a.routed, Output: p, Profile: link.Profile{Name: a.name, Up: a.up, Down: a.down}})
	if err != nil {
		return err
	}
	p.uplink = u
	p.index = len(l.ports)
	for i, k := range l.ports {
		if k == nil {
			p.index = i
			break
		}
	}
	if p.index == len(l.ports) {
		l.ports = append(l.ports, nil)
	}
	if err := l.watch(p.fd, int32(p.index)); err != nil {
		u.Close()
		return err
	}
	l.ports[p.index], l.byID[r.uplink] = p, p
	r.fd = -1
	return nil
}

func (l *loop) closePort(id uint32, p *port) {
	l.forget(p)
	unix.Close(p.fd) // not the last one of the device: the parent has it too
	l.ports[p.index] = nil
	delete(l.byID, id)
}
