package core

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestTrafficIsCountedByPurpose(t *testing.T) {
	var o Outbox
	o.Quiet(true)
	o.Send(netip.AddrPort{}, netip.AddrPort{}, Keepalive, make([]byte, 10))
	o.Quiet(false)
	o.Send(netip.AddrPort{}, netip.AddrPort{}, Media, make([]byte, 100))
	o.Relay(netip.AddrPort{}, netip.AddrPort{}, Media, make([]byte, 1000))
	tr := o.Traffic()
	if tr.Of(Media) != (Count{2, 1100}) || tr.Relayed != (Count{1, 1000}) || tr.Total() != (Count{3, 1110}) || o.Idle() != (Count{1, 10}) {
		t.Errorf("traffic %+v, idle %+v", tr, o.Idle())
	}
	for p := range purposes {
		if p.String() == "" {
			t.Errorf("purpose %d has no name", p)
		}
	}
}

// Copies live until the next batch, however many there are, and their neighbours do not overwrite each other.
func TestCopies(t *testing.T) {
	var o Outbox
	for round := range 3 {
		o.Begin()
		var copies [][]byte
		for i := range 40 {
			copies = append(copies, o.Copy(bytes.Repeat([]byte{byte(i)}, 700)))
		}
		copies[0] = append(copies[0], 99)
		for i, c := range copies[1:] {
			if !bytes.Equal(c, bytes.Repeat([]byte{byte(i + 1)}, 700)) {
				t.Fatalf("round %d: copy %d is overwritten", round, i+1)
			}
		}
		o.Ready()
	}
}

func TestDeadlines(t *testing.T) {
	now := time.Unix(100, 0)
	later := now.Add(time.Second)
	var none time.Time
	for _, c := range []struct{ a, b, want time.Time }{{none, none, none}, {none, now, now}, {now, none, now}, {now, later, now}, {later, now, now}} {
		if got := Earliest(c.a, c.b); !got.Equal(c.want) {
			t.Errorf("earliest of %v and %v: %v", c.a, c.b, got)
		}
	}
	if Due(now, none) || Due(now, later) || !Due(now, now) || !Due(later, now) {
		t.Error("due")
	}
}

func TestReasonsAreFew(t *testing.T) {
	base := errors.New("too short")
	if got := Reason(fmt.Errorf("open %v: %w", netip.MustParseAddrPort("192.0.2.1:1"), base)); got != "too short" {
		t.Errorf("reason %q", got)
	}
	if got := Reason(fmt.Errorf("decode: %w: %w", fmt.Errorf("wrapped: %w", base), errors.New("value 17 of the sender's"))); got != "too short" {
		t.Errorf("reason %q", got)
	}
	d := Drops{}
	for i := range 1000 {
		d.Count(fmt.Errorf("value %d of the sender's", i))
	}
	if len(d) != maxReasons+1 || d[otherReason] != 1000-maxReasons {
		t.Errorf("%d reasons", len(d))
	}
}
