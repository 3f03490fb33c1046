package wire_test

import (
	"bytes"
	"testing"

	"github.com/punchlab/punchlab/impl/wire"
)

// What parses encodes to the same bytes.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(marshal(f, s.message))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Unmarshal(b)
		if err != nil {
			return
		}
		again, err := wire.Marshal(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes as %+v, which encodes as %x, %v", b, m, again, err)
		}
	})
}

func FuzzParseChannelData(f *testing.F) {
	f.Add([]byte{0x40, 0, 0, 1, 7})
	f.Add([]byte{0x4f, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		channel, datagram, err := wire.ParseChannelData(b)
		if err != nil {
			return
		}
		if again, err := wire.AppendChannelData(nil, channel, datagram); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x parses as channel %#x and is framed as %x, %v", b, channel, again, err)
		}
	})
}

func FuzzOpenPunch(f *testing.F) {
	k := wire.PunchKey{1}
	f.Add(wire.AppendPunch(nil, k, wire.Punch{ID: 1, Counter: 2}, wire.MinPunch))
	f.Add(wire.AppendPunch(nil, wire.PunchKey{2}, wire.Punch{ID: 1, Counter: 2}, wire.DefaultPunch))
	f.Fuzz(func(t *testing.T, b []byte) {
		wire.Classify(b)
		p, err := wire.ParsePunch(b)
		if err != nil {
			return
		}
		if _, err := wire.OpenPunch(k, b); err != nil {
			b = append(bytes.Clone(b[:len(b)-16]), wire.AppendPunch(nil, k, p, len(b))[len(b)-16:]...)
		}
		if again := wire.AppendPunch(nil, k, p, len(b)); !bytes.Equal(again, b) {
			t.Errorf("%x parses as %+v and is written as %x", b, p, again)
		}
	})
}
