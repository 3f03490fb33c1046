package live

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// control is the fabric process's end of the control socket.
type control struct {
	fd      int
	in      []byte
	oob     []byte
	out     encoder
	pending [][]byte // answers that the socket would not take yet
	stats   Stats
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
	net, member uint32
	body        decoder
	fd          int   // -1: none came along
	err         error // why it cannot be served
}

// errDescriptors is the answer to a request whose descriptor the kernel had no number for.
var errDescriptors = errors.New("the fabric process has no room for another descriptor: raise the hard limit (ulimit -Hn), or run fewer labs at once")

// next receives a request; it returns EAGAIN if there is none and io.EOF if there will be none. A broken request is one
// that cannot be served, no reason to end every net.
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
		r.fd, r.err = descriptor(c.oob[:oobn])
	}
	r.op = op(r.body.u8())
	r.id, r.net, r.member = r.body.u32(), r.body.u32(), r.body.u32()
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		r.err = errDescriptors
	case flags&unix.MSG_TRUNC != 0 || r.body.err != nil:
		r.err = errMessage
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

// answer sends an answer, in parts if it is long.
func (c *control) answer(b []byte) error {
	const header = 5 // id and code
	id, code, body := b[:4], b[4], b[header:]
	for len(body) > maxPart {
		part := append(append(append(make([]byte, 0, header+maxPart), id...), codeMore), body[:maxPart]...)
		if err := c.flush(part); err != nil {
			return err
		}
		body = body[maxPart:]
	}
	if len(body) == len(b)-header {
		return c.flush(b)
	}
	return c.flush(append(append(append(make([]byte, 0, header+len(body)), id...), code), body...))
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
		c.out.u8(codeOK)
		if err = r.err; err == nil {
			err = l.handle(&r)
		}
		if r.fd >= 0 {
			unix.Close(r.fd) // the handler has taken it out if it keeps it
		}
		if err == errLater {
			continue
		}
		if err != nil {
			c.out.b = c.out.b[:4]
			c.out.u8(codeOf(err))
			c.out.b = append(c.out.b, err.Error()...)
		}
		if err := c.answer(c.out.b); err != nil {
			return err
		}
		l.deliver()
	}
	return nil
}
