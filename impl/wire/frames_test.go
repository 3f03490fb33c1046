package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/crypto/blake2s"

	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// RFC 9443 §3's figure, row by row, and RFC 5761 §4.
func TestClassify(t *testing.T) {
	want := func(first int) wire.Kind {
		switch {
		case first <= 3:
			return wire.STUN
		case first == 4:
			return wire.Initiation
		case first == 5:
			return wire.Response
		case first == 6:
			return wire.Cookie
		case first == 7:
			return wire.Transport
		case first == 8:
			return wire.PunchPacket
		case first < 64: // unassigned, ZRTP, DTLS
			return wire.Unknown
		case first <= 79:
			return wire.ChannelData
		case first < 128: // QUIC
			return wire.Unknown
		case first <= 191:
			return wire.RTP
		}
		return wire.Unknown
	}
	for first := range 256 {
		if got := wire.Classify([]byte{byte(first)}); got != want(first) {
			t.Errorf("first byte %d: %v, want %v", first, got, want(first))
		}
	}
	for second := range 256 {
		want := wire.RTP
		if second >= 192 && second <= 223 {
			want = wire.RTCP
		}
		if got := wire.Classify([]byte{0x80, byte(second)}); got != want {
			t.Errorf("second byte %d: %v, want %v", second, got, want)
		}
	}
	if got := wire.Classify(nil); got != wire.Unknown {
		t.Errorf("nothing is %v", got)
	}
	if s := wire.ChannelData.String() + wire.Kind(99).String(); s != "channel-dataunknown" {
		t.Errorf("names: %s", s)
	}
}

func TestChannelData(t *testing.T) {
	for _, n := range []int{0, 1, 1200, wire.MaxChannelData} {
		datagram := bytes.Repeat([]byte{7}, n)
		b, err := wire.AppendChannelData([]byte("before"), 0x4abc, datagram)
		if err != nil {
			t.Fatal(err)
		}
		channel, got, err := wire.ParseChannelData(b[6:])
		if err != nil || channel != 0x4abc || !bytes.Equal(got, datagram) || wire.Classify(b[6:]) != wire.ChannelData {
			t.Errorf("%d bytes: channel %#x, %d bytes, %v", n, channel, len(got), err)
		}
		for cut := range len(b) - 6 {
			if _, _, err := wire.ParseChannelData(b[6 : 6+cut]); !errors.Is(err, wire.ErrChannel) {
				t.Fatalf("%d bytes of %d: %v", cut, len(b)-6, err)
			}
		}
		if _, _, err := wire.ParseChannelData(append(bytes.Clone(b[6:]), 0)); !errors.Is(err, wire.ErrChannel) {
			t.Errorf("%d bytes and one more: %v", n, err)
		}
	}
	for _, channel := range []uint16{0, 0x3fff, 0x5000} {
		if _, err := wire.AppendChannelData(nil, channel, nil); err == nil {
			t.Errorf("channel %#x was framed", channel)
		}
		if _, _, err := wire.ParseChannelData([]byte{byte(channel >> 8), byte(channel), 0, 0}); err == nil {
			t.Errorf("channel %#x was parsed", channel)
		}
	}
	if _, err := wire.AppendChannelData(nil, wire.MinChannel, make([]byte, wire.MaxChannelData+1)); err == nil {
		t.Error("an oversized datagram was framed")
	}
}

func TestPunch(t *testing.T) {
	k := wire.PunchKey{1, 2, 3}
	for _, fromCamera := range []bool{false, true} {
		for _, low := range []bool{false, true} {
			testPunch(t, k, wire.Punch{ID: 0x0123456789abcdef, Counter: 42, FromCamera: fromCamera, LowTTL: low})
		}
	}
	if _, err := wire.ParsePunch(make([]byte, wire.MaxPunch+1)); !errors.Is(err, wire.ErrPunch) {
		t.Errorf("an oversized punch: %v", err)
	}
	if wire.PunchVersion != session.Version {
		t.Error("a punch has another version than the session's datagrams")
	}
}

// Flags of later versions are refused, also where the key is right.
func TestPunchFlags(t *testing.T) {
	k := wire.PunchKey{1, 2, 3}
	for flags := range 256 {
		b := wire.AppendPunch(nil, k, wire.Punch{ID: 1, Counter: 2}, wire.MinPunch)
		b[3] = byte(flags)
		mac, err := blake2s.New128(k[:])
		if err != nil {
			t.Fatal(err)
		}
		mac.Write(b[:16])
		p, err := wire.OpenPunch(k, mac.Sum(b[:16]))
		if (err == nil) != (flags < 2) || p.LowTTL != (flags == 1) {
			t.Errorf("flags %d: %+v, %v", flags, p, err)
		}
	}
}

func testPunch(t *testing.T, k wire.PunchKey, want wire.Punch) {
	for size, length := range map[int]int{0: wire.MinPunch, wire.MinPunch: wire.MinPunch, wire.DefaultPunch: wire.DefaultPunch, 9999: wire.MaxPunch} {
		b := wire.AppendPunch([]byte("before"), k, want, size)[6:]
		if len(b) != length || wire.Classify(b) != wire.PunchPacket {
			t.Fatalf("size %d: %d bytes, %v", size, len(b), wire.Classify(b))
		}
		if got, err := wire.OpenPunch(k, b); err != nil || got != want {
			t.Errorf("OpenPunch = %+v, %v", got, err)
		}
		if got, err := wire.ParsePunch(b); err != nil || got != want {
			t.Errorf("ParsePunch = %+v, %v", got, err)
		}
		if _, err := wire.OpenPunch(wire.PunchKey{9}, b); !errors.Is(err, wire.ErrPunchMAC) {
			t.Errorf("opened with another key: %v", err)
		}
		for cut := range b {
			if _, err := wire.OpenPunch(k, b[:cut]); err == nil {
				t.Fatalf("opened %d bytes of %d", cut, len(b))
			}
		}
		for bit := range len(b) * 8 {
			c := bytes.Clone(b)
			c[bit/8] ^= 1 << (bit % 8)
			if _, err := wire.OpenPunch(k, c); err == nil {
				t.Fatalf("opened with bit %d flipped", bit)
			}
		}
	}
}
