package classify

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"github.com/punchlab/punchlab/impl/wire"
)

var (
	victim    = netip.MustParseAddr("192.0.2.77")
	symmetric = natConfig{mapping: wire.AddressAndPortDependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsRandom}
)

// forged is a success response that names a victim, as the server's other address and as the socket's own.
func forged(t *testing.T, id txID, mapped netip.AddrPort) []byte {
	t.Helper()
	m, err := stun.Build(stun.NewTransactionIDSetter(id), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: mapped.Addr().AsSlice(), Port: int(mapped.Port())}, attr{stun.AttrOtherAddress, netip.AddrPortFrom(victim, 53)})
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// At most tries packets go to a victim that the server names as its other address, on all ports together.
func TestOtherAddressOfAVictim(t *testing.T) {
	w := newWorld(t, symmetric, 5)
	w.server.other = netip.AddrPortFrom(victim, 53)
	w.run()
	n := 0
	for to, k := range w.sent {
		if to.Addr() == victim {
			n += k
		}
	}
	if n == 0 || n > tries {
		t.Errorf("%d packets to the victim", n)
	}
}

// Nor to one whose endpoint the server says is that of two sockets, between which hairpinning would be tried.
func TestEndpointOfAVictim(t *testing.T) {
	w := newWorld(t, symmetric, 5)
	w.c.Start(w.now)
	w.drain()
	at := netip.AddrPortFrom(victim, 7)
	for _, x := range w.c.exchanges {
		w.c.Handle(w.now.Add(time.Millisecond), s00, w.c.local[x.socket], forged(t, x.sent[0].id, at))
	}
	w.run()
	if n := w.sent[at]; n == 0 || n > tries {
		t.Errorf("%d packets to the victim", n)
	}
}

// Who does not know a transaction ID names nobody: a forged source address is not enough.
func TestForgedAnswer(t *testing.T) {
	w := newWorld(t, symmetric, 5)
	w.c.Start(w.now)
	w.drain()
	for _, local := range w.c.local {
		w.c.Handle(w.now.Add(time.Millisecond), s00, local, forged(t, txID{1, 2, 3}, netip.AddrPortFrom(external, 5)))
	}
	r, _ := w.run()
	for to, n := range w.sent {
		if to.Addr() == victim {
			t.Errorf("%d packets to %v", n, to)
		}
	}
	if r.Mapping != symmetric.mapping {
		t.Errorf("got %v", r)
	}
}
