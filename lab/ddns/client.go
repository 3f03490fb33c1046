package ddns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Update tells the provider at server, over HTTP, that the account's name is where this request comes from. It returns the
// address that the provider saw.
func Update(ctx context.Context, dial Dialer, server netip.AddrPort, a Account) (netip.Addr, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	u := url.URL{Scheme: "http", Host: server.String(), Path: "/nic/update", RawQuery: url.Values{"hostname": {strings.TrimSuffix(a.Name, ".")}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("update %s: %w", a.Name, err)
	}
	req.SetBasicAuth(a.User, a.Password)
	res, err := client.Do(req)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("update %s: %w", a.Name, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 512))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("update %s: %w", a.Name, err)
	}
	word, addr, _ := strings.Cut(strings.TrimSpace(string(body)), " ")
	if word != "good" && word != "nochg" {
		return netip.Addr{}, fmt.Errorf("update %s: the provider says %q (%s)", a.Name, word, res.Status)
	}
	at, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("update %s: the provider answers with no address: %q", a.Name, body)
	}
	return at, nil
}

// ErrNoName says that a name has no address.
var ErrNoName = errors.New("no such name")

// Resolver asks one server.
type Resolver struct {
	Conn   net.PacketConn // where the queries leave
	Server netip.AddrPort
	Retry  time.Duration // a query without an answer is sent again after so long; 0: 1 s
}

// Lookup returns the IPv4 address of a name, in as many tries as ctx has time for.
func (r Resolver) Lookup(ctx context.Context, name string) (netip.Addr, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeA)
	b, err := q.Pack()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look up %s: %w", name, err)
	}
	retry := r.Retry
	if retry == 0 {
		retry = time.Second
	}
	stop := context.AfterFunc(ctx, func() { _ = r.Conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, dns.DefaultMsgSize)
	for ctx.Err() == nil {
		if _, err := r.Conn.WriteTo(b, net.UDPAddrFromAddrPort(r.Server)); err != nil {
			return netip.Addr{}, fmt.Errorf("look up %s: %w", name, err)
		}
		_ = r.Conn.SetReadDeadline(time.Now().Add(retry)) // fails only when closed: so does the read
		if ctx.Err() != nil {
			break
		}
		m, err := r.read(buf, q)
		switch {
		case err == nil:
			return address(m, name)
		case !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err):
			return netip.Addr{}, fmt.Errorf("look up %s: %w", name, err)
		}
	}
	return netip.Addr{}, fmt.Errorf("look up %s: no answer from %v: %w", name, r.Server, ctx.Err())
}

// read waits for the answer to a query, from the server (RFC 5452 §9.1).
func (r Resolver) read(buf []byte, q *dns.Msg) (*dns.Msg, error) {
	for {
		n, from, err := r.Conn.ReadFrom(buf)
		if err != nil {
			return nil, err
		}
		u, ok := from.(*net.UDPAddr)
		m := new(dns.Msg)
		if !ok || netip.AddrPortFrom(u.AddrPort().Addr().Unmap(), u.AddrPort().Port()) != r.Server || m.Unpack(buf[:n]) != nil || !answers(m, q) {
			continue
		}
		return m, nil
	}
}

// answers says whether a message is the answer to a query.
func answers(m, q *dns.Msg) bool {
	return m.Response && m.Id == q.Id && len(m.Question) == 1 && m.Question[0].Qtype == q.Question[0].Qtype &&
		dns.CanonicalName(m.Question[0].Name) == dns.CanonicalName(q.Question[0].Name)
}

func address(m *dns.Msg, name string) (netip.Addr, error) {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
				return addr, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("look up %s: %w (%s)", name, ErrNoName, dns.RcodeToString[m.Rcode])
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
