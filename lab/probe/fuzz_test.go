package probe

import (
	"bytes"
	"testing"
)

// FuzzParse feeds both parsers, and demands that what parses can be answered, and the answer parsed.
func FuzzParse(f *testing.F) {
	f.Add(ask(txID{1, 2, 3}, 0))
	f.Add(ask(txID{}, changeIP|changePort))
	f.Add(append([]byte{0, 1, 0, 0}, "sixteen bytes id"...))
	if b, err := (request{id: txID{9}, cookie: [4]byte{0x21, 0x12, 0xa4, 0x42}}).response(s00, s11, s11); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		_, _ = parseAnswer(b)
		r, err := parseRequest(b)
		if !bytes.Equal(b, before) {
			t.Fatal("parsing changed the datagram")
		}
		if err != nil {
			return
		}
		out, err := r.response(s00, s11, s11)
		if err != nil {
			t.Fatalf("answer to %x: %v", b, err)
		}
		if !bytes.Equal(out[4:20], b[4:20]) {
			t.Fatalf("transaction %x is answered as %x", b[4:20], out[4:20])
		}
		if r.classic {
			return
		}
		if a, err := parseAnswer(out); err != nil || a.mapped != s00 || a.other != s11 {
			t.Fatalf("our own answer %x is read as %+v, %v", out, a, err)
		}
	})
}

// TestTruncated cuts messages at every byte.
func TestTruncated(t *testing.T) {
	good := ask(txID{1}, changeIP)
	for n := range good {
		if _, err := parseRequest(good[:n]); err == nil {
			t.Errorf("%d of %d bytes parse as a request", n, len(good))
		}
		if _, err := parseAnswer(good[:n]); err == nil {
			t.Errorf("%d of %d bytes parse as an answer", n, len(good))
		}
	}
}
