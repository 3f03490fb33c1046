package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/pion/turn/v5"
	"github.com/punchlab/punchlab/lab"
)

// What the external TURN server is asked with. It knows this one user.
const (
	turnPort                     = 3478
	turnUser, turnPass, turnName = "punchlab", "punchlab", "punchlab"
)

// errNoCoturn says that the strategy turn cannot be tried here.
var errNoCoturn = errors.New("the strategy turn needs coturn's turnserver: install Debian's package coturn")

// coturn is an external TURN server (RFC 8656) on a host: a process of its own.
type coturn struct {
	cmd  *exec.Cmd
	dir  string
	addr netip.AddrPort
}

// startCoturn runs coturn's turnserver on a host. That it answers is for the first client to find out: it asks until it does.
func startCoturn(m *lab.Machine) (*coturn, error) {
	path, err := exec.LookPath("turnserver")
	if err != nil {
		return nil, errNoCoturn
	}
	dir, err := os.MkdirTemp("", "punchlab-coturn-")
	if err != nil {
		return nil, err
	}
	c := &coturn{dir: dir, addr: netip.AddrPortFrom(m.Addr(), turnPort)}
	c.cmd = exec.Command(path, "-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file", "/dev/null", "--pidfile", dir+"/pid", "--userdb", dir+"/db",
		"--lt-cred-mech", "--user", turnUser+":"+turnPass, "--realm", turnName, "--listening-ip", m.Addr().String(), "--relay-ip", m.Addr().String(),
		"--listening-port", strconv.Itoa(turnPort), "--relay-threads", "1")
	c.cmd.Stdout, c.cmd.Stderr = io.Discard, io.Discard
	if err := m.Start(c.cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("start coturn: %w", err), os.RemoveAll(dir))
	}
	return c, nil
}

func (c *coturn) close() error {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it says that it was killed
	return os.RemoveAll(c.dir)
}

// allocation is a relayed address that a TURN server lends a device.
type allocation struct {
	conn    net.PacketConn
	client  *turn.Client
	relayed net.PacketConn
}

// allocate asks a TURN server for a relayed address, until ctx ends.
func allocate(ctx context.Context, m *lab.Machine, server netip.AddrPort) (*allocation, error) {
	conn, err := m.ListenUDP(netip.AddrPortFrom(m.Addr(), 0))
	if err != nil {
		return nil, err
	}
	a := &allocation{conn: conn}
	a.client, err = turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server.String(), TURNServerAddr: server.String(), Conn: conn, RTO: 100 * time.Millisecond,
		Username: turnUser, Password: turnPass, Realm: turnName,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask TURN server %v: %w", server, err), conn.Close())
	}
	if err := a.client.Listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("ask TURN server %v: %w", server, err), a.close())
	}
	if a.relayed, err = a.client.AllocateWithContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("allocate at TURN server %v: %w", server, err), a.close())
	}
	return a, nil
}

func (a *allocation) close() error {
	if a.relayed != nil {
		_ = a.relayed.Close() // the server may be gone: its answer is not waited for
	}
	a.client.Close()
	return a.conn.Close()
}
