package capture

import (
	"hash/fnv"
	"slices"
	"sort"
	"time"
)

// find returns the sighting on a cable that a packet which came to the router is: in a direction, later by no more than slack,
// the same but for what is translated, and, of several copies of one datagram, that which left last before it.
//
//	came   1 ──── 2 ──── 3 ─────────
//	went                  3'            1 and 2 were dropped
//
// By likely the ends must be what the mappings seen so far make of them; where nothing is so, possible counts.
func (k *kernelRouter) find(cable string, out bool, p passage, likely, possible sameness) *sighting {
	for _, same := range []sameness{likely, possible} {
		if went := k.went(cable, out, p, same); len(went) > 0 {
			return k.claim(p, went, same)
		}
	}
	return nil
}

// sameness reports whether a packet's ends, as it came, may be those of another that left.
type sameness func(came, went *Packet) bool

func sameDst(a, b *Packet) bool { return a.Dst == b.Dst }

func sameSrc(a, b *Packet) bool { return a.Src == b.Src }

func anyEnds(*Packet, *Packet) bool { return true }

// mapsOut and mapsIn are sameness by the mappings that live.
func (k *kernelRouter) mapsOut(a, b *Packet) bool {
	m := k.living(mapKey{b.Protocol, b.Src}, b.T)
	return sameDst(a, b) && (m == nil || m.internal == a.Src)
}

func (k *kernelRouter) mapsIn(a, b *Packet) bool {
	m := k.living(mapKey{a.Protocol, a.Dst}, a.T)
	return sameSrc(a, b) && (m == nil || m.internal == b.Dst)
}

// living is the mapping of an external endpoint at t; nil: none is known.
func (k *kernelRouter) living(key mapKey, t time.Duration) *mapping {
	if m := k.maps[key]; m != nil && key.external.Port() != 0 && t-m.last < k.timeout(key.protocol) {
		return m
	}
	return nil
}

// went lists the sightings that a packet may be, in the order of time.
func (k *kernelRouter) went(cable string, out bool, p passage, same sameness) (all []*sighting) {
	list := k.f.at[cable]
	first := sort.Search(len(list), func(i int) bool { return list[i].t >= p.t-skew })
	for i := first; i < len(list) && list[i].t <= p.t+slack; i++ {
		if s := &list[i]; s.out == out && k.mayBe(p, s, same) {
			all = append(all, s)
		}
	}
	return all
}

// claim returns which of the sightings is p, beside its copies that came later from the same side: from the last sighting on,
// each is the newest packet that came before, or else the oldest one, as the clocks differ. It is nil where all are copies.
func (k *kernelRouter) claim(p passage, went []*sighting, same sameness) *sighting {
	last := went[len(went)-1]
	came := []passage{p}
	for i := p.index + 1; i < len(k.coming) && k.coming[i].t <= last.t+skew; i++ {
		if q := k.coming[i]; q.cable == p.cable && k.mayBe(q, last, same) {
			came = append(came, q)
		}
	}
	for _, s := range slices.Backward(went) {
		if len(came) == 0 {
			return nil
		}
		n := 0
		for i, q := range came {
			if q.t <= s.t {
				n = i
			}
		}
		if came[n].index == p.index {
			return s
		}
		came = slices.Delete(came, n, n+1)
	}
	return nil
}

// mayBe reports whether a packet that came, and is nowhere else, may be what left at s.
func (k *kernelRouter) mayBe(p passage, s *sighting, same sameness) bool {
	a, b := k.packet(p.sighting), k.packet(s)
	return !p.paired && !s.paired && p.sighting != s &&
		a.Protocol == b.Protocol && a.Kind == b.Kind && a.Size == b.Size &&
		k.f.fingerprint(p.packet) == k.f.fingerprint(s.packet) && same(a, b)
}

// fingerprint is of what translation leaves alone in a packet.
func (f *follower) fingerprint(packet int) uint64 {
	if v, ok := f.prints[packet]; ok {
		return v
	}
	p := &f.t.Packets[packet]
	h := fnv.New64a()
	switch p.Kind {
	case ICMPError: // it quotes a packet that is translated, too
		h.Write([]byte(p.Detail))
	default:
		h.Write(p.payload)
	}
	f.prints[packet] = h.Sum64()
	return f.prints[packet]
}

// tcpRest is a segment without its ports and its checksum, which translation changes.
func tcpRest(contents, payload []byte) []byte {
	if len(contents) < 20 {
		return payload
	}
	return slices.Concat(contents[4:16], contents[18:], payload)
}
