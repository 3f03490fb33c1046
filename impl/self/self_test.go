package self

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// Requests for sockets are made one after the other, so that each has its own answer.
func TestSocketsComeInTurn(t *testing.T) {
	var box core.Outbox
	d := New(Config{}, nil, &box)
	var got []int
	ask := func(n int) {
		d.Open(n, func(_ time.Time, socks []netip.AddrPort, err error) { got = append(got, 10*n+len(socks)) })
	}
	box.Begin()
	ask(3)
	ask(2)
	if out := box.Ready(); out.Open != 3 {
		t.Errorf("asks for %d at first", out.Open)
	}
	three := []netip.AddrPort{addr("10.0.0.1:1"), addr("10.0.0.1:2"), addr("10.0.0.1:3")}
	box.Begin()
	d.HandleOpened(epoch, three, nil)
	if out := box.Ready(); out.Open != 2 || d.Opened() != 3 {
		t.Errorf("asks for %d then", out.Open)
	}
	if d.Local(three[1]) != three[1] || d.Local(addr("10.0.0.1:9")).IsValid() {
		t.Error("a path of an opened socket, or of the main one, is named wrongly")
	}
	box.Begin()
	d.HandleOpened(epoch, nil, errors.New("none"))
	if len(got) != 2 || got[0] != 33 || got[1] != 20 {
		t.Errorf("answers %v", got)
	}
	box.Begin()
	d.Close(three[:1])
	d.HandleOpened(epoch, three[:1], nil) // nobody has asked
	if out := box.Ready(); len(out.Close) != 2 || d.Local(three[0]).IsValid() {
		t.Errorf("closes %v", out.Close)
	}
}

// What is told to peers: the mapped address first, then relayed ones, then one's own, no more than fit, none twice. A socket that
// somebody lends is not closed.
func TestCandidates(t *testing.T) {
	var box core.Outbox
	cfg := Config{Relayed: []netip.AddrPort{addr("192.0.2.9:1")}}
	for i := range 9 {
		cfg.Host = append(cfg.Host, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 5))
	}
	d := New(cfg, nil, &box)
	d.mapped = cfg.Host[0]
	cs := d.Candidates()
	if len(cs) != wire.MaxCandidates || cs[0] != d.mapped || cs[1] != cfg.Relayed[0] || cs[2] != cfg.Host[1] {
		t.Errorf("candidates %v", cs)
	}
	box.Begin()
	d.Close(cfg.Relayed)
	if out := box.Ready(); len(out.Close) != 0 || d.Local(cfg.Relayed[0]) != cfg.Relayed[0] {
		t.Errorf("closes %v", out.Close)
	}
}

func TestClaimed(t *testing.T) {
	turn := punch.Policy{Methods: punch.MethodTURN}
	peer := addr("192.0.2.1:7")
	for a, want := range map[string]punch.Kind{
		"203.0.113.5:9": punch.Relayed, "192.0.2.1:8": punch.Host, "10.0.0.1:9": punch.Host, "[2001:db8::1]:9": punch.Host,
	} {
		if got := Claimed(turn, addr(a), peer); got != want {
			t.Errorf("%s: %v", a, got)
		}
		if got := Claimed(punch.Policy{}, addr(a), peer); got != punch.Host {
			t.Errorf("%s without TURN: %v", a, got)
		}
	}
}

func TestProbesByStrategy(t *testing.T) {
	var p Probes
	p.Add("a", 10)
	p.Add("b", 20)
	p.Add("a", 0)
	p.Add("a", 1)
	by := p.By()
	if p.Total != (core.Count{Packets: 3, Bytes: 31}) || by["a"] != (core.Count{Packets: 2, Bytes: 11}) || len(by) != 2 {
		t.Errorf("total %v, by strategy %v", p.Total, by)
	}
	delete(by, "a")
	if len(p.By()) != 2 {
		t.Error("the counts may be changed from outside")
	}
}
