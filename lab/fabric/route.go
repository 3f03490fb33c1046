package fabric

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// routes finds the uplink of an address: the longest prefix wins.
type routes struct {
	hosts4   map[[4]byte]*Uplink
	hosts6   map[[16]byte]*Uplink
	prefixes []route // longest first
}

type route struct {
	is4    bool
	bits   int
	hi, lo uint64 // the address, an IPv4 one in the upper half of hi
	uplink *Uplink
}

func (r *routes) owner(p netip.Prefix) *Uplink {
	p = p.Masked()
	if p.IsSingleIP() {
		return r.host(p.Addr())
	}
	for _, k := range r.prefixes {
		if k.is4 == p.Addr().Is4() && k.bits == p.Bits() && k.match(key(p.Addr())) {
			return k.uplink
		}
	}
	return nil
}

func (r *routes) host(a netip.Addr) *Uplink {
	if a.Is4() {
		return r.hosts4[a.As4()]
	}
	return r.hosts6[a.As16()]
}

func (r *routes) add(p netip.Prefix, u *Uplink) {
	p = p.Masked()
	a := p.Addr()
	switch {
	case p.IsSingleIP() && a.Is4():
		if r.hosts4 == nil {
			r.hosts4 = map[[4]byte]*Uplink{}
		}
		r.hosts4[a.As4()] = u
	case p.IsSingleIP():
		if r.hosts6 == nil {
			r.hosts6 = map[[16]byte]*Uplink{}
		}
		r.hosts6[a.As16()] = u
	default:
		hi, lo := key(a)
		r.prefixes = append(r.prefixes, route{is4: a.Is4(), bits: p.Bits(), hi: hi, lo: lo, uplink: u})
		slices.SortStableFunc(r.prefixes, func(x, y route) int { return y.bits - x.bits })
	}
}

func (r *routes) remove(u *Uplink) {
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
	r.prefixes = slices.DeleteFunc(r.prefixes, func(k route) bool { return k.uplink == u })
}

// lookup4 and lookup6 take an address as a packet has it.
func (r *routes) lookup4(a [4]byte) *Uplink {
	if u := r.hosts4[a]; u != nil {
		return u
	}
	return r.scan(true, uint64(binary.BigEndian.Uint32(a[:]))<<32, 0)
}

func (r *routes) lookup6(a [16]byte) *Uplink {
	if u := r.hosts6[a]; u != nil {
		return u
	}
	return r.scan(false, binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:]))
}

func (r *routes) scan(is4 bool, hi, lo uint64) *Uplink {
	for i := range r.prefixes {
		if k := &r.prefixes[i]; k.is4 == is4 && k.match(hi, lo) {
			return k.uplink
		}
	}
	return nil
}

func (k *route) match(hi, lo uint64) bool {
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
