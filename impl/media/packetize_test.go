package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/srtp/v3"
)

// Pion's own decryption and depacketizer, the second opinion, get the clip back.
func TestPionReadsOurPackets(t *testing.T) {
	for _, mtu := range []int{minMTU, DefaultMTU, maxPacket} {
		s, _ := newPair(t, SenderConfig{MTU: mtu}, ReceiverConfig{})
		keys := testKeys("pair")
		ctx, err := srtp.CreateContext(keys.camera.key[:], keys.camera.salt[:], srtp.ProtectionProfileAeadAes128Gcm)
		if err != nil {
			t.Fatal(err)
		}
		for _, au := range EmbeddedClip().AccessUnits[:30] {
			captured := epoch.Add(au.PTS)
			packets, err := s.Packetize(nil, captured, au)
			if err != nil {
				t.Fatal(err)
			}
			var depacketizer codecs.H264Packet
			var got []byte
			for i, b := range packets {
				if len(b) > mtu {
					t.Fatalf("a packet has %d bytes, more than the MTU of %d", len(b), mtu)
				}
				plain, err := ctx.DecryptRTP(nil, b, nil)
				if err != nil {
					t.Fatal(err)
				}
				var p rtp.Packet
				if err := p.Unmarshal(plain); err != nil {
					t.Fatal(err)
				}
				var ext rtp.AbsCaptureTimeExtension
				if err := ext.Unmarshal(p.GetExtension(extCapture)); err != nil {
					t.Fatal(err)
				}
				if d := ext.CaptureTime().Sub(captured); d.Abs() > time.Nanosecond {
					t.Fatalf("abs-capture-time is off by %v", d)
				}
				if p.Marker != (i == len(packets)-1) || p.SSRC != keys.SSRC() || p.PayloadType != DefaultPayloadType {
					t.Fatalf("packet %d of %d: %v", i, len(packets), p)
				}
				data, err := depacketizer.Unmarshal(p.Payload)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, data...)
			}
			if !bytes.Equal(got, au.Data) {
				t.Fatalf("MTU %d: access unit %d differs", mtu, au.Index)
			}
		}
	}
}

// Parameter sets share a STAP-A, whatever fits goes alone, the rest in fragments; every size comes
// through around the limits.
func TestEverySizeAroundTheMTU(t *testing.T) {
	room := minMTU - rtpHeaderSize - tagLen
	s, r := newPair(t, SenderConfig{MTU: minMTU}, ReceiverConfig{})
	for i := range 3*room + 10 {
		nal := "\x65\x80" + strings.Repeat("x", i)
		sps := "\x67" + strings.Repeat("s", i%(room+20))
		au := AccessUnit{Index: i, PTS: ptsOf(i, 25), Data: []byte(canonical("\x09\xF0", sps, "\x68p", "\x68q", "\x06\x05", nal))}
		packets, err := s.Packetize(nil, epoch, au)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range packets {
			if len(b) > minMTU {
				t.Fatalf("a packet has %d bytes, more than the MTU of %d", len(b), minMTU)
			}
			if err := r.HandlePacket(epoch, b); err != nil {
				t.Fatal(err)
			}
		}
		out := r.Ready()
		if len(out.Frames) != 1 || !bytes.Equal(out.Frames[0].Data, au.Data) || !out.Frames[0].Key {
			t.Fatalf("access unit %d does not come through: %d frames", i, len(out.Frames))
		}
	}
}

func TestPacketizeRefusesWhole(t *testing.T) {
	good := AccessUnit{Index: 1, PTS: time.Second, Data: []byte(canonical("\x65\x80x"))}
	for _, test := range []struct {
		name     string
		captured time.Time
		au       AccessUnit
		want     error
	}{
		{"empty", epoch, AccessUnit{PTS: time.Minute}, errNoPicture},
		{"reserved type after a good one", epoch, AccessUnit{PTS: time.Minute, Data: []byte(canonical("\x65\x80x", "\x1Fx"))}, errReservedNAL},
		{"the same PTS", epoch, good, errPTS},
		{"year 1", time.Time{}, AccessUnit{PTS: time.Minute, Data: good.Data}, errCaptured},
	} {
		s, _ := newPair(t, SenderConfig{}, ReceiverConfig{})
		if _, err := s.Packetize(nil, epoch, good); err != nil {
			t.Fatal(err)
		}
		before, _ := s.LastSeq()
		packets, err := s.Packetize([][]byte{nil}, test.captured, test.au)
		if after, _ := s.LastSeq(); !errors.Is(err, test.want) || len(packets) != 1 || after != before {
			t.Errorf("%s: %d packets, %v; want %v and none", test.name, len(packets), err, test.want)
		}
	}
}

