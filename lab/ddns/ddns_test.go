package ddns_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/ddns"
)

var account = ddns.Account{User: "ann", Password: "secret", Name: "door.cams.example."}

// serve starts a provider on loopback.
func serve(t *testing.T) (queries, updates netip.AddrPort) {
	t.Helper()
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := ddns.Serve("cams.example", []ddns.Account{account}, u, l)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return u.LocalAddr().(*net.UDPAddr).AddrPort(), l.Addr().(*net.TCPAddr).AddrPort()
}

func resolver(t *testing.T, server netip.AddrPort) ddns.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return ddns.Resolver{Conn: c, Server: server, Retry: 20 * time.Millisecond}
}

func TestNameFollowsTheUpdate(t *testing.T) {
	queries, updates := serve(t)
	r := resolver(t, queries)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := r.Lookup(ctx, "door.cams.example"); !errors.Is(err, ddns.ErrNoName) {
		t.Errorf("before any update: %v", err)
	}
	var d net.Dialer
	at, err := ddns.Update(ctx, d.DialContext, updates, account)
	if err != nil || at.String() != "127.0.0.1" {
		t.Fatalf("update says %v, %v", at, err)
	}
	got, err := r.Lookup(ctx, "Door.CAMS.example")
	if err != nil || got != at {
		t.Errorf("lookup says %v, %v", got, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	queries, updates := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var d net.Dialer
	for want, a := range map[string]ddns.Account{
		"badauth": {User: "ann", Password: "guess", Name: account.Name},
		"nohost":  {User: "ann", Password: "secret", Name: "window.cams.example."},
	} {
		if _, err := ddns.Update(ctx, d.DialContext, updates, a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", a, err, want)
		}
	}
	if _, err := resolver(t, queries).Lookup(ctx, "example.org"); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("a name of somebody else's: %v", err)
	}
}

// A resolver asks again when an answer is lost, does not take one from elsewhere, and gives up with its context.
func TestLookupRetries(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := resolver(t, c.LocalAddr().(*net.UDPAddr).AddrPort())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	asked := make(chan int)
	go func() {
		buf, n := make([]byte, 1500), 0
		for ; n < 3; n++ {
			if _, _, err := c.ReadFrom(buf); err != nil {
				break
			}
		}
		cancel()
		asked <- n
	}()
	if _, err := r.Lookup(ctx, "door.cams.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("lookup ends with %v", err)
	}
	if n := <-asked; n != 3 {
		t.Errorf("%d queries came", n)
	}
}
