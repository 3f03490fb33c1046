package session

import (
	"testing"
)

// No datagram, however made, opens without the keys; the fuzzer starts from real
// ones. Each corpus entry is a datagram for one parser.
func FuzzDatagram(f *testing.F) {
	ci, cr := config(f, 1), config(f, 2)
	i := newInitiator(f, ci, cr.Static.Public(), []byte("hello"))
	r := newResponder(f, cr)
	_, cookie, err := r.Open(epoch, source, true, i.Message())
	if err != nil {
		f.Fatal(err)
	}
	_, answer, err := open(f, r, i.Message()).Accept([]byte("welcome"))
	if err != nil {
		f.Fatal(err)
	}
	is, rs := pair(f)
	sealed := is.Seal(nil, []byte("payload"))
	genuine := map[string]bool{}
	for _, b := range [][]byte{i.Message(), cookie, answer, sealed} {
		genuine[string(b)] = true
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if genuine[string(b)] {
			return
		}
		if id, ok := InitiationID(b); ok && id == [16]byte{} && b[0] != TypeInitiation {
			t.Error("an ID of something else")
		}
		if q, _, err := r.Open(epoch, source, false, b); err == nil && q.Peer() != ci.Static.Public() {
			t.Errorf("opened an initiation of %v", q.Peer())
		}
		if _, reply, err := r.Open(epoch, source, true, b); err == nil && len(reply) > len(b) {
			t.Errorf("answered %d bytes with %d", len(b), len(reply))
		}
		if err := i.HandleCookie(b); err == nil {
			t.Error("took a forged cookie")
		}
		if _, _, err := i.Finish(b); err == nil {
			t.Error("took a forged response")
		}
		if _, err := rs.Open(nil, b); err == nil {
			t.Error("took a forged datagram")
		}
	})
}
