package uplink

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// Insisting asks again though an answer is waited for, which then tells no round trip; without a session the initiation goes again at
// once.
func TestInsist(t *testing.T) {
	p := newPair(t)
	p.must(p.l.Start(p.now))
	p.sent()
	p.advance(2 * time.Second) // unanswered: the next would leave in a while
	p.l.Insist(p.now)
	again := p.advance(0)
	if len(again) != 1 || wire.Classify(again[0].B) != wire.Initiation {
		t.Fatalf("without a session it sends %d packets", len(again))
	}
	p.pong(p.accept(again[0].B, 40*time.Millisecond)[0].B)
	before := p.l.RTT()
	p.l.Insist(p.now)
	first := p.sent()
	p.now = p.now.Add(10 * time.Millisecond)
	p.l.Insist(p.now)
	second := p.sent()
	if len(first) != 1 || len(second) != 1 || string(first[0].B) == string(second[0].B) {
		t.Fatalf("with one it sends %d and %d packets", len(first), len(second))
	}
	p.now = p.now.Add(time.Second)
	p.pong(second[0].B)
	if p.l.RTT() != before {
		t.Errorf("a round trip of %v was taken from an ambiguous answer", p.l.RTT())
	}
	p.l.Probe(p.now) // it counts as an answer
	if n := len(p.sent()); n != 1 {
		t.Errorf("%d pings after the answer", n)
	}
}
