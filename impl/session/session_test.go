package session

import (
	"bytes"
	"errors"
	"testing"
)

func TestTransportBitFlips(t *testing.T) {
	is, rs := pair(t)
	b := is.Seal(nil, []byte("payload"))
	flips(b, func(bit int, c []byte) {
		if _, err := rs.Open(nil, c); err == nil {
			t.Fatalf("opened with bit %d flipped", bit)
		}
	})
	if got, err := rs.Open(nil, b); err != nil || string(got) != "payload" {
		t.Errorf("after the forgeries: %q, %v", got, err)
	}
}

func TestTransportTruncated(t *testing.T) {
	is, rs := pair(t)
	b := is.Seal(nil, bytes.Repeat([]byte{1}, 100))
	for n := range len(b) {
		if _, err := rs.Open(nil, b[:n]); err == nil {
			t.Fatalf("opened %d bytes of %d", n, len(b))
		}
	}
	if _, err := rs.Open(nil, append(bytes.Clone(b), 0)); !errors.Is(err, ErrAuth) {
		t.Errorf("opened with a byte more: %v", err)
	}
	if _, err := rs.Open(nil, make([]byte, MaxDatagram+1)); err == nil {
		t.Error("opened an oversized datagram")
	}
}

func TestTransportReplayed(t *testing.T) {
	is, rs := pair(t)
	var sent [][]byte
	for n := range ReplayWindow + 2 {
		sent = append(sent, is.Seal(nil, []byte{byte(n)}))
	}
	last := len(sent) - 1
	for _, c := range []struct {
		n    int
		want error
	}{
		{1, nil},
		{1, ErrReplay},
		{0, nil}, // late
		{0, ErrReplay},
		{last, nil},
		{last, ErrReplay},
		{2, nil},       // at the window's edge: last − 2 = ReplayWindow − 1
		{1, ErrReplay}, // beyond it
		{last - 1, nil},
	} {
		if _, err := rs.Open(nil, sent[c.n]); !errors.Is(err, c.want) {
			t.Errorf("datagram %d: %v; want %v", c.n, err, c.want)
		}
	}
}

// A datagram reflected to its sender is not taken for the peer's.
func TestTransportReflected(t *testing.T) {
	is, rs := pair(t)
	b := is.Seal(nil, []byte("mine"))
	copy(b[4:8], []byte{byte(is.local), byte(is.local >> 8), byte(is.local >> 16), byte(is.local >> 24)})
	if _, err := is.Open(nil, b); !errors.Is(err, ErrAuth) {
		t.Errorf("opened its own datagram: %v", err)
	}
	if _, err := rs.Open(nil, b); !errors.Is(err, ErrIndex) {
		t.Errorf("opened a datagram of another index: %v", err)
	}
}

func TestCounterExhausted(t *testing.T) {
	is, rs := pair(t)
	if is.NeedsRekey() || rs.NeedsRekey() {
		t.Error("a new session needs a new handshake")
	}
	is.next = RekeyAfterMessages
	if !is.NeedsRekey() {
		t.Error("no new handshake is needed at the limit")
	}
	if _, err := rs.Open(nil, is.Seal(nil, nil)); err != nil || !rs.NeedsRekey() {
		t.Errorf("the receiver: %v, needs rekey %v", err, rs.NeedsRekey())
	}
	is.next = RejectAfterMessages - 1
	b := is.Seal(nil, []byte("last"))
	if _, err := rs.Open(nil, b); err != nil {
		t.Errorf("the last datagram: %v", err)
	}
	if b := is.Seal(nil, []byte("one more")); b != nil || is.Sent() != RejectAfterMessages {
		t.Errorf("sealed %x after the last", b)
	}
	b[15] = 0x10 // counter 2⁶⁰ and above
	if _, err := rs.Open(nil, b); !errors.Is(err, ErrExhausted) {
		t.Errorf("opened a counter beyond the last: %v", err)
	}
}

func TestReceiverIndexOfOthers(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":    nil,
		"short":      {TypeTransport, Version, 0, 0, 1, 2, 3},
		"initiation": {TypeInitiation, Version, 0, 0, 1, 2, 3, 4},
		"punch":      {8, Version, 0, 0, 1, 2, 3, 4},
		"version":    {TypeTransport, 2, 0, 0, 1, 2, 3, 4},
	} {
		if index, ok := ReceiverIndex(b); ok {
			t.Errorf("%s has receiver index %d", name, index)
		}
	}
}

func BenchmarkSealOpen(b *testing.B) {
	is, rs := pair(b)
	payload := make([]byte, 1000)
	var sealed, opened []byte
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		sealed = is.Seal(sealed[:0], payload)
		var err error
		if opened, err = rs.Open(opened[:0], sealed); err != nil {
			b.Fatal(err)
		}
	}
}
