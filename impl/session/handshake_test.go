package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHandshake(t *testing.T) {
	for _, size := range []int{0, 1, 110, 111, 500, MaxInitiation - InitiationOverhead} {
		ci, cr := config(t, 1), config(t, 2)
		payload := bytes.Repeat([]byte{0xa5}, size)
		i := newInitiator(t, ci, cr.Static.Public(), payload)
		if n := len(i.Message()); n < MinInitiation || n > MaxInitiation || n < size+InitiationOverhead {
			t.Errorf("payload of %d: initiation of %d bytes", size, n)
		}
		q := open(t, newResponder(t, cr), i.Message())
		if !bytes.Equal(q.Payload(), payload) || q.Peer() != ci.Static.Public() || q.Timestamp() != 7 {
			t.Errorf("request: payload %x, peer %v, timestamp %d", q.Payload(), q.Peer(), q.Timestamp())
		}
		answer := bytes.Repeat([]byte{0x5a}, q.MaxResponse())
		rs, message, err := q.Accept(answer)
		if err != nil {
			t.Fatal(err)
		}
		if len(message) != len(i.Message()) {
			t.Errorf("the longest response has %d bytes, its initiation %d", len(message), len(i.Message()))
		}
		is, got, err := i.Finish(message)
		if err != nil || !bytes.Equal(got, answer) {
			t.Fatalf("Finish = %x, %v", got, err)
		}
		if is.Peer() != cr.Static.Public() || rs.Peer() != ci.Static.Public() || !is.Initiator() || rs.Initiator() {
			t.Error("the two sides disagree on who they are")
		}
		if is.LocalIndex() != i.LocalIndex() || is.LocalIndex() == rs.LocalIndex() {
			t.Errorf("indices %d, %d, %d", i.LocalIndex(), is.LocalIndex(), rs.LocalIndex())
		}
		exchange(t, is, rs)
		exchange(t, rs, is)
	}
}

func exchange(t *testing.T, from, to *Session) {
	t.Helper()
	for n := range 3 {
		want := bytes.Repeat([]byte{byte(n)}, n*100)
		b := from.Seal([]byte("before"), want)
		if !bytes.HasPrefix(b, []byte("before")) || len(b) != 6+len(want)+TransportOverhead {
			t.Fatalf("Seal appended %d bytes", len(b)-6)
		}
		if index, ok := ReceiverIndex(b[6:]); !ok || index != to.LocalIndex() {
			t.Fatalf("ReceiverIndex = %d, %v; want %d", index, ok, to.LocalIndex())
		}
		got, err := to.Open([]byte("kept"), b[6:])
		if err != nil || string(got) != "kept"+string(want) {
			t.Fatalf("Open = %x, %v", got, err)
		}
	}
}

func TestResponderConfirmsByFirstDatagram(t *testing.T) {
	is, rs := pair(t)
	if !is.Confirmed() || rs.Confirmed() {
		t.Errorf("after the handshake: initiator %v, responder %v; want true, false", is.Confirmed(), rs.Confirmed())
	}
	b := is.Seal(nil, nil)
	b[len(b)-1] ^= 1
	if _, err := rs.Open(nil, b); err == nil || rs.Confirmed() {
		t.Errorf("a forged datagram: %v, confirmed %v", err, rs.Confirmed())
	}
	b[len(b)-1] ^= 1
	if _, err := rs.Open(nil, b); err != nil || !rs.Confirmed() {
		t.Errorf("the first datagram: %v, confirmed %v", err, rs.Confirmed())
	}
}

func TestExport(t *testing.T) {
	is, rs := pair(t)
	a := is.Export("a", 28)
	if len(a) != 28 || !bytes.Equal(a, rs.Export("a", 28)) {
		t.Errorf("sides export %x and %x", a, rs.Export("a", 28))
	}
	if bytes.Equal(a, is.Export("b", 28)) {
		t.Error("two labels export the same")
	}
	again, _ := pair(t) // the same keys and the same randomness: the same secret
	if !bytes.Equal(a, again.Export("a", 28)) {
		t.Error("the same inputs export something else")
	}
}

