package tape

import (
	"net/netip"
	"slices"
	"time"
)

// What is a stream, whatever its packets: more than any signalling, and less than the least rate of media that may be declared (50 kbit/s).
const (
	streamWindow = 5 * time.Second
	streamBytes  = 30_000 // IP headers counted: 48 kbit/s
)

// Streamed are the packets that are media by their size, and those by which somebody sends as much as media in small packets or by another
// protocol: of what a host sends to an address, or gets from one, those of every window of 5 s that has 30,000 bytes or more. Where a
// criterion says that no media goes, this is what must not.
func Streamed(ps []Packet) (found []Packet) {
	type way struct {
		host string
		out  bool
		peer netip.Addr
	}
	type window struct {
		at    []int // positions of the way's packets
		first int   // of at: the window's first packet
		done  int   // of at: those before it are marked
		sum   int
	}
	ps = byTime(ps)
	ways, meant := map[way]*window{}, make([]bool, len(ps))
	for i := range ps {
		p := &ps[i]
		meant[i] = meant[i] || Media(p)
		k := way{p.Host, p.Out, p.Remote().Addr()}
		w := ways[k]
		if w == nil {
			w = &window{}
			ways[k] = w
		}
		w.at, w.sum = append(w.at, i), w.sum+p.Size
		for ; p.At.Sub(ps[w.at[w.first]].At) >= streamWindow; w.first++ {
			w.sum -= ps[w.at[w.first]].Size
		}
		if w.sum < streamBytes {
			continue
		}
		for w.done = max(w.done, w.first); w.done < len(w.at); w.done++ {
			meant[w.at[w.done]] = true
		}
	}
	for i := range ps {
		if meant[i] {
			found = append(found, ps[i])
		}
	}
	return slices.Clip(found)
}