func TestHistoryForgets(t *testing.T) {
	clip := EmbeddedClip()
	s, _ := newPair(t, SenderConfig{HistoryPackets: 64}, ReceiverConfig{})
	first := uint64(s.cfg.Keys.firstSeq)
	if _, ok := s.LastSeq(); ok || s.LastGOP(epoch, nil) != nil || s.Since(epoch, nil, 0) != nil {
		t.Error("a sender that sent nothing has a history")
	}
	made := 0
	for i := range 8 {
		packets, err := s.Packetize(nil, epoch, clip.At(i))
		if err != nil {
			t.Fatal(err)
		}
		made += len(packets)
		if got := len(s.LastGOP(epoch, nil)); made <= 64 && got != made || made > 64 && got != 0 {
			t.Errorf("after %d packets the last group of pictures has %d", made, got)
		}
	}
	if made <= 64 {
		t.Fatalf("the test made %d packets only", made)
	}
	last, _ := s.LastSeq()
	if last != first+uint64(made)-1 {
		t.Errorf("the last packet is %d, want %d", last, first+uint64(made)-1)
	}
	for _, test := range []struct {
		after uint64
		want  int
	}{{last, 0}, {last - 3, 3}, {last - 64, 64}, {last - 65, 64}, {first, 64}, {0, 64}} {
		got := s.Since(epoch, nil, test.after)
		if len(got) != test.want {
			t.Errorf("since %d: %d packets, want %d", test.after, len(got), test.want)
		}
		for i, b := range got {
			if want := uint16(last - uint64(len(got)-1-i)); binary.BigEndian.Uint16(b[2:]) != want {
				t.Errorf("since %d: packet %d is %d, want %d", test.after, i, binary.BigEndian.Uint16(b[2:]), want)
			}
		}
	}
}

func TestNTPIsExactToTheNanosecond(t *testing.T) {
	for _, at := range []time.Time{
		epoch, time.Unix(0, 0), time.Unix(1, 1), time.Unix(2, 999999999),
		time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), // the last second of NTP's era 0
		time.Date(2036, 2, 7, 6, 28, 16, 1, time.UTC),
		time.Date(2100, 1, 1, 0, 0, 0, 123456789, time.UTC),
	} {
		for ns := range 1000 {
			want := at.Add(time.Duration(ns) * 7919)
			ts, ok := toNTP(want)
			if got := fromNTP(ts); !ok || !got.Equal(want) {
				t.Fatalf("%v comes back as %v", want, got)
			}
		}
	}
	if _, ok := toNTP(time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)); ok {
		t.Error("1960 fits")
	}
}

func TestConfigIsValidated(t *testing.T) {
	keys := testKeys("x")
	for name, cfg := range map[string]SenderConfig{
		"no keys":      {},
		"payload type": {Keys: keys, PayloadType: 72},
		"small MTU":    {Keys: keys, MTU: 100},
		"large MTU":    {Keys: keys, MTU: 9000},
		"history":      {Keys: keys, HistoryPackets: window + 1},
		"resend gap":   {Keys: keys, ResendGap: -1},
	} {
		if _, err := NewSender(cfg); err == nil {
			t.Errorf("sender with a bad %s is made", name)
		}
	}
	for name, cfg := range map[string]ReceiverConfig{
		"no keys":      {},
		"frame rate":   {Keys: keys, FPS: -1},
		"reorder wait": {Keys: keys, ReorderWait: -1},
		"max wait":     {Keys: keys, MaxWait: time.Millisecond},
		"feedback":     {Keys: keys, FeedbackEvery: -1},
	} {
		if _, err := NewReceiver(cfg); err == nil {
			t.Errorf("receiver with a bad %s is made", name)
		}
	}
	if a, b := testKeys("x"), testKeys("y"); a != testKeys("x") || a == b || a.camera == a.viewer || a.firstSeq >= 1<<15 {
		t.Errorf("keys are not derived: %v %v", a, b)
	}
	if text := keys.GoString() + keys.String(); strings.Contains(text, "key:") || len(text) > 80 {
		t.Errorf("keys print as %s", text)
	}
}
