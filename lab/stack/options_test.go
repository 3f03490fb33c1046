package stack

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/label"
	"github.com/punchlab/punchlab/lab/record"
)

// A fleet's cameras are all registered when it has been launched, and gone when it is closed.
func TestFleet(t *testing.T) {
	t.Parallel()
	const size = 700 // more than are under way at a time
	l := newLab(t, "fleet", "link", "lan")
	m := l.Host("rendezvous")
	random := rand.NewChaCha8([32]byte{1})
	k, err := identity.NewKey(random)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(m, k, random, func(any) {})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(m.Addr(), bundledPort)
	f, err := launch(ctx, l, size, k.Public(), at)
	if err != nil {
		t.Fatal(err)
	}
	for s.handle.Stats().Core.Online != size { // the last ones' first datagrams are on their way
		if ctx.Err() != nil {
			t.Fatalf("%d cameras are online, want %d", s.handle.Stats().Core.Online, size)
		}
		time.Sleep(time.Millisecond)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := launch(short, l, 1, k.Public(), netip.AddrPortFrom(m.Addr(), 9)); err == nil || !strings.Contains(err.Error(), "did not register in time") {
		t.Errorf("a fleet without a rendezvous: %v", err)
	}
	if _, err := launch(ctx, newLab(t, "two-homes", "link", "lan"), 1, k.Public(), at); err == nil || !strings.Contains(err.Error(), `no host "fleet"`) {
		t.Errorf("a fleet without a host: %v", err)
	}
}

// Every photo that a trial may begin with can be read, and shows its label.
func TestPhotographs(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewChaCha8([32]byte{2}))
	for range 20 {
		l := identity.Label{Rendezvous: []string{"198.51.100.1:4479"}}
		for i := range l.Key {
			l.Key[i], l.RendezvousKey[i] = byte(random.Uint32()), byte(random.Uint32())
		}
		for i := range l.Secret {
			l.Secret[i] = byte(random.Uint32())
		}
		photo, err := photograph(l, random)
		if err != nil {
			t.Fatal(err)
		}
		got, err := label.Read(bytes.NewReader(photo))
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != l.String() {
			t.Error("another label was read")
		}
	}
}

// A trial that begins with a photo tells how long all of it took, the viewer's login included.
func TestScan(t *testing.T) {
	t.Parallel()
	l := newLab(t, "two-homes", "link", "lan")
	o, err := Bundled{}.Try(t.Context(), l, Trial{
		Seed: 3, Strategy: "adaptive", Timeout: 20 * time.Second, Options: map[string]string{optScan: "photo"},
	})
	if err != nil || o.Outcome != record.Direct {
		t.Fatalf("%+v, %v", o, err)
	}
	if s := o.Probes["scan_s"]; s <= o.FirstFrame.Seconds() || s > 30 {
		t.Errorf("%v s from the photo, %v from the viewer's request", s, o.FirstFrame)
	}
}
