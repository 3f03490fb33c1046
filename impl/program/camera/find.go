package camera

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// How long a name may take to be found: at a start where it was found before, that is used instead.
const (
	findFirst = 4 * time.Second
	findAgain = 10 * time.Second // between tries
)

// find is where the rendezvous is: by its name, where there is a resolver; else where it last was. A camera without the internet serves
// its own network all the same.
func (h *Handle) find(ctx context.Context) ([]netip.AddrPort, error) {
	for {
		try, cancel := context.WithTimeout(ctx, findFirst)
		addrs, err := h.lookUp(try)
		cancel()
		if err == nil {
			h.remember(addrs)
			return addrs, nil
		}
		if known := h.known(); len(known) > 0 {
			h.opt.Log.Warn("the rendezvous' name is not found: going where it last was", "error", err.Error(), "addresses", known)
			return known, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		h.opt.Log.Error("the rendezvous' name is not found: is there a network, and a name server?", "error", err.Error(),
			"retry", findAgain.String())
		if !pause(ctx, findAgain) {
			return nil, err
		}
	}
}

// lookUp finds the addresses of the label's hosts, in the label's order. One that is found is enough.
func (h *Handle) lookUp(ctx context.Context) (addrs []netip.AddrPort, err error) {
	var errs []error
	for _, host := range h.state.label.Rendezvous {
		at, err := h.resolve(ctx, host)
		if err != nil {
			errs = append(errs, fmt.Errorf("find %s: %w", host, err))
			continue
		}
		for _, a := range at {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	if len(addrs) == 0 {
		return nil, errors.Join(errs...)
	}
	return addrs, nil
}

func (h *Handle) resolve(ctx context.Context, host string) ([]netip.AddrPort, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), uint16(n))}, nil
	}
	found, err := h.opt.Resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	var at []netip.AddrPort
	for _, four := range []bool{true, false} { // a host without IPv6 must not wait for it
		for _, a := range found {
			if a = a.Unmap(); a.Is4() == four {
				at = append(at, netip.AddrPortFrom(a, uint16(n)))
			}
		}
	}
	if len(at) == 0 {
		return nil, errors.New("the name has no address")
	}
	return at, nil
}

// known is where the rendezvous was last found.
func (h *Handle) known() (addrs []netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.state.known)
}

// remember keeps where the rendezvous was found.
func (h *Handle) remember(addrs []netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sameAddrs(addrs, h.state.known) {
		return
	}
	h.state.known = addrs
	if h.state.dir == "" {
		return
	}
	if err := h.state.saveAddresses(addrs); err != nil {
		h.opt.Log.Warn("cannot remember where the rendezvous is", "error", err.Error())
	}
}

// sameAddrs compares without the order, which name servers turn.
func sameAddrs(a, b []netip.AddrPort) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.AddrPort.Compare)
	slices.SortFunc(b, netip.AddrPort.Compare)
	return slices.Equal(a, b)
}
