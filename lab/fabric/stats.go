package fabric

import (
	"time"

	"github.com/punchlab/punchlab/lab/link"
)

// Lateness summarizes how late packets were delivered: from their due time to the start of their delivery, and
// before that unread (Packet.Held).
type Lateness struct {
	P50, P99, Max time.Duration // quantiles to within 3.2 %, upper ends of their buckets
	N             uint64        // packets
}

// Count is a number of packets and their bytes from the IP header on. A GSO packet counts as its segments.
type Count struct{ Packets, Bytes uint64 }

func (c *Count) add(p *Packet) {
	if p.GSO.Type == GSONone {
		c.Packets++
		c.Bytes += uint64(p.n)
		return
	}
	k := p.wire()
	c.Packets += k.Packets
	c.Bytes += k.Bytes
}

// UplinkStats counts what one uplink did since the net's Reset.
type UplinkStats struct {
	Name  string
	Up    Count      // what the site sent, before the link's decision
	Down  Count      // what the site was given
	Drops link.Drops // of the packets that the site sent and of those that it should have been given
}

// Stats counts what a net did since its Reset.
type Stats struct {
	Lateness Lateness
	Uplinks  []UplinkStats // in the order of their names
}