func TestInitiationForAnotherKeyOrRole(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	other := config(t, 3)
	b := newInitiator(t, ci, cr.Static.Public(), nil).Message()
	if _, _, err := newResponder(t, other).Open(epoch, source, false, b); !errors.Is(err, ErrMAC1) {
		t.Errorf("opened with another key: %v", err)
	}
	cr.Prologue = []byte("other role")
	if _, _, err := newResponder(t, cr).Open(epoch, source, false, b); !errors.Is(err, ErrAuth) {
		t.Errorf("opened in another role: %v", err)
	}
}

// mac1's key is public, so it only keeps noise out: whoever recomputes it is still
// caught by the handshake.
func TestInitiationBitFlips(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	b := newInitiator(t, ci, cr.Static.Public(), []byte("hello")).Message()
	r := newResponder(t, cr)
	key := mac1Key(cr.Static.Public())
	end := len(b) - 2*macSize
	flips(b, func(bit int, c []byte) {
		if bit/8 >= len(b)-macSize {
			return // mac2 is read under load only
		}
		if _, _, err := r.Open(epoch, source, false, c); err == nil {
			t.Fatalf("opened with bit %d flipped", bit)
		}
		if bit/8 >= end {
			return
		}
		mac1 := keyed(key[:], c[:end])
		copy(c[end:], mac1[:])
		if _, _, err := r.Open(epoch, source, false, c); err == nil {
			t.Fatalf("opened with bit %d flipped and mac1 made anew", bit)
		}
	})
}

func TestResponseBitFlips(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	_, answer, err := open(t, newResponder(t, cr), i.Message()).Accept([]byte("welcome"))
	if err != nil {
		t.Fatal(err)
	}
	flips(answer, func(bit int, c []byte) {
		if _, _, err := i.Finish(c); err == nil {
			t.Fatalf("finished with bit %d flipped", bit)
		}
	})
	// None of these forgeries ended the handshake.
	if _, _, err := i.Finish(answer); err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.Finish(answer); !errors.Is(err, ErrReplay) {
		t.Errorf("finished twice: %v", err)
	}
}

