package stack

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// stranger has somebody who was never told of the camera send to every endpoint that it has on the internet, from an address
// and a port that it has never sent to, and returns to how many of them a datagram got through to the camera's socket.
func (b *bundle) stranger(ctx context.Context, l *lab.Lab) float64 {
	host := l.Host("rendezvous")
	conn, err := host.ListenUDP(netip.AddrPortFrom(host.Addrs[len(host.Addrs)-1], 0))
	if err != nil {
		return 0
	}
	defer conn.Close()
	wait := 2*l.Topology().Path("rendezvous", "camera").Delay + 100*time.Millisecond
	n := 0.0
	for _, at := range b.exposed() {
		if b.reaches(ctx, conn, at, wait) {
			n++
		}
	}
	return n
}

// exposed lists where the camera is on the internet: where the rendezvous sees it, what its router maps, what its owner forwards.
func (b *bundle) exposed() (at []netip.AddrPort) {
	if b.policy.Forward {
		return []netip.AddrPort{b.forwarded}
	}
	b.cameraDevice.Node().Do(func(time.Time) { at = append(at, b.camera.Stats().Reflexive) })
	if m := b.cameraDevice.Mapped(); m.IsValid() && m != at[0] {
		at = append(at, m)
	}
	return at
}

// reaches sends a datagram that no protocol has, and looks whether the camera drops it.
func (b *bundle) reaches(ctx context.Context, conn *net.UDPConn, at netip.AddrPort, wait time.Duration) bool {
	before := b.cameraDropped()
	if _, err := conn.WriteToUDPAddrPort(bytes.Repeat([]byte{0xff}, 300), at); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if b.cameraDropped() > before {
				return true
			}
		}
	}
}

func (b *bundle) cameraDropped() (n int64) {
	b.cameraDevice.Node().Do(func(time.Time) {
		for _, k := range b.camera.Stats().Dropped {
			n += k
		}
	})
	return n
}
