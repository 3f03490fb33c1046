package nat

import (
	"errors"
	"fmt"
	"net/netip"
)

// npt translates prefixes so that no checksum changes (RFC 6296): what the other prefix adds to the sum of the address
// is taken from a word behind it.
//
//	inside    │ fd00:0:0:1       │ word … │        sum(inside) ≡ sum(outside)
//	outside   │ 2001:db8:0:2     │ word + adjust … │
//
// With a prefix of up to 48 bits the word is the one behind them (§3.4); with a longer one it is the first word of the
// interface identifier that is not 0xffff (§3.5).
type npt struct {
	in, ext address6 // prefixes, of the same length:
	bits    int
	adjust  uint16 // added on the way out
}

// prefixes makes NPTv6's two prefixes out of the configuration: the first IPv6 prefix of the LAN, and External6.
func (c Config) prefixes() (npt, error) {
	for _, p := range c.LAN {
		if !p.Addr().Is6() {
			continue
		}
		n := npt{bits: max(p.Bits(), c.External6.Bits())} // §3.1: the shorter is extended with zeros
		if n.bits > 64 {
			return n, fmt.Errorf("NPTv6 prefixes %v and %v: want at most 64 bits (RFC 6296 §3.1)", p, c.External6)
		}
		if p.Overlaps(c.External6) {
			return n, fmt.Errorf("NPTv6 prefixes %v and %v overlap: want two", p, c.External6)
		}
		n.in, n.ext = p.Masked().Addr().As16(), c.External6.Masked().Addr().As16()
		n.adjust = folded(wordSum(n.in[:]) + uint64(^folded(wordSum(n.ext[:]))))
		return n, nil
	}
	return npt{}, errors.New("NPTv6 needs an IPv6 prefix inside: give the LAN one")
}

// wordSum adds 16-bit words.
func wordSum(b []byte) (s uint64) {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint64(b[i])<<8 | uint64(b[i+1])
	}
	return s
}

func (n *npt) outer(a address6) bool { return n.has(n.ext, a) }
func (n *npt) inner(a address6) bool { return n.has(n.in, a) }

func (n *npt) has(prefix, a address6) bool {
	return netip.PrefixFrom(netip.AddrFrom16(prefix), n.bits).Contains(netip.AddrFrom16(a))
}

// translate changes the addresses of a packet from a side, and reports false for one that has no counterpart. What is
// sent from inside to an external address is turned around (§4.1).
func (n *npt) translate(from Side, w *ways6, quotes bool) bool {
	ok := true
	swap := func(a *address6, out bool) {
		if !ok || out && !n.inner(*a) || !out && !n.outer(*a) {
			return
		}
		*a, ok = n.swap(*a, out)
	}
	if from == Outside {
		swap(&w.dst, false)
		if quotes {
			swap(&w.qsrc, false)
		}
		return ok
	}
	hairpin := n.outer(w.dst)
	if !n.inner(w.src) { // another prefix of the LAN: it has no outer one
		return false
	}
	swap(&w.src, true)
	if quotes {
		swap(&w.qdst, true)
	}
	if hairpin {
		w.to = Inside
		swap(&w.dst, false)
		if quotes {
			swap(&w.qsrc, false)
		}
	}
	return ok
}

// swap exchanges the prefix of an address.
func (n *npt) swap(a address6, out bool) (address6, bool) {
	prefix, adjust := n.ext, n.adjust
	if !out {
		prefix, adjust = n.in, ^n.adjust
	}
	at, ok := n.word(a)
	if !ok {
		return a, false
	}
	for i := range 8 {
		mask := byte(0)
		if k := n.bits - 8*i; k >= 8 {
			mask = 0xff
		} else if k > 0 {
			mask = 0xff << (8 - k)
		}
		a[i] = prefix[i]&mask | a[i]&^mask
	}
	s := folded(uint64(a[at])<<8 + uint64(a[at+1]) + uint64(adjust))
	if s == 0xffff {
		s = 0
	}
	a[at], a[at+1] = byte(s>>8), byte(s)
	return a, true
}

// word is the place of the word that makes up for the prefix. Nothing can for a word of 0xffff, and an identifier of
// zeros is the routers' anycast address.
func (n *npt) word(a address6) (int, bool) {
	if n.bits <= 48 {
		return 6, a[6] != 0xff || a[7] != 0xff
	}
	if be32(a[8:])|be32(a[12:]) == 0 {
		return 0, false
	}
	for at := 8; at < 16; at += 2 {
		if a[at] != 0xff || a[at+1] != 0xff {
			return at, true
		}
	}
	return 0, false
}
