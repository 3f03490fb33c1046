package work

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A socket stays in the network namespace in which it was made, whoever has it later. So the process that stays outside makes the
// connections to NATS, and hands them to the one that netns.Isolate puts into a namespace of its own:
//
//	first process ──netns.Isolate──▶ itself again, in namespaces
//	  │ dials "host:port" ◀── asks over a pair of sockets ── │
//	  └── the connected socket (SCM_RIGHTS, unix(7)) ───────▶ NATS client

// outsideEnv tells the isolated process which descriptor its end of the pair is.
const outsideEnv = "PUNCHLAB_OUTSIDE"

// outside is how an isolated process connects; nil: as any other.
var outside *outsideDialer

// Outside lets this process connect to NATS once netns.Isolate has cut it off from every network. Call it right before: it also takes
// up the other end when the program begins again.
func Outside() error {
	if s, ok := os.LookupEnv(outsideEnv); ok {
		return errors.Join(os.Unsetenv(outsideEnv), takeOutside(s))
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		return fmt.Errorf("open a way outside: %w", err)
	}
	unix.CloseOnExec(pair[0])
	here, err := unixConn(pair[0])
	if err != nil {
		return errors.Join(err, unix.Close(pair[1]))
	}
	go dialForOthers(here)
	return os.Setenv(outsideEnv, strconv.Itoa(pair[1])) // the program begun again inherits it under its number
}

func takeOutside(s string) error {
	fd, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("open a way outside: %s=%q is no descriptor: unset it", outsideEnv, s)
	}
	unix.CloseOnExec(fd)
	c, err := unixConn(fd)
	if err == nil {
		outside = &outsideDialer{conn: c}
	}
	return err
}

// unixConn makes a descriptor a connection, and closes it.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "outside")
	if f == nil {
		return nil, fmt.Errorf("open a way outside: descriptor %d is closed", fd)
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open a way outside: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("open a way outside: descriptor %d is no socket of ours", fd), c.Close())
	}
	return u, nil
}

// maxAsked is the longest address or error, in bytes.
const maxAsked = 1024

// dialForOthers answers requests until the other end is gone. An answer is the socket, or the text of an error.
func dialForOthers(c *net.UnixConn) {
	defer c.Close()
	buf := make([]byte, maxAsked)
	for {
		n, err := c.Read(buf)
		if err != nil || n == 0 {
			return
		}
		if err := dialFor(c, string(buf[:n])); err != nil {
			text := err.Error()
			if _, err := c.Write([]byte(text[:min(len(text), maxAsked)])); err != nil {
				return
			}
		}
	}
}

func dialFor(c *net.UnixConn, addr string) error {
	conn, err := net.DialTimeout("tcp", addr, requestTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, err = c.WriteMsgUnix([]byte("ok"), unix.UnixRights(int(f.Fd())), nil)
	return err
}

// outsideDialer is a nats.CustomDialer. It is safe for concurrent use.
type outsideDialer struct {
	mu   sync.Mutex
	conn *net.UnixConn
}

// Dial has the process outside connect.
func (d *outsideDialer) Dial(_, addr string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(addr) > maxAsked {
		return nil, fmt.Errorf("dial %.60s…: the address is too long", addr)
	}
	_ = d.conn.SetDeadline(time.Now().Add(2 * requestTimeout))
	if _, err := d.conn.Write([]byte(addr)); err != nil {
		return nil, fmt.Errorf("dial %s: ask the process outside: %w", addr, err)
	}
	text, rights := make([]byte, maxAsked), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := d.conn.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, fmt.Errorf("dial %s: ask the process outside: %w", addr, err)
	}
	if rn == 0 {
		return nil, errors.New(string(text[:n]))
	}
	fd, err := oneRight(rights[:rn])
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	f := os.NewFile(uintptr(fd), addr)
	defer f.Close()
	return net.FileConn(f)
}

// oneRight takes the descriptor out of a control message.
func oneRight(b []byte) (int, error) {
	ms, err := unix.ParseSocketControlMessage(b)
	if err != nil || len(ms) != 1 {
		return 0, errors.New("the process outside sent no socket")
	}
	fds, err := unix.ParseUnixRights(&ms[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.New("the process outside sent no socket")
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}
