package classify

import (
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/punchlab/punchlab/impl/wire"
)

// FuzzHandle feeds a classification datagrams from its server: it must end, and have its sockets closed.
func FuzzHandle(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0}, uint8(0))
	f.Add(request(txID{1}, changeIP), uint8(1))
	m, err := stun.Build(stun.BindingSuccess, stun.NewTransactionIDSetter(txID{2}), &stun.XORMappedAddress{IP: external.AsSlice(), Port: 5},
		attr{stun.AttrOtherAddress, s00})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Raw, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, socket uint8) {
		w := newWorld(t, natConfig{mapping: wire.AddressAndPortDependent, filtering: wire.AddressAndPortDependent, ports: wire.PortsRandom}, 1)
		w.c.Start(w.now)
		w.drain()
		to := w.c.local[int(socket)%Sockets]
		for _, from := range []int{0, 1} {
			if !w.c.Handle(w.now.Add(time.Millisecond), s00, to, append([]byte(nil), b...)) {
				t.Fatal("not taken")
			}
			if len(b) >= headerSize && from == 0 && len(w.c.exchanges[0].sent) > 0 { // as if the transaction ID were known
				b = append([]byte(nil), b...)
				copy(b[8:], w.c.exchanges[0].sent[0].id[:])
				to = w.c.local[mapSocket]
			}
		}
		if _, took := w.run(); took > 10*time.Second || len(w.closed) != Sockets {
			t.Errorf("over after %v, %d sockets closed", took, len(w.closed))
		}
	})
}
