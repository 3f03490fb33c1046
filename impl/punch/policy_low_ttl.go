package punch

import "time"

// lowTTL opens the own filter by punches that pass the own routers and end before the peer's (RFC 5128 §3.3 names the hazard: a NAT
// that takes an early inbound packet amiss). Only then come those that are meant to arrive.
var lowTTL = Policy{
	Name:    "low-ttl",
	Summary: "hole punching whose first packets open the own filter and end before the peer's NAT",
	Direct:  true,
	Methods: classic,
	Fast: []time.Duration{
		0, 20 * time.Millisecond, 120 * time.Millisecond, 160 * time.Millisecond, 250 * time.Millisecond, 450 * time.Millisecond,
	},
	TTL:    []uint8{3, 3},
	Slow:   400 * time.Millisecond,
	GiveUp: 3500 * time.Millisecond,
	Budget: few,
	Blind:  256 << 10,
}
