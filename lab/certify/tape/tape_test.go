package tape

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/packet"
)

var (
	a4 = netip.MustParseAddrPort("192.168.1.2:5000")
	b4 = netip.MustParseAddrPort("198.51.100.1:6000")
	a6 = netip.MustParseAddrPort("[2001:db8::1]:5000")
	b6 = netip.MustParseAddrPort("[2001:db8::2]:6000")
	t0 = time.Unix(1_700_000_000, 0)
)

// fill records packets of so many bytes of payload, one a second, the payload being the number.
func fill(t *Tape, from, n, size int) {
	for i := from; i < from+n; i++ {
		t.record("camera", true, t0.Add(time.Duration(i)*time.Second), packet.AppendUDP(nil, a4, b4, bytes.Repeat([]byte{byte(i)}, size)))
	}
}

func numbers(ps []Packet) (s string) {
	for _, p := range ps {
		s += string('a' + rune(p.Payload[0]))
	}
	return s
}

func TestPositions(t *testing.T) {
	x := New()
	fill(x, 0, 3, 10)
	mark := x.Mark()
	fill(x, 3, 2, 10)
	if got := numbers(x.Packets(mark)); got != "de" || x.Count(mark) != 2 || numbers(x.Packets(0)) != "abcde" {
		t.Errorf("after the mark %q, in all %q", got, numbers(x.Packets(0)))
	}
	kept := x.Packets(0)
	x.Forget(mark)
	fill(x, 5, 1, 10)
	if got := numbers(x.Packets(mark)); got != "def" || numbers(kept) != "abcde" || x.Mark() != 6 {
		t.Errorf("after the mark %q, of old %q, and now at %d", got, numbers(kept), x.Mark())
	}
	if err := x.Err(); err != nil {
		t.Error(err)
	}
	if got := numbers(x.Packets(mark - 1)); got != "def" || !errors.Is(x.Err(), ErrForgotten) {
		t.Errorf("%q of what was forgotten, %v", got, x.Err())
	}
	x.Forget(100)
	if got := x.Packets(6); len(got) > 0 || x.Mark() != 6 {
		t.Errorf("%q, at %d", numbers(got), x.Mark())
	}
}

// What came in late is in its place.
func TestOrder(t *testing.T) {
	x := New()
	fill(x, 2, 1, 10)
	fill(x, 0, 2, 10)
	if got := numbers(x.Packets(0)); got != "abc" {
		t.Errorf("%q", got)
	}
}

func TestLimit(t *testing.T) {
	x := New()
	x.SetLimit(3 * (1000 + overhead))
	fill(x, 0, 3, 1000)
	if err := x.Err(); err != nil || x.Lost() != 0 {
		t.Fatal(err)
	}
	x.Forget(1)
	fill(x, 3, 1, 1000)
	if err := x.Err(); err != nil {
		t.Fatal(err)
	}
	fill(x, 4, 2, 1000)
	x.Forget(4)
	fill(x, 6, 1, 10) // there would be room, but there is a hole already
	if err := x.Err(); !errors.Is(err, ErrFull) || x.Lost() != 3 || x.Mark() != 4 {
		t.Errorf("%v, %d lost, at %d", err, x.Lost(), x.Mark())
	}
	if _, err := x.Wait(t.Context(), 4, 1); !errors.Is(err, ErrFull) {
		t.Errorf("waited on a full tape: %v", err)
	}
}

func TestWait(t *testing.T) {
	x := New()
	fill(x, 0, 3, 10)
	even := func(p *Packet) bool { return p.Payload[0]%2 == 0 }
	if n, err := x.Wait(t.Context(), 1, 1, even); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	done := make(chan error)
	go func() {
		_, err := x.Wait(t.Context(), 1, 3, even)
		done <- err
	}()
	for i := 3; i < 7; i++ {
		fill(x, i, 1, 10)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	n, err := x.Wait(ctx, 0, 5, even)
	if n != 4 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 packets, of which 4 passed") {
		t.Errorf("%d, %v", n, err)
	}
	fill(x, 7, 1, 10) // nobody waits now
	go func() {
		_, err := x.Wait(t.Context(), 0, 5, even)
		done <- err
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		x.mu.Lock()
		waits = x.changed != nil
		x.mu.Unlock()
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the tape was closed, and a wait says %v", err)
	}
}

// A payload's memory is the packet's alone.
func TestPayloadIsKept(t *testing.T) {
	x := New()
	b := packet.AppendUDP(nil, a4, b4, []byte("abc"))
	x.record("camera", true, t0, b)
	x.record("camera", true, t0, b)
	clear(b)
	ps := x.Packets(0)
	_ = append(ps[0].Payload, "more"...)
	if string(ps[0].Payload) != "abc" || string(ps[1].Payload) != "abc" {
		t.Errorf("%q, %q", ps[0].Payload, ps[1].Payload)
	}
}
