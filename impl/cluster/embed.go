package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/scratch"
)

// ServerConfig describes an embedded NATS server.
type ServerConfig struct {
	Key    identity.Key // the servers' static key: what lets clients and other NATS servers in is derived from it
	Name   string       // no other server's
	Dir    string       // where its files are; "": a temporary folder, and buckets in memory
	Listen string       // address and port for clients; "": this process alone
	Routes string       // address and port for other NATS servers; "": it is alone
	Peers  []string     // the other servers' Routes, "HOST:PORT"
	Log    *slog.Logger // nil: none
}

// Server is an embedded NATS server.
type Server struct {
	nats *natsserver.Server
	temp *scratch.Folder // nil: its files are where it was told
	user string
	pass string

	starting sync.WaitGroup
}

// startTimeout is how long a NATS server may take until it listens, startStep how often it is looked at.
const startTimeout, startStep = 10 * time.Second, 5 * time.Millisecond

// Embed starts a NATS server with JetStream in this process.
func Embed(c ServerConfig) (*Server, error) {
	if !nameable(c.Name) {
		return nil, fmt.Errorf("embed NATS: name %q: use 1 to 32 letters, digits, \"-\" and \"_\"", c.Name)
	}
	secrets, err := newSecrets(c.Key)
	if err != nil {
		return nil, err
	}
	s := &Server{user: "punchlab", pass: fmt.Sprintf("%x", secrets.derive("NATS password", 24))}
	// Routes wait for the clients' port, so that one of several servers has one, if only on loopback.
	o := &natsserver.Options{
		ServerName: c.Name, NoSigs: true, NoLog: c.Log == nil, DontListen: c.Listen == "" && c.Routes == "", Username: s.user, Password: s.pass,
		JetStream: true, StoreDir: c.Dir, JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 8 << 30, DisableJetStreamBanner: true,
	}
	if o.Host, o.Port, err = hostPort(c.Listen); err == nil && c.Routes != "" {
		o.Cluster = natsserver.ClusterOpts{Name: "punchlab-" + secrets.id, Username: s.user, Password: s.pass, PoolSize: -1}
		o.Cluster.Host, o.Cluster.Port, err = hostPort(c.Routes)
		for _, p := range c.Peers {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", User: url.UserPassword(s.user, s.pass), Host: p})
		}
	}
	if err != nil {
		return nil, err
	}
	if c.Dir == "" {
		if s.temp, err = scratch.New("nats", time.Now()); err != nil {
			return nil, fmt.Errorf("embed NATS: %w", err)
		}
		o.StoreDir = s.temp.Path
	}
	if s.nats, err = natsserver.NewServer(o); err != nil {
		return nil, errors.Join(fmt.Errorf("embed NATS: %w", err), s.temp.Remove())
	}
	if c.Log != nil {
		s.nats.SetLoggerV2(&natsLog{c.Log}, false, false, false)
	}
	s.starting.Go(s.nats.Start)
	if !s.listens(c) {
		return nil, errors.Join(fmt.Errorf("embed NATS: it does not listen at %q and %q; is another program there, or is %s not to be written?",
			c.Listen, c.Routes, o.StoreDir), s.Close())
	}
	return s, nil
}

// listens waits until the server listens. One of several is of use only once most of them are there; that is not waited for.
func (s *Server) listens(c ServerConfig) bool {
	if c.Routes == "" {
		return s.nats.ReadyForConnections(startTimeout)
	}
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(startStep) {
		if s.nats.ClusterAddr() != nil && s.nats.Addr() != nil {
			return true
		}
	}
	return false
}

// hostPort reads an address; "": a port of the host's choice.
func hostPort(s string) (host string, port int, err error) {
	if s == "" {
		return "127.0.0.1", natsserver.RANDOM_PORT, nil
	}
	host, p, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("embed NATS: address %q: use HOST:PORT", s)
	}
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	return host, port, nil
}

// Connect are the options and the URL by which this process' node connects.
func (s *Server) Connect() (string, []nats.Option) {
	return "nats://embedded", []nats.Option{nats.InProcessServer(s.nats), nats.UserInfo(s.user, s.pass)}
}

// Addr is where it listens for clients.
func (s *Server) Addr() string {
	if a := s.nats.Addr(); a != nil {
		return a.String()
	}
	return ""
}

// Routes is where it listens for other NATS servers; "": nowhere.
func (s *Server) Routes() string {
	if a := s.nats.ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Close ends it and removes what was temporary.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	s.starting.Wait()
	return s.temp.Remove()
}

// natsLog writes the server's log as ours, a step lower: what matters of it shows in how the node stands (Health).
type natsLog struct{ log *slog.Logger }

func (l *natsLog) Noticef(string, ...any)    {}
func (l *natsLog) Debugf(string, ...any)     {}
func (l *natsLog) Tracef(string, ...any)     {}
func (l *natsLog) Warnf(f string, v ...any)  { l.log.Debug("nats: " + said(f, v)) }
func (l *natsLog) Errorf(f string, v ...any) { l.log.Warn("nats: " + said(f, v)) }
func (l *natsLog) Fatalf(f string, v ...any) { l.log.Error("nats: " + said(f, v)) }

func said(f string, v []any) string { return strings.TrimSpace(fmt.Sprintf(f, v...)) }

// Credentials lets a client of another process into an embedded server with this key.
func Credentials(k identity.Key) (nats.Option, error) {
	s, err := newSecrets(k)
	if err != nil {
		return nil, err
	}
	return nats.UserInfo("punchlab", fmt.Sprintf("%x", s.derive("NATS password", 24))), nil
}
