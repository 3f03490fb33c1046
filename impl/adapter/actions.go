package adapter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// actions are what a camera that runs can be asked for. There is no update: the firmware has none.
var actions = []string{"reset", "transfer", "privacy-on", "privacy-off"}

// order and outcome are a line of JSON each, by the socket in the camera's state folder.
type order struct {
	Action string `json:"action"`
}

type outcome struct {
	Error  string `json:"error,omitempty"`
	Ticket string `json:"ticket,omitempty"` // the label, where that is another one now
}

const (
	controlFile = "control" // the socket
	maxOrder    = 4096      // bytes of a line
	orderTime   = 5 * time.Second
	// maxSocketPath is what fits the address of a socket, unix(7).
	maxSocketPath = 100
)

// control is the path of the socket in a folder. A long one is shortened, by way of the folder itself, which is open until release.
func control(state string) (path string, release func(), err error) {
	path = filepath.Join(state, controlFile)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(state)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), controlFile), func() { _ = dir.Close() }, nil
}

// listen opens the socket. The camera has the folder alone: a socket that is there was left by one whose power was cut.
func (u *unit) listen() (net.Listener, error) {
	path, release, err := control(u.env.state)
	if err != nil {
		return nil, err
	}
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		release()
		return nil, fmt.Errorf("listen for actions: %w", err)
	}
	return &controlListener{Listener: l, release: release}, nil
}

// controlListener gives the folder back when it is closed, which removes the socket.
type controlListener struct {
	net.Listener
	release func()
	once    sync.Once
}

func (l *controlListener) Close() (err error) {
	l.once.Do(func() {
		err = l.Listener.Close()
		l.release()
	})
	return err
}

// answer takes orders until the listener is closed. Who is there when the context ends is told nothing.
func (u *unit) answer(ctx context.Context, l net.Listener) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		calls.Go(func() {
			defer c.Close()
			u.obey(ctx, c)
		})
	}
}

// obey takes one order, and says what came of it.
func (u *unit) obey(ctx context.Context, c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(orderTime))
	var o order
	var out outcome
	err := json.NewDecoder(io.LimitReader(c, maxOrder)).Decode(&o)
	if err == nil {
		out.Ticket, err = u.do(ctx, o.Action)
	}
	if err != nil {
		out.Error = err.Error()
	}
	_ = json.NewEncoder(c).Encode(out) // who asked and went has its answer from the camera's behaviour
}

// ask has the camera that runs beside do the action.
func (e environment) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	path, release, err := control(e.state)
	if err != nil {
		return err
	}
	defer release()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("ask the camera: does one run with PUNCHLAB_STATE=%s? %w", e.state, err)
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer c.Close()
	if err := json.NewEncoder(c).Encode(order{Action: e.action}); err != nil {
		return fmt.Errorf("ask the camera: %w", err)
	}
	var out outcome
	if err := json.NewDecoder(bufio.NewReader(c)).Decode(&out); err != nil {
		return fmt.Errorf("the camera did not say that it is done within %v: %w", e.timeout, err)
	}
	if out.Error != "" {
		return errors.New(out.Error)
	}
	if out.Ticket != "" {
		return e.put(ticketFile, []byte(out.Ticket))
	}
	return nil
}
