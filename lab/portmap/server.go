package portmap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
)

// Site is a router and where its services listen.
type Site struct {
	Router
	NS      *netns.NS // holds the gateway address
	Devices []string  // on the LAN, all there already; each may lead to other hosts
}

// Server is a Core with its sockets and clock. It is safe for concurrent use.
type Server struct {
	started time.Time
	mu      sync.Mutex
	core    *Core

	group   map[netip.AddrPort]*packetConn // by where its announcements go
	devices []int                          // interface indexes
	wake    chan struct{}                  // an announcement was added, or the server is closing
	closing chan struct{}
	once    sync.Once // closes closing
	closers []io.Closer
	loops   sync.WaitGroup
}

// Serve starts the services of a router. Nothing listens for those that are Off. Sockets live in the site's namespace.
func Serve(site Site, c Config) (*Server, error) {
	started := time.Now()
	core, err := NewCore(site.Router, c, 0)
	if err != nil {
		return nil, fmt.Errorf("serve port mapping: %w", err)
	}
	s := &Server{
		started: started, core: core, group: map[netip.AddrPort]*packetConn{},
		wake: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	if err := site.NS.Do(func() error { return s.listen(site) }); err != nil {
		return nil, errors.Join(fmt.Errorf("serve port mapping: %w", err), s.Close())
	}
	for _, c := range s.group {
		s.loops.Go(func() { s.answer(c) })
	}
	s.loops.Go(s.announce)
	return s, nil
}

func (s *Server) now() time.Duration { return time.Since(s.started) }

func (s *Server) listen(site Site) error {
	for _, name := range site.Devices {
		d, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("find LAN device %s: %w", name, err)
		}
		s.devices = append(s.devices, d.Index)
	}
	c := s.core.cfg
	if c.UPnP != Off {
		if err := s.listenUPnP(site); err != nil {
			return err
		}
	}
	if c.NATPMP == Off && c.PCP == Off {
		return nil
	}
	at := netip.AddrPortFrom(site.Address, portMapPort)
	_, err := s.listenPacket(at, AnnounceGroup, func(now time.Duration, from netip.AddrPort, b []byte) [][]byte {
		if answer := s.core.Datagram(now, from, b); answer != nil {
			return [][]byte{answer}
		}
		return nil
	})
	return err
}

// portMapPort is the one of NAT-PMP and PCP.
const portMapPort = 5351

// listenUPnP joins SSDP's group on each LAN device: a datagram is delivered only if the device that it came by has joined.
func (s *Server) listenUPnP(site Site) error {
	if err := manyMemberships(len(s.devices)); err != nil {
		return err
	}
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), SSDPGroup.Port())
	conn, err := s.listenPacket(at, SSDPGroup, func(_ time.Duration, from netip.AddrPort, b []byte) [][]byte {
		return s.core.SSDP(from, b)
	})
	if err != nil {
		return err
	}
	for i, index := range s.devices {
		group := &net.UDPAddr{IP: SSDPGroup.Addr().AsSlice()}
		if err := conn.JoinGroup(&net.Interface{Index: index}, group); err != nil {
			return fmt.Errorf("join %v on %s: %w", SSDPGroup.Addr(), site.Devices[i], err)
		}
	}
	l, err := net.Listen("tcp4", netip.AddrPortFrom(site.Address, s.core.cfg.HTTPPort).String())
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	s.closers = append(s.closers, l)
	if s.core.cfg.UPnP == Silent {
		return nil // the kernel takes connections; nobody reads them
	}
	s.serveHTTP(l)
	return nil
}

func (s *Server) serveHTTP(l net.Listener) {
	const patience = 10 * time.Second // with a client that dawdles
	h := &http.Server{
		Handler: http.HandlerFunc(s.handle), ReadTimeout: patience, WriteTimeout: patience,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a client's mistakes are its own
	}
	h.SetKeepAlivesEnabled(false)
	s.closers = append(s.closers, h)
	s.loops.Go(func() { _ = h.Serve(l) }) // ends when it is closed
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	from, fromErr := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || fromErr != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	answer := s.core.HTTP(s.now(), from, Request{Method: r.Method, Path: r.URL.Path, Action: r.Header.Get("SOAPAction"), Body: body})
	s.mu.Unlock()
	header := w.Header()
	header.Set("Server", serverHeader)
	if len(answer.Body) > 0 {
		header.Set("Content-Type", `text/xml; charset="utf-8"`)
		header.Set("Ext", "")
		header.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // a client that has gone does not matter
}

// announce sends what the core has to tell unasked, when it is due.
func (s *Server) announce() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.wake:
		case <-timer.C:
		}
		s.mu.Lock()
		out := s.core.Advance(s.now())
		next, more := s.core.Deadline()
		s.mu.Unlock()
		for _, o := range out {
			if conn := s.group[o.To]; conn != nil {
				conn.cast(s.devices, o)
			}
		}
		timer.Stop()
		if more {
			timer.Reset(next - s.now())
		}
	}
}

// Announce tells the LAN the services, the external address and the epoch, as after a start or a changed address.
func (s *Server) Announce() {
	s.mu.Lock()
	s.core.Announce(s.now())
	s.mu.Unlock()
	s.awaken()
}

// Reboot follows the router's: call it once the router has lost its state, by a reboot or a new external address.
func (s *Server) Reboot() error {
	s.mu.Lock()
	err := s.core.Reboot(s.now())
	s.mu.Unlock()
	s.awaken()
	return err
}

// Reset makes the server as new, without a word to the LAN: for the next trial.
func (s *Server) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Reset(s.now())
}

// Counts returns how many requests ended how since the last Reset.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Counts()
}

func (s *Server) awaken() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close ends the services; mappings stay.
func (s *Server) Close() error {
	var errs []error
	s.once.Do(func() { close(s.closing) })
	for _, c := range s.closers {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	s.loops.Wait()
	return errors.Join(errs...)
}
