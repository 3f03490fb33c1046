package live_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"golang.org/x/sys/unix"
)

// TestDeviceDrops sends more than the device holds while the fabric stands still.
func TestDeviceDrops(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
		_ = a.conn.SetWriteBuffer(64 << 20)
		if err := unix.Kill(f.PID(), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = a.conn.SetWriteDeadline(time.Now().Add(patience))
			for range 30_000 {
				if _, err := a.conn.WriteToUDPAddrPort([]byte("x"), b.addr); errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
			}
			_ = unix.Kill(f.PID(), unix.SIGCONT)
		}()
		s := stats(t, n, "drops of the device", func(s live.Stats) bool { return s.DeviceDrops() > 0 })
		if s.Uplinks[0].DeviceDrops == 0 {
			t.Errorf("device drops %+v, want a's", s.Uplinks)
		}
		if err := n.Reset(1); err != nil {
			t.Fatal(err)
		}
		if s, err := n.Stats(); err != nil || s.DeviceDrops() != 0 {
			t.Errorf("after Reset: %d device drops, %v", s.DeviceDrops(), err)
		}
	})
}

func TestManyCallersOnManyNets(t *testing.T) {
	netnstest.Require(t, "netns")
	f := start(t, live.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			n, err := f.NewNet(uint64(i))
			if err != nil {
				t.Error(err)
				return
			}
			ns, err := netns.New()
			if err != nil {
				t.Error(err)
				return
			}
			defer ns.Close()
			name := fmt.Sprint("site of ", i)
			if _, err := n.Attach(live.UplinkConfig{Name: name, NS: ns}); err != nil {
				t.Error(err)
				return
			}
			for k := range 50 {
				if err := n.Reset(uint64(k)); err != nil {
					t.Error(err)
				}
				if s, err := n.Stats(); err != nil || len(s.Uplinks) != 1 || s.Uplinks[0].Name != name {
					t.Errorf("net %d: %+v, %v", i, s, err)
				}
				if _, err := f.Lateness(); err != nil {
					t.Error(err)
				}
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestPreciseCarries(t *testing.T) {
	netnstest.Require(t, "netns")
	n := newNet(t, start(t, live.Options{Precise: true}))
	a, b := newSite(t, n, "a", addrA, delay(time.Millisecond)), newSite(t, n, "b", addrB, link.Profile{})
	for range 20 {
		a.send(t, b, "x")
		b.receive(t)
	}
	s, err := n.Stats()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("lateness %+v", s.Lateness)
}
