package soak

import (
	"context"
	"time"
)

// Row is what one sort of datagram draws from a target that it names somebody else to, as its sender.
type Row struct {
	Target     string  `json:"target"`  // rendezvous, relay, camera
	Message    string  `json:"message"` // attack.Kinds, and what was captured
	Variant    string  `json:"variant"` // plain, replayed, cut, padded
	In         int64   `json:"in"`      // datagrams sent
	BytesIn    int64   `json:"bytes_in"`
	Out        int64   `json:"out"` // packets that the named sender got, ICMP included
	BytesOut   int64   `json:"bytes_out"`
	Reflection float64 `json:"reflection"` // bytes out ÷ bytes in, IP headers counted
}

// Table is what all sorts draw.
type Table struct {
	Seed   uint64        `json:"seed"`
	Waited time.Duration `json:"waited"` // ns, for what is sent again, behind the last datagram
	Rows   []Row         `json:"rows"`
}

// Reflect sends each sort of datagram, Setup.Tries of each, in the name of a host that has nothing to do with anybody, and counts what
// that host gets, also what is sent again within wait. The camera is as open as one can be: on the internet, listening there, and on a LAN.
func Reflect(ctx context.Context, s Setup, wait time.Duration) (Table, error) {
	return reflect(ctx, s, wait)
}
