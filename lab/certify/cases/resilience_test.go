package cases

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

func TestUnreached(t *testing.T) {
	for _, c := range []struct {
		u    unreached
		want string
	}{
		{unreached{what: "after a nap", within: time.Second, took: 1500 * time.Millisecond}, "after a nap the first frame came after 1.5s, and 1s are declared"},
		{unreached{what: "after a nap", within: time.Second, asked: 1}, "after a nap no connect succeeded within the declared 1s, the one time that a viewer asked"},
		{unreached{what: "after a nap", within: time.Second, asked: 3, last: &stage.Ended{Role: "viewer", Code: 1, What: "frame 1"}},
			"after a nap no connect succeeded within the declared 1s, the 3 times that a viewer asked: the viewer gave up (exit code 1: it tried and could not) while the lab waited for frame 1"},
	} {
		if got := c.u.Error(); got != c.want {
			t.Errorf("%q, wanted %q", got, c.want)
		}
	}
}

// TestAnother changes one letter or digit of a ticket for another one.
func TestAnother(t *testing.T) {
	for _, ticket := range []string{"cam=1;key=Zz9AZz9AZz9AZz9A", "zzzzzzz", "9999999", "ZZZZZZZ", "a"} {
		got := string(another([]byte(ticket)))
		differ := 0
		for i := range min(len(got), len(ticket)) {
			if got[i] != ticket[i] {
				differ++
			}
		}
		if len(got) != len(ticket) || differ != 1 || strings.ContainsAny(got, ":[{@`/") {
			t.Errorf("%q became %q", ticket, got)
		}
	}
	if got := another(nil); len(got) != 0 {
		t.Errorf("no ticket became %q", got)
	}
}

func TestMiddle(t *testing.T) {
	var held []stage.Usage
	for i := range 9 {
		held = append(held, stage.Usage{Memory: int64(1+i) << 20, Files: 20 - i, Processes: 1})
	}
	held = append(held, stage.Usage{Memory: 1 << 40, Files: 1000, Processes: 50})
	if got := middle(held); got != (stage.Usage{Memory: 5 << 20, Files: 16, Processes: 1}) {
		t.Errorf("%+v", got)
	}
	if got := middle(nil); got != (stage.Usage{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestFlood has a flood stay within its sources and be of what it copies.
func TestFlood(t *testing.T) {
	at := netip.MustParseAddrPort("203.0.113.1:4477")
	copied := &target{at: at}
	other := netip.MustParseAddrPort("203.0.113.2:1")
	copied.copy([]tape.Packet{{Dst: at, Payload: []byte("hello, camera")}, {Dst: other, Payload: []byte("hello")}, {Dst: at}, {Dst: at, Payload: []byte("again")}}, 1)
	if len(copied.shots) != 1 || copied.copies != 1 {
		t.Fatalf("%d datagrams, %d of them copies", len(copied.shots), copied.copies)
	}
	next, sources := copied.next(rand.New(rand.NewPCG(1, 2))), map[netip.AddrPort]bool{}
	for i := range 10 * floodSources {
		shot, ok := next(i)
		differ := 0
		for k := range shot.B {
			if shot.B[k] != copied.shots[0][k] {
				differ++
			}
		}
		if !ok || shot.To != at || differ != 1 || !floodedFrom.Contains(shot.From.Addr()) {
			t.Fatalf("shot %d from %v to %v, %d bytes changed", i, shot.From, shot.To, differ)
		}
		sources[shot.From] = true
	}
	if len(sources) > floodSources {
		t.Errorf("it claims to come from %d endpoints", len(sources))
	}
	if string(copied.shots[0]) != "hello, camera" {
		t.Errorf("the copied datagram is %q now", copied.shots[0])
	}
}
