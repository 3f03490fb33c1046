package fabric

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// target is whom a route leads to.
type target interface {
	comparable
	Name() string
}

// routes finds the uplink, or on a LAN the station, of an address: the longest prefix wins.
type routes[T target] struct {
	hosts4   map[[4]byte]T
	hosts6   map[[16]byte]T
	prefixes []route[T] // longest first
}

type route[T target] struct {
	is4    bool
	bits   int
	hi, lo uint64 // the address, an IPv4 one in the upper half of hi
	to     T
}

func (r *routes[T]) owner(p netip.Prefix) T {
	p = p.Masked()
	if p.IsSingleIP() {
		return r.host(p.Addr())
	}
	for _, k := range r.prefixes {
		if k.is4 == p.Addr().Is4() && k.bits == p.Bits() && k.match(key(p.Addr())) {
			return k.to
		}
	}
	var none T
	return none
}

// check tells why the prefixes cannot lead to u.
func (r *routes[T]) check(routed []netip.Prefix, u T) error {
	for _, p := range routed {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("route %v is not a prefix of IPv4 or IPv6", p)
		}
		var none T
		if o := r.owner(p); o != none && o != u {
			return fmt.Errorf("route %v already leads to %q", p, o.Name())
		}
	}
	return nil
}

// replace lets these prefixes lead to u, and no others.
func (r *routes[T]) replace(routed []netip.Prefix, u T) error {
	if err := r.check(routed, u); err != nil {
		return err
	}
	r.remove(u)
	for _, p := range routed {
		r.add(p, u)
	}
	return nil
}

func (r *routes[T]) host(a netip.Addr) T {
	if a.Is4() {
		return r.hosts4[a.As4()]
	}
	return r.hosts6[a.As16()]
}

func (r *routes[T]) add(p netip.Prefix, u T) {
	p = p.Masked()
	a := p.Addr()
	switch {
	case p.IsSingleIP() && a.Is4():
		if r.hosts4 == nil {
			r.hosts4 = map[[4]byte]T{}
		}
		r.hosts4[a.As4()] = u
	case p.IsSingleIP():
		if r.hosts6 == nil {
			r.hosts6 = map[[16]byte]T{}
		}
		r.hosts6[a.As16()] = u
	default:
		hi, lo := key(a)
		r.prefixes = append(r.prefixes, route[T]{is4: a.Is4(), bits: p.Bits(), hi: hi, lo: lo, to: u})
		slices.SortStableFunc(r.prefixes, func(x, y route[T]) int { return y.bits - x.bits })
	}
}

func (r *routes[T]) remove(u T) {
	for a, k := range r.hosts4 {
		if k == u {
			delete(r.hosts4, a)
		}
	}
	for a, k := range r.hosts6 {
		if k == u {
			delete(r.hosts6, a)
		}
	}
	r.prefixes = slices.DeleteFunc(r.prefixes, func(k route[T]) bool { return k.to == u })
}

// lookup4 and lookup6 take an address as a packet has it.
func (r *routes[T]) lookup4(a [4]byte) T {
	if u, ok := r.hosts4[a]; ok {
		return u
	}
	return r.scan(true, uint64(binary.BigEndian.Uint32(a[:]))<<32, 0)
}

func (r *routes[T]) lookup6(a [16]byte) T {
	if u, ok := r.hosts6[a]; ok {
		return u
	}
	return r.scan(false, binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]))
}

// to and from find whom a packet leads to that check has passed, and whom it came from.
func (r *routes[T]) to(b []byte) T {
	if b[0]>>4 == 4 {
		return r.lookup4([4]byte(b[16:20]))
	}
	return r.lookup6([16]byte(b[24:40]))
}

func (r *routes[T]) from(b []byte) T {
	if b[0]>>4 == 4 {
		return r.lookup4([4]byte(b[12:16]))
	}
	return r.lookup6([16]byte(b[8:24]))
}

func (r *routes[T]) scan(is4 bool, hi, lo uint64) T {
	for i := range r.prefixes {
		if k := &r.prefixes[i]; k.is4 == is4 && k.match(hi, lo) {
			return k.to
		}
	}
	var none T
	return none
}

func (k *route[T]) match(hi, lo uint64) bool {
	if k.bits <= 64 {
		return (hi^k.hi)>>(64-k.bits) == 0
	}
	return hi == k.hi && (lo^k.lo)>>(128-k.bits) == 0
}

func key(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:])) << 32, 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
}
