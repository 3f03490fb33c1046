package ddns

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Who begins a request and does not end it, or keeps a connection for later, is let go.
func TestSlowCustomers(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(http.NotFoundHandler(), 200*time.Millisecond)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	defer func() {
		s.Close()
		<-done
	}()
	for name, said := range map[string]string{
		"head":  "GET /nic/update HTTP/1.1\r\n",
		"body":  "GET /nic/update HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
		"later": "GET /nic/update HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// On a busy machine it says that when it has been let go already, and is reset.
		if _, err := c.Write([]byte(said)); err != nil && !gone(err) {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && !gone(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func gone(err error) bool { return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) }

// liar answers queries with what it likes, and the true answer last.
func liar(t *testing.T, lies ...func(*dns.Msg)) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(b[:n]) != nil {
				continue
			}
			for i := range len(lies) + 1 {
				m := new(dns.Msg).SetReply(q)
				m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 66)}}
				if i == len(lies) {
					m.Answer[0].(*dns.A).A = net.IPv4(192, 0, 2, 1)
				} else {
					lies[i](m)
				}
				if b, err := m.Pack(); err == nil {
					_, _ = c.WriteTo(b, from)
				}
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// What does not answer the question asked is left out.
func TestForeignAnswers(t *testing.T) {
	server := liar(t,
		func(m *dns.Msg) { m.Response = false },
		func(m *dns.Msg) { m.Id++ },
		func(m *dns.Msg) { m.Question[0].Name = "other.example." },
		func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		func(m *dns.Msg) { m.Question = nil },
	)
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at, err := Resolver{Conn: c, Server: server}.Lookup(t.Context(), "Door.cams.example")
	if err != nil || at != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("%v, %v", at, err)
	}
}
