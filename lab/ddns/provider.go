package ddns

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// TTL is how long an answer may be kept: as short as providers of dynamic names have it.
const TTL = time.Minute

// Account is a customer and the one name it may update.
type Account struct {
	User, Password string
	Name           string // below the zone, as "front-door.cams.example."
}

// Provider serves a zone. It is safe for concurrent use.
type Provider struct {
	zone     string
	accounts []Account
	dns      *dns.Server
	http     *http.Server
	wg       sync.WaitGroup

	mu    sync.Mutex
	hosts map[string]netip.Addr
}

// Serve starts a provider for a zone on its two sockets, which it closes in Close.
func Serve(zone string, accounts []Account, queries net.PacketConn, updates net.Listener) *Provider {
	p := &Provider{zone: dns.CanonicalName(zone), accounts: accounts, hosts: map[string]netip.Addr{}}
	p.dns = &dns.Server{PacketConn: queries, Handler: dns.HandlerFunc(p.query)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nic/update", p.update)
	p.http = newServer(mux, patience)
	started := make(chan struct{})
	p.dns.NotifyStartedFunc = func() { close(started) }
	p.wg.Go(func() { _ = p.dns.ActivateAndServe() }) // ends with its socket
	p.wg.Go(func() { _ = p.http.Serve(updates) })
	<-started
	return p
}

// patience is how long a customer may take for a request, for taking the answer, and for the next request.
const patience = 10 * time.Second

func newServer(h http.Handler, patience time.Duration) *http.Server {
	return &http.Server{
		Handler: h, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.New(discard{}, "", 0),
	}
}

// discard is where a server's complaints about its clients go: they are answered, too.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// Close ends the provider.
func (p *Provider) Close() error {
	err := errors.Join(p.dns.Shutdown(), p.http.Close())
	p.wg.Wait()
	return err
}

// update takes a dyndns2 request. The words of the answers are that protocol's.
func (p *Provider) update(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	account := p.account(user, password)
	name := dns.CanonicalName(r.URL.Query().Get("hostname"))
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case account == nil:
		w.Header().Set("WWW-Authenticate", `Basic realm="ddns"`)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintln(w, "badauth")
	case dns.CanonicalName(account.Name) != name || !dns.IsSubDomain(p.zone, name):
		fmt.Fprintln(w, "nohost")
	case err != nil:
		fmt.Fprintln(w, "911")
	default:
		fmt.Fprintln(w, p.set(name, from.Addr().Unmap()))
	}
}

func (p *Provider) account(user, password string) *Account {
	for i := range p.accounts {
		a := &p.accounts[i]
		if a.User == user && subtle.ConstantTimeCompare([]byte(a.Password), []byte(password)) == 1 {
			return a
		}
	}
	return nil
}

func (p *Provider) set(name string, addr netip.Addr) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	word := "good"
	if p.hosts[name] == addr {
		word = "nochg"
	}
	p.hosts[name] = addr
	return word + " " + addr.String()
}

// query answers for the zone.
func (p *Provider) query(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	switch {
	case len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeFormatError
	case !dns.IsSubDomain(p.zone, dns.CanonicalName(q.Question[0].Name)):
		m.Authoritative, m.Rcode = false, dns.RcodeRefused
	default:
		p.answer(m, q.Question[0])
	}
	_ = w.WriteMsg(m) // a lost answer is asked for again
}

func (p *Provider) answer(m *dns.Msg, q dns.Question) {
	p.mu.Lock()
	addr, ok := p.hosts[dns.CanonicalName(q.Name)]
	p.mu.Unlock()
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: uint32(TTL / time.Second)}
	switch {
	case !ok:
		m.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeA && addr.Is4():
		m.Answer = append(m.Answer, &dns.A{Hdr: head, A: addr.AsSlice()})
	case q.Qtype == dns.TypeAAAA && addr.Is6():
		m.Answer = append(m.Answer, &dns.AAAA{Hdr: head, AAAA: addr.AsSlice()})
	}
}

// Dialer opens a connection; net.Dialer's DialContext is one.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)
