package fabric

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// BenchmarkFabric sends packets of 1200 bytes through two impaired links in virtual time, with about 1500 in flight.
func BenchmarkFabric(b *testing.B) {
	f := New(Config{})
	u, _ := pair(b, f.NewNet(1), busy)
	data, now := udp(1200), time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 20 * time.Microsecond
		p := f.Get()
		p.Set(data)
		u.Send(now, p)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// BenchmarkRouted is BenchmarkFabric through a router: translation and its uplink.
func BenchmarkRouted(b *testing.B) {
	h := newHome(b, preset(b, "port-restricted-cone"), busy, false)
	h.peer.out = &sink{}
	data, now := datagram("192.168.1.2:1000", "198.51.100.1:5", 1172), time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 20 * time.Microsecond
		sendBytes(h.fab, h.station, now, data)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// BenchmarkGSO sends packets of 64 KiB through unimpaired links, between uplinks and from behind a router.
func BenchmarkGSO(b *testing.B) {
	for _, from := range []string{"uplink", "station"} {
		b.Run(from, func(b *testing.B) {
			h := newHome(b, preset(b, "full-cone"), link.Profile{}, true)
			h.peer.out = &sink{}
			src, u := netip.AddrPortFrom(inner4, 4000), sender(h.station)
			if from == "uplink" {
				src, u = tcpDst, h.peer
			}
			syn, _ := tcp(src, tcpDst, 0, 0)
			setFlags(syn, packet.SYN)
			data, g := tcp(src, tcpDst, 64000, 1400)
			sendBytes(h.fab, u, 0, syn)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				sendBig(h.fab, u, 0, data, g)
			}
		})
	}
}
