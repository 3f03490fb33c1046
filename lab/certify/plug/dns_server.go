package plug

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"github.com/punchlab/punchlab/lab"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

// Question is one that the box asked, and what it was told.
type Question struct {
	At      time.Time
	From    netip.AddrPort
	Network string     // "udp" or "tcp"
	Name    string     // as the box wrote it, absolute: P2P.vendor.example.
	Type    string     // "A", "AAAA", "TXT", …
	Answer  netip.Addr // zero: none
	Code    string     // "NOERROR", "NXDOMAIN", …
}

// MaxQuestions is how many questions a server keeps.
const MaxQuestions = 100_000

// Limits on what a box can have the DNS server hold.
const (
	maxConns    = 32 // TCP connections at once
	dnsPatience = 5 * time.Second
)

// dnsServer answers on the outlet's device alone, whatever the router's address is.
type dnsServer struct {
	outlet  *lab.Outlet
	zone    zone
	servers []*dns.Server
	loops   sync.WaitGroup

	mu     sync.Mutex
	kept   []Question
	unkept uint64
}

func serveDNS(o *lab.Outlet, z zone) (*dnsServer, error) {
	s := &dnsServer{outlet: o, zone: z}
	var packets net.PacketConn
	var conns net.Listener
	err := o.Do(func() (err error) {
		at := netip.AddrPortFrom(o.Gateway, 53).String()
		if packets, err = bound(o.Device).ListenPacket(context.Background(), "udp4", at); err != nil {
			return err
		}
		conns, err = bound(o.Device).Listen(context.Background(), "tcp4", at)
		return err
	})
	if err != nil {
		if packets != nil {
			err = errors.Join(err, packets.Close())
		}
		return nil, err
	}
	s.start(&dns.Server{PacketConn: packets, Handler: s.handler("udp")})
	s.start(&dns.Server{
		Listener: netutil.LimitListener(conns, maxConns), Handler: s.handler("tcp"),
		ReadTimeout: dnsPatience, WriteTimeout: dnsPatience, IdleTimeout: func() time.Duration { return dnsPatience },
	})
	return s, nil
}

// start runs a server and returns when it can be shut down.
func (s *dnsServer) start(d *dns.Server) {
	started := make(chan struct{})
	d.NotifyStartedFunc = func() { close(started) }
	s.servers = append(s.servers, d)
	s.loops.Go(func() { _ = d.ActivateAndServe() }) // ends with its socket
	<-started
}

func (s *dnsServer) handler(network string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := s.zone.answer(q)
		s.keep(network, w.RemoteAddr(), m)
		_ = w.WriteMsg(m) // a lost answer is asked for again
	})
}

// keep records what was asked, if anything was.
func (s *dnsServer) keep(network string, from net.Addr, m *dns.Msg) {
	q := Question{At: time.Now(), Network: network, Code: dns.RcodeToString[m.Rcode]}
	if at, err := netip.ParseAddrPort(from.String()); err == nil {
		q.From = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	if len(m.Question) > 0 {
		q.Name, q.Type = m.Question[0].Name, dns.Type(m.Question[0].Qtype).String()
	}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			q.Answer, _ = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			q.Answer, _ = netip.AddrFromSlice(rr.AAAA)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == MaxQuestions {
		s.unkept++
		return
	}
	s.kept = append(s.kept, q)
}

func (s *dnsServer) asked() ([]Question, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.kept), s.unkept
}

// close ends the servers within dnsPatience, whatever their clients do.
func (s *dnsServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), dnsPatience)
	defer cancel()
	var errs []error
	for _, d := range s.servers {
		errs = append(errs, d.ShutdownContext(ctx))
	}
	s.loops.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end DNS: %w", err)
	}
	return nil
}

// bound makes sockets that hear and send by one device.
func bound(device string) *net.ListenConfig {
	c := &net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) }); e != nil {
			return e
		}
		return err
	}}
	c.SetMultipathTCP(false)
	return c
}
