package link

import (
	"slices"
	"sync"
	"time"
)

const ms = time.Millisecond

// Presets returns the named links: first those whose rate is fixed, the least impaired first, then those that lose
// in bursts, then those that follow a trace.
func Presets() []Profile { return slices.Clone(presets()) }

// Lookup finds a preset by its name.
func Lookup(name string) (Profile, bool) {
	for _, p := range presets() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

var presets = sync.OnceValue(func() []Profile { return slices.Concat(fixed, queues(), bursty(), traced()) })

// fixed are access links as a home has them. Delays are one way between the site and the fabric's core, so that
// the round trip between two sites is the sum of four of them.
var fixed = []Profile{
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
		Name: "cable",
		Up:   Impairment{Delay: 10 * ms, Jitter: 3 * ms, KeepOrder: true, Rate: 12_000_000},
		Down: Impairment{Delay: 10 * ms, Jitter: ms, KeepOrder: true, Rate: 200_000_000},
		Source: "asymmetric: a 200/12 Mbit/s tariff; delay: of the size of cable in FCC, Measuring Broadband America, Thirteenth Report, " +
			"2024 (charts not re-read); the uplink's jitter stands for DOCSIS's requests and grants, it and the 100 ms queue are this project's choice",
	},
	{
		Name: "adsl",
		Up:   Impairment{Delay: 14 * ms, Jitter: ms / 2, KeepOrder: true, Rate: 1_000_000},
		Down: Impairment{Delay: 14 * ms, Jitter: ms / 2, KeepOrder: true, Rate: 8_000_000},
		Source: "asymmetric: an ADSL2+ line of middling length (ITU-T G.992.5 ends near 24/1.4 Mbit/s; not re-read); " +
			"delay: of the size of DSL in FCC, Measuring Broadband America, Eighth Report, 2018 (not re-read); jitter and the 100 ms queue are this project's choice",
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

// queues are the broadband line and the ADSL line with other queues, and a line that swallows large packets.
func queues() []Profile {
	codel, bloat, hole := mustLookup("broadband"), mustLookup("adsl"), mustLookup("broadband")
	codel.Name = "broadband-codel"
	codel.Up.AQM, codel.Down.AQM = CoDel, CoDel
	codel.Up.QueueBytes, codel.Down.QueueBytes = int(codel.Up.Rate/8), int(codel.Down.Rate/8)
	codel.Source = "broadband with a queue of 1 s managed by CoDel, target 5 ms, interval 100 ms (RFC 8289 §4.3, §4.4)"
	bloat.Name = "bufferbloat"
	bloat.Up.QueueBytes, bloat.Down.QueueBytes = int(bloat.Up.Rate/8), int(bloat.Down.Rate/8)
	bloat.Source = "adsl with a drop-tail queue of 1 s in each direction, as Gettys and Nichols describe " +
		"(Bufferbloat: Dark Buffers in the Internet, CACM 55(1), 2012; not re-read)"
	hole.Name = "mtu-blackhole"
	hole.Up.MTU, hole.Up.MTUBlackhole, hole.Down.MTU, hole.Down.MTUBlackhole = 1400, true, 1400, true
	hole.Source = "broadband through a tunnel of MTU 1400 that sends no ICMP: the failure of RFC 2923 §2.1 and RFC 4821 §1; the MTU is this project's choice"
	return []Profile{codel, bloat, hole}
}

func mustLookup(name string) Profile {
	for _, p := range fixed {
		if p.Name == name {
			return p
		}
	}
	panic("link: no preset " + name)
}

// bursty are links that lose in bursts: a Gilbert–Elliott chain in each direction.
func bursty() []Profile {
	const (
		figures = "the chain's figures: presets of str0m's netem crate (re-read, commit 1d877973), whose authors name no measurement"
		caveat  = "measured Wi-Fi has longer tails than any such chain (Carvalho, Angeja, Navarro, IEEE Trans. Consumer Electronics 51(3), 2005, abstract re-read)"
	)
	wifi := Profile{Name: "wifi-lossy", Up: mustLookup("broadband").Up, Down: mustLookup("broadband").Down,
		Source: "broadband behind a Wi-Fi of poor signal: 5 % lost, 2 at a time; " + figures + "; " + caveat}
	wifi.Up.Burst = &GilbertElliott{GoodToBad: 1. / 40, BadToGood: 1. / 2, LossBad: 1}
	wifi.Down.Burst = wifi.Up.Burst
	lte := Profile{Name: "lte-bursty", Up: mustLookup("lte").Up, Down: mustLookup("lte").Down,
		Source: "lte with 2 % lost, 2 at a time; " + figures + "; that such loss comes with moves between cells and technologies: " +
			"Baltrūnas, Elmokashfi, Kvalbein, Alay, Investigating Packet Loss in Mobile Broadband Networks under Mobility, 2016 (abstract re-read)"}
	lte.Up.Burst = &GilbertElliott{GoodToBad: 1. / 100, BadToGood: 1. / 2, LossBad: 1}
	lte.Down.Burst = lte.Up.Burst
	dsl := Profile{Name: "dsl-bursty", Up: mustLookup("adsl").Up, Down: mustLookup("adsl").Down,
		Source: "adsl with 0.5 % lost, 4 at a time, on the way down and a tenth of that on the way up: this project's choice in the range of " +
			"Ellis, Pezaros, Kypraios, Perkins, A two-level Markov model for packet loss …, Computer Networks 70, 2014 (abstract re-read; it also shows where two states fall short)"}
	dsl.Down.Burst = &GilbertElliott{GoodToBad: 0.00125, BadToGood: 0.25, LossBad: 1}
	dsl.Up.Burst = &GilbertElliott{GoodToBad: 0.000125, BadToGood: 0.25, LossBad: 1}
	return []Profile{dsl, wifi, lte,
		{
			Name: "3g",
			Up:   Impairment{Delay: 60 * ms, Jitter: 20 * ms, KeepOrder: true, Rate: 1_000_000, QueueBytes: 62_500, Burst: &GilbertElliott{GoodToBad: 0.002, BadToGood: 0.2, LossBad: 1}},
			Down: Impairment{Delay: 50 * ms, Jitter: 10 * ms, KeepOrder: true, Rate: 4_000_000, QueueBytes: 250_000, Burst: &GilbertElliott{GoodToBad: 0.002, BadToGood: 0.2, LossBad: 1}},
			Source: "an HSPA network: that it loses in bursts and stops for short times: Jang et al., 3G and 3.5G Wireless Network Performance Measured from Moving Cars and High-Speed Trains, " +
				"2009 (abstract re-read, figures not); rates, delays, 500 ms queues and 1 % loss, 5 at a time, are this project's choice",
		},
		{
			Name: "in-flight",
			Up:   Impairment{Delay: 100 * ms, Jitter: 5 * ms, KeepOrder: true, Rate: 1_000_000, QueueBytes: 25_000, Burst: inFlight},
			Down: Impairment{Delay: 100 * ms, Jitter: 5 * ms, KeepOrder: true, Rate: 10_000_000, QueueBytes: 250_000, Burst: inFlight},
			Source: "direct air-to-ground: chain, rate and delay within the ranges that Michel, De Coninck and Bonaventure took from measurements in aircraft " +
				"(QUIC-FEC, IFIP Networking 2019: good-to-bad 1–8 %, bad-to-good 8–50 %, loss 90–100 % and 0–2 %, 0.3–10 Mbit/s, 100–400 ms; re-read at second hand); jitter and the 200 ms queue are this project's choice",
		},
		{
			Name: "starlink",
			Up:   Impairment{Delay: 20 * ms, Jitter: 8 * ms, KeepOrder: true, Rate: 17_000_000, QueueBytes: 212_500, Burst: leo},
			Down: Impairment{Delay: 20 * ms, Jitter: 8 * ms, KeepOrder: true, Rate: 178_000_000, QueueBytes: 2_225_000, Burst: leo},
			Source: "asymmetric low orbit; round trips of 40, 50 and 60 ms at the quartiles: Michel, Trevisan, Giordano, Bonaventure, A First Look at Starlink Performance, IMC 2022 " +
				"(by its authors' summary, APNIC blog, 28 November 2022, re-read); median rates and 0.4 % loss: from memory of the same paper; burst length and the 100 ms queue are this project's choice",
		},
	}
}

var (
	inFlight = &GilbertElliott{GoodToBad: 0.03, BadToGood: 0.2, LossGood: 0.01, LossBad: 0.95}
	leo      = &GilbertElliott{GoodToBad: 0.0008, BadToGood: 0.2, LossBad: 1}
)

// traced are links that follow the shipped synthetic traces.
func traced() []Profile {
	const synthetic = "a synthetic trace (see Synthetic), entered at a place drawn from the seed; "
	return []Profile{
		{
			Name:   "lte-drive",
			Up:     Impairment{Delay: 26 * ms, Jitter: 2 * ms, KeepOrder: true, Trace: shippedTrace("lte-drive-up"), QueueBytes: 500_000},
			Down:   Impairment{Delay: 26 * ms, Jitter: 2 * ms, KeepOrder: true, Trace: shippedTrace("lte-drive-down"), QueueBytes: 1_000_000},
			Source: synthetic + "delay: that of lte; the deep queues: as Winstein, Sivaraman, Balakrishnan describe (Sprout, NSDI 2013; not re-read), their size is this project's choice",
		},
		{
			Name:   "wifi-crowded",
			Up:     Impairment{Delay: 12 * ms, Jitter: ms / 2, KeepOrder: true, Trace: shippedTrace("wifi-crowded-up"), QueueBytes: 150_000, Loss: 0.002},
			Down:   Impairment{Delay: 12 * ms, Jitter: ms / 2, KeepOrder: true, Trace: shippedTrace("wifi-crowded-down"), QueueBytes: 300_000, Loss: 0.002},
			Source: synthetic + "delay: that of broadband; loss beyond 802.11's retries and the queues are this project's choice",
		},
	}
}
