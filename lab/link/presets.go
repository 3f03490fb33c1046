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
		Name: "broadband",
		Up:   Impairment{Delay: 12 * ms, Jitter: ms / 2, KeepOrder: true, Rate: 14_000_000},
		Down: Impairment{Delay: 12 * ms, Jitter: ms / 2, KeepOrder: true, Rate: 64_000_000},
		Source: "rates: means of UK lines, November 2019, Ofcom, UK Home Broadband Performance, 13 May 2020; " +
			"delay: of the size of DSL and cable in FCC, Measuring Broadband America, Eighth Report, 2018 (not re-read); " +
			"jitter and the 100 ms queue are this project's choice",
	},
	{
		Name: "lte",
		Up:   Impairment{Delay: 26 * ms, Jitter: 6 * ms, KeepOrder: true, Rate: 13_600_000, QueueBytes: 340_000},
		Down: Impairment{Delay: 26 * ms, Jitter: 4 * ms, KeepOrder: true, Rate: 14_700_000, QueueBytes: 367_500},
		Source: "rates and half of the mean round trip of 53.1 ms: Ofcom, Measuring mobile broadband performance in the UK, " +
			"measured October to December 2014, published April 2015; jitter and the 200 ms queue are this project's choice",
	},
	{
		Name: "satellite",
		Up:   Impairment{Delay: 300 * ms, Jitter: 10 * ms, KeepOrder: true, Rate: 5_000_000, QueueBytes: 125_000},
		Down: Impairment{Delay: 300 * ms, Jitter: 10 * ms, KeepOrder: true, Rate: 20_000_000, QueueBytes: 500_000},
		Source: "geostationary; half of the typical round trip of 600 ms: FAU Erlangen, Computer Networks 7, satellite Internet measurements; " +
			"rates: usual tariffs of European providers (not re-read); jitter and the 200 ms queue are this project's choice",
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
