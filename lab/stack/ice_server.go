package stack

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strconv"
	"sync"

	"github.com/punchlab/punchlab/impl/peers/ice"
	"github.com/punchlab/punchlab/lab"
)

// iceServer is the rendezvous of an ICE trial. It is a lab.Program: an event may kill it, and start it again with nothing in
// its memory.
type iceServer struct {
	machine  *lab.Machine
	addrs    []netip.Addr
	coturn   string // path; empty: pion/turn
	welcomed func(role string)
	forget   func()

	mu      sync.Mutex
	server  *ice.Server // nil: it is dead
	turn    *exec.Cmd   // nil: there is none
	relayed int64       // by those that were killed
}

// Start serves, unless it does.
func (s *iceServer) Start() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	server, err := ice.Serve(ice.ServerConfig{In: s.machine.Do, Addrs: s.addrs, NoTURN: s.coturn != "", Welcomed: s.welcomed})
	if err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	if s.coturn != "" {
		if s.turn, err = s.startTURN(); err != nil {
			return errors.Join(err, server.Close())
		}
	}
	s.server = server
	return nil
}

// startTURN runs coturn where a Server would listen for UDP, for the user that a Server knows. Port 443 is the signalling's.
func (s *iceServer) startTURN() (*exec.Cmd, error) {
	args := []string{
		"-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file", "/dev/null", "--no-stdout-log", "--pidfile", "/dev/null",
		"--lt-cred-mech", "--realm", ice.Realm, "--user", ice.Username + ":" + ice.Password,
		"--listening-port", strconv.Itoa(ice.STUNPort), "--relay-threads", "1",
	}
	for _, a := range s.addrs {
		args = append(args, "--listening-ip", a.String(), "--relay-ip", a.String())
	}
	cmd := exec.Command(s.coturn, args...)
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	return cmd, s.machine.Start(cmd)
}

// Kill closes the sockets without a word to anybody.
func (s *iceServer) Kill() { _ = s.end() }

func (s *iceServer) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	if s.turn != nil {
		_ = s.turn.Process.Kill()
		_ = s.turn.Wait() // it says that it was killed
		s.turn = nil
	}
	s.relayed += s.server.Relayed()
	err := s.server.Close()
	s.server = nil
	return err
}

// relayedBytes is what all servers of the trial have relayed; false: coturn did, and does not say.
func (s *iceServer) relayedBytes() (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.relayed
	if s.server != nil {
		n += s.server.Relayed()
	}
	return n, s.coturn == ""
}

// close ends it for good: no event knows it any more.
func (s *iceServer) close() error {
	if s.forget != nil {
		s.forget()
	}
	return s.end()
}
