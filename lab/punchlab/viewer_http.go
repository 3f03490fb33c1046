package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/program/viewer"
	"github.com/punchlab/punchlab/impl/web"
)

// page is the cameras in a browser.
type page struct {
	server *web.Server
	http   *http.Server
	done   chan error
}

// servePage listens at an address, and says which address a browser is to be given. Who can reach it needs a token, unless that is
// nobody but this host.
func servePage(v viewer.Session, at, token, fragment string) (*page, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, usagef("--http: %w", err)
	}
	bound := netip.MustParseAddrPort(l.Addr().String())
	if token == "" && !bound.Addr().Unmap().IsLoopback() {
		token = rand.Text()
	}
	s, err := web.New(web.Of(v), web.Options{Token: token})
	if err != nil {
		return nil, errors.Join(labError(err), l.Close())
	}
	p := &page{server: s, http: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}, done: make(chan error, 1)}
	go func() { p.done <- p.http.Serve(l) }()
	query := ""
	if token != "" {
		query = "?token=" + token
	}
	for _, a := range pageHosts(bound) {
		fmt.Fprintf(os.Stderr, "page: http://%v/%s%s\n", a, query, fragment)
	}
	return p, nil
}

// pageHosts lists by which addresses a browser finds what is bound.
func pageHosts(bound netip.AddrPort) (all []netip.AddrPort) {
	if !bound.Addr().Unmap().IsUnspecified() {
		return []netip.AddrPort{netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}
	}
	for _, a := range device.GlobalAddrs() {
		if a.Is4() || bound.Addr().Is6() {
			all = append(all, netip.AddrPortFrom(a, bound.Port()))
		}
	}
	return append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), bound.Port()))
}

// close ends the page's sessions and requests.
func (p *page) close() error {
	p.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := p.http.Shutdown(ctx); err != nil {
		_ = p.http.Close()
	}
	if err := <-p.done; !errors.Is(err, http.ErrServerClosed) {
		return labError(err)
	}
	return nil
}
