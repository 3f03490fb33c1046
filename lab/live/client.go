package live

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	helloTimeout = 10 * time.Second // for the fabric process to start on a busy machine
	closeTimeout = 5 * time.Second  // for it to end by itself
)

// client is this process's end of the control socket. Any number of goroutines may have calls under way.
type client struct {
	cmd    *exec.Cmd
	conn   *net.UnixConn
	done   chan struct{} // closed when the process has ended and all calls have failed
	reader chan struct{} // closed when the reader has returned

	mu    sync.Mutex
	calls map[uint32]chan answer
	last  uint32
	ended error // why no call can succeed anymore
}

type answer struct {
	body []byte
	err  error
}

// startProcess re-executes this program as the fabric.
func startProcess(precise bool) (*client, error) {
	if _, nested := os.LookupEnv(fabricEnv); nested {
		return nil, errors.New("start fabric: this is the fabric process: call live.Main first thing in main and in TestMain")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	value := "1"
	if precise {
		value += ",precise"
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{os.Args[0] + " (fabric)"}
	cmd.Env = append(os.Environ(), fabricEnv+"="+value)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start fabric process: %w", err)
	}
	c := &client{cmd: cmd, conn: conn.(*net.UnixConn), done: make(chan struct{}), reader: make(chan struct{}), calls: map[uint32]chan answer{}}
	go c.read()
	go c.wait()
	if err := c.hello(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *client) hello() error {
	said := make(chan error, 1)
	go func() {
		_, err := c.call(opHello, 0, 0, nil, -1)
		said <- err
	}()
	select {
	case err := <-said:
		return err
	case <-time.After(helloTimeout):
		_ = c.cmd.Process.Kill()
		<-said
		return fmt.Errorf("start fabric: no answer within %v: does main call live.Main first?", helloTimeout)
	}
}

// call sends a request and waits for its answer. fd goes along unless it is negative.
func (c *client) call(o op, netID, member uint32, body func(*encoder), fd int) ([]byte, error) {
	reply := make(chan answer, 1)
	c.mu.Lock()
	if c.ended != nil {
		defer c.mu.Unlock()
		return nil, c.ended
	}
	c.last++
	id := c.last
	c.calls[id] = reply
	c.mu.Unlock()

	e := encoder{b: make([]byte, 0, 64)}
	e.u8(uint8(o))
	e.u32(id)
	e.u32(netID)
	e.u32(member)
	if body != nil {
		body(&e)
	}
	if len(e.b) > maxMessage {
		c.forget(id)
		return nil, fmt.Errorf("send request of %d bytes to the fabric: it takes %d: give fewer addresses or shorter names", len(e.b), maxMessage)
	}
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	if _, _, err := c.conn.WriteMsgUnix(e.b, oob, nil); err != nil {
		if !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
			c.forget(id) // nobody will answer it
			return nil, fmt.Errorf("send request of %d bytes to the fabric: %w", len(e.b), err)
		}
		// The process is going or gone: the reader finds out how.
		c.conn.CloseRead()
	}
	a := <-reply
	return a.body, a.err
}

func (c *client) forget(id uint32) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
}

// read hands the answers out until the socket closes.
func (c *client) read() {
	defer close(c.reader)
	buf := make([]byte, maxMessage)
	parts := map[uint32][]byte{} // of answers that are not whole yet
	for {
		n, err := c.conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		d := decoder{b: buf[:n]}
		id, code := d.u32(), d.u8()
		body := append(parts[id], d.b...)
		if code == codeMore && d.err == nil {
			parts[id] = body
			continue
		}
		delete(parts, id)
		a := answer{body: body, err: d.err}
		if code != codeOK && d.err == nil {
			a = answer{err: errorOf(code, string(body))}
		}
		c.mu.Lock()
		reply := c.calls[id]
		delete(c.calls, id)
		c.mu.Unlock()
		if reply != nil {
			reply <- a
		}
	}
}

// wait reaps the process and fails the calls that it left unanswered.
func (c *client) wait() {
	err := c.cmd.Wait()
	<-c.reader
	how := "exit status 0"
	if err != nil {
		how = strings.TrimSpace(err.Error())
	}
	c.mu.Lock()
	c.ended = fmt.Errorf("%w: %s", ErrFabricEnded, how)
	for id, reply := range c.calls {
		delete(c.calls, id)
		reply <- answer{err: c.ended}
	}
	c.mu.Unlock()
	c.conn.Close()
	close(c.done)
}

// close ends the process and waits for it.
func (c *client) close() {
	_ = c.conn.CloseWrite()
	stop := time.AfterFunc(closeTimeout, func() { _ = c.cmd.Process.Kill() })
	<-c.done
	stop.Stop()
}
