package link

import (
	"slices"
	"time"
)

const ms = time.Millisecond

// presets are access links as a home has them. Delays are one way between the site and the fabric's core, so that
// the round trip between two sites is the sum of four of them.
var presets = []Profile{
	{
		Name:   "perfect",
		Source: "no impairment: what the lab itself adds",
	},
	{
		Name:   "lan",
		Up:     Impairment{Delay: 200 * time.Microsecond, Jitter: 50 * time.Microsecond, KeepOrder: true, Rate: 1_000_000_000},
		Down:   Impairment{Delay: 200 * time.Microsecond, Jitter: 50 * time.Microsecond, KeepOrder: true, Rate: 1_000_000_000},
		Source: "1000BASE-T rate (IEEE 802.3ab); the delay is this project's choice",
	},
	{
		Name:   "broadband",
		Up:     Impairment{Delay: 12 * ms, Jitter: 1 * ms, KeepOrder: true, Rate: 15_000_000, QueueBytes: 187_500},
		Down:   Impairment{Delay: 12 * ms, Jitter: 1 * ms, KeepOrder: true, Rate: 75_000_000, QueueBytes: 468_750},
		Source: "pending",
	},
	{
		Name:   "lte",
		Up:     Impairment{Delay: 20 * ms, Jitter: 6 * ms, KeepOrder: true, Rate: 10_000_000, QueueBytes: 250_000, MTU: 1428},
		Down:   Impairment{Delay: 20 * ms, Jitter: 4 * ms, KeepOrder: true, Rate: 35_000_000, QueueBytes: 875_000, MTU: 1428},
		Source: "pending",
	},
	{
		Name:   "satellite",
		Up:     Impairment{Delay: 150 * ms, Jitter: 10 * ms, KeepOrder: true, Rate: 3_000_000},
		Down:   Impairment{Delay: 150 * ms, Jitter: 10 * ms, KeepOrder: true, Rate: 50_000_000},
		Source: "pending",
	},
}

// Presets returns the named links, the least impaired first.
func Presets() []Profile { return slices.Clone(presets) }

// Lookup finds a preset by its name.
func Lookup(name string) (Profile, bool) {
	for _, p := range presets {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}