// A response with a public key of low order must not break the handshake either
// (two of those listed at https://cr.yp.to/ecdh.html#validate).
func TestResponseWithLowOrderKey(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	_, answer, err := open(t, newResponder(t, cr), i.Message()).Accept(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range [][]byte{make([]byte, 32), append([]byte{1}, make([]byte, 31)...)} {
		forged := bytes.Clone(answer)
		copy(forged[headerSize:], point)
		if _, _, err := i.Finish(forged); !errors.Is(err, ErrAuth) {
			t.Errorf("point %x: %v", point, err)
		}
	}
	if _, _, err := i.Finish(answer); err != nil {
		t.Errorf("after the forgeries: %v", err)
	}
}

func TestHandshakeTruncated(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	r := newResponder(t, cr)
	for n := range len(i.Message()) {
		if _, _, err := r.Open(epoch, source, false, i.Message()[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("initiation of %d bytes: %v", n, err)
		}
		if _, _, err := r.Open(epoch, source, true, i.Message()[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("initiation of %d bytes under load: %v", n, err)
		}
	}
	_, answer, err := open(t, r, i.Message()).Accept([]byte("welcome"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(answer) {
		if _, _, err := i.Finish(answer[:n]); err == nil {
			t.Fatalf("finished with %d bytes of %d", n, len(answer))
		}
	}
}

func TestHandshakeHeaders(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	r := newResponder(t, cr)
	for name, c := range map[string]struct {
		at   int
		to   byte
		want error
	}{
		"type":     {0, TypeTransport, ErrType},
		"version":  {1, 2, ErrVersion},
		"reserved": {3, 1, ErrReserved},
	} {
		b := bytes.Clone(i.Message())
		b[c.at] = c.to
		if _, _, err := r.Open(epoch, source, false, b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
	long := append(bytes.Clone(i.Message()), make([]byte, MaxInitiation)...)
	if _, _, err := r.Open(epoch, source, false, long); !errors.Is(err, ErrLong) {
		t.Errorf("long: %v; want %v", err, ErrLong)
	}
}

// The encrypted length field must fit and the padding be zero.
func TestInitiationPayloadFraming(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	for name, change := range map[string]func([]byte){
		"length":  func(p []byte) { binary.LittleEndian.PutUint16(p[8:], uint16(len(p)-stampSize+1)) },
		"padding": func(p []byte) { p[len(p)-1] = 1 },
	} {
		plain := make([]byte, stampSize+120)
		change(plain)
		header := appendHeader(nil, TypeInitiation, 9)
		peer := cr.Static.Public()
		hs, err := ci.handshake(true, header, peer[:])
		if err != nil {
			t.Fatal(err)
		}
		b, _, _, err := hs.WriteMessage(header, plain)
		if err != nil {
			t.Fatal(err)
		}
		key := mac1Key(peer)
		mac1 := keyed(key[:], b)
		b = append(append(b, mac1[:]...), make([]byte, macSize)...)
		if _, _, err := newResponder(t, cr).Open(epoch, source, false, b); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v; want %v", name, err, ErrPayload)
		}
	}
}

func TestPayloadTooLong(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	if _, err := NewInitiator(ci, cr.Static.Public(), 1, make([]byte, MaxInitiation-InitiationOverhead+1)); err == nil {
		t.Error("an initiation beyond the limit was written")
	}
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	q := open(t, newResponder(t, cr), i.Message())
	if _, _, err := q.Accept(make([]byte, q.MaxResponse()+1)); err == nil {
		t.Error("a response longer than its initiation was written")
	}
	if _, _, err := q.Accept(nil); err != nil {
		t.Errorf("the refusal used the request up: %v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	c := config(t, 1)
	for name, bad := range map[string]Config{"key": {Rand: c.Rand}, "randomness": {Static: c.Static}} {
		if _, err := NewResponder(bad); err == nil {
			t.Errorf("a responder without %s", name)
		}
		if _, err := NewInitiator(bad, c.Static.Public(), 1, nil); err == nil {
			t.Errorf("an initiator without %s", name)
		}
	}
	c.Rand = strings.NewReader("short")
	if _, err := NewInitiator(c, c.Static.Public(), 1, nil); err == nil {
		t.Error("an initiator with too little randomness")
	}
}

func TestIndicesAvoidTaken(t *testing.T) {
	c := config(t, 1)
	peer := config(t, 2).Static.Public()
	refused := 0
	c.Taken = func(uint32) bool { refused++; return refused < 5 }
	if i := newInitiator(t, c, peer, nil); i.LocalIndex() == 0 || refused != 5 {
		t.Errorf("index %d after %d questions", i.LocalIndex(), refused)
	}
}

func TestStampGrows(t *testing.T) {
	var s Stamp
	last := uint64(0)
	for _, d := range []time.Duration{0, 0, time.Second, -time.Hour, time.Hour} {
		n := s.Next(epoch.Add(d))
		if n <= last {
			t.Errorf("at %v the timestamp is %d after %d", d, n, last)
		}
		last = n
	}
	if last != uint64(epoch.Add(time.Hour).UnixNano()) {
		t.Errorf("timestamp %d is not the time", last)
	}
}

// With a boot counter it grows over restarts, whatever the clock says, also after one that had only the clock.
func TestStampGrowsOverRestarts(t *testing.T) {
	var clock Stamp
	last := clock.Next(epoch)
	for boot, now := range []time.Time{epoch, time.Unix(0, 0), time.Unix(-5, 0), epoch.Add(time.Hour), time.Unix(3, 0)} {
		s := Stamp{Boot: uint64(boot) + 1}
		for range 3 {
			n := s.Next(now)
			if n <= last {
				t.Errorf("start %d at %v: the timestamp is %d after %d", boot+1, now, n, last)
			}
			last = n
		}
	}
}
