package stack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/node/load"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// relayLoad is what both relays are given.
type relayLoad struct {
	size      int // bytes of the datagrams inside
	receivers int
	plain     bool // packets come and go one by one, as between many hosts; else by GSO and GRO, so that clients are no bottleneck
	offered   int  // packets a second; 0: as many as the relay takes, a receive buffer full on the way
}

var relayLoads = []relayLoad{
	{100, 1, false, 0}, {1200, 1, false, 0},
	{100, 1, true, 0}, {1200, 1, true, 0}, {100, 8, true, 0}, {1200, 8, true, 0},
	{1200, 8, true, 60_000}, {1200, 8, true, 20_000},
}

func (l relayLoad) String() string {
	kind, rate := "offload", "saturated"
	if l.plain {
		kind = "plain"
	}
	if l.offered > 0 {
		rate = fmt.Sprintf("offered=%d", l.offered)
	}
	return fmt.Sprintf("bytes=%d/receivers=%d/%s/%s", l.size, l.receivers, kind, rate)
}

// BenchmarkRelay has our rendezvous and Debian's coturn relay the same packets, each from one client to others, in turns.
//
//	clients' namespace ── veth ── relays' namespace
//	 From ─ channel data ─► rendezvous, a process ─ channel data ─► To[0], To[1], …
//	 From ─ channel data ─► turnserver, a process ─ datagrams    ─► To[0], To[1], …
//
// What counts is packets relayed for a second of the relay's own processor time. Coturn relays as it does where one of the
// two has an allocation, the least work for it: the other gets plain datagrams.
func BenchmarkRelay(b *testing.B) {
	netnstest.Require(b, "netns", "turnserver")
	for _, c := range relayLoads {
		b.Run(c.String(), func(b *testing.B) {
			clients, relays := veth(b)
			names := []string{"punchlab", "coturn"}
			result, speed := newContest("packets/core-s", names...), newContest("packets/s", names...)
			var systems []*relayed
			for _, begin := range []func(*testing.B, spot, spot, relayLoad) relay{beginRendezvous, beginCoturn} {
				systems = append(systems, newRelayed(b, begin(b, clients, relays, c), c))
			}
			for _, s := range systems {
				s.run(b) // warm
			}
			var lost int64
			rounds(b, len(systems), func(i int) {
				r := systems[i].run(b)
				lost += r.Lost
				result.add(i, r.PerCore())
				speed.add(i, float64(r.Packets)/r.Elapsed.Seconds())
			})
			result.report(b)
			speed.medians(b)
			b.ReportMetric(float64(lost), "lost")
		})
	}
}

// relay is one that is ready: what From sends arrives at To.
type relay struct {
	addr   netip.AddrPort
	from   *net.UDPConn
	to     []*net.UDPConn
	frames [][]byte // for each of To
	pid    int
}

// relayed is a relay and its load.
type relayed struct {
	relay
	load *load.Load
	want relayLoad
}

func newRelayed(b *testing.B, r relay, want relayLoad) *relayed {
	b.Helper()
	l, err := load.New(load.Config{From: r.from, To: r.to, Relay: r.addr, Frames: r.frames, NoOffload: want.plain, PID: r.pid})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return &relayed{r, l, want}
}

// relayTime is how long a relay is measured in a round.
const relayTime = 500 * time.Millisecond

// run sets the load on the relay for relayTime. An offered one comes in a burst each millisecond. The processor time is that of
// the whole while, what the relay does between bursts included.
func (s *relayed) run(b *testing.B) (sum load.Result) {
	b.Helper()
	packets := int64(2000)
	if s.want.offered > 0 {
		packets = int64(s.want.offered) / 1000
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begun, before := time.Now(), processTime(b, s.pid)
	for time.Since(begun) < relayTime {
		r, err := s.load.Run(context.Background(), packets)
		if err != nil {
			b.Fatal(err)
		}
		sum.Packets += r.Packets
		sum.Lost += r.Lost
		if s.want.offered > 0 {
			<-tick.C
		}
	}
	sum.Elapsed, sum.CPU = time.Since(begun), processTime(b, s.pid)-before
	return sum
}
