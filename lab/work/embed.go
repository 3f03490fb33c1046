package work

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a NATS server with JetStream in this process.
//
//	STORE/password    lets workers in; made by the first server that has the folder
//	STORE/jetstream/  the streams: a server begun again in the folder goes on with them
type Server struct {
	nats *natsserver.Server
	dir  string
	pass string

	starting sync.WaitGroup
}

const (
	serverUser   = "punchlab"
	startTimeout = 10 * time.Second
	maxPayload   = 8 << 20 // bytes; a server that has more warns
)

// Embed starts a server that keeps its files in a folder and listens at an address, HOST:PORT; "": a free port of this machine.
func Embed(dir, listen string) (*Server, error) {
	host, port, err := hostPort(listen)
	if err != nil {
		return nil, err
	}
	if port != natsserver.RANDOM_PORT { // the server would try for long, and not say what is wrong
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return nil, fmt.Errorf("embed NATS: it does not listen at %s: %w: is another program there?", listen, err)
		}
		l.Close()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embed NATS: %w", err)
	}
	pass, err := password(filepath.Join(dir, "password"))
	if err != nil {
		return nil, fmt.Errorf("embed NATS: %w", err)
	}
	s := &Server{dir: dir, pass: pass}
	s.nats, err = natsserver.NewServer(&natsserver.Options{
		ServerName: "punchlab-work", Host: host, Port: port, Username: serverUser, Password: pass, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, DisableJetStreamBanner: true, MaxPayload: maxPayload,
	})
	if err != nil {
		return nil, fmt.Errorf("embed NATS: %w", err)
	}
	s.starting.Go(s.nats.Start)
	if !s.nats.ReadyForConnections(startTimeout) {
		err := fmt.Errorf("embed NATS: it does not listen at %q: is another program there, or is %s not to be written?", listen, dir)
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// password reads the file of a server's password, or makes it.
func password(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(b) >= 16 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	p := rand.Text()
	return p, os.WriteFile(file, []byte(p+"\n"), 0o600)
}

func hostPort(s string) (host string, port int, err error) {
	if s == "" {
		return "127.0.0.1", natsserver.RANDOM_PORT, nil
	}
	host, p, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("embed NATS: address %q: use HOST:PORT, as 0.0.0.0:4222", s)
	}
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	return host, port, nil
}

// URL is where workers find it, with the password. A server that listens everywhere is named by this machine's name.
func (s *Server) URL() string {
	addr, ok := s.nats.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	u := url.URL{Scheme: "nats", User: url.UserPassword(serverUser, s.pass), Host: net.JoinHostPort(host, strconv.Itoa(addr.Port))}
	return u.String()
}

// connection is this process' own.
func (s *Server) connection() Connection {
	return Connection{URL: "nats://embedded", Options: []nats.Option{nats.InProcessServer(s.nats), nats.UserInfo(serverUser, s.pass)}}
}

// Close ends it. Its files stay.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	s.starting.Wait()
	return nil
}

// remove ends it and removes its files.
func (s *Server) remove() error { return errors.Join(s.Close(), os.RemoveAll(s.dir)) }

// redacted is a list of URLs without their passwords.
func redacted(urls string) string {
	var out []string
	for _, s := range strings.Split(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			out = append(out, "(unreadable URL)")
			continue
		}
		out = append(out, u.Redacted())
	}
	return strings.Join(out, ",")
}
