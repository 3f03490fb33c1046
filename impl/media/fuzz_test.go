package media

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// script reads a fuzz input as packets that have passed authentication:
//
//	u16 sequence number step, u8 timestamp step, u8 flags (1: marker, 2: timeout first), u8 ms, u8 length, payload
type script struct{ b []byte }

func (s *script) next() (step uint16, ts, flags, ms byte, payload []byte, ok bool) {
	if len(s.b) < 6 {
		return 0, 0, 0, 0, nil, false
	}
	h := s.b[:6]
	n := min(int(h[5]), len(s.b)-6)
	payload, s.b = s.b[6:6+n], s.b[6+n:]
	return binary.BigEndian.Uint16(h), h[2], h[3], h[4], payload, true
}

func record(step uint16, ts, flags, ms byte, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, step)
	return append(append(b, ts, flags, ms, byte(len(payload))), payload...)
}

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// FuzzReceiver drives the receiver behind the decryption: any payload in any order. Its books must
// balance, frames must grow and hold NAL units, and the buffer must stay bounded.
func FuzzReceiver(f *testing.F) {
	f.Add(concat(record(0, 0, 0, 0, "\x78\x00\x02\x67s\x00\x02\x68p"), record(1, 0, 1, 0, "\x65\x80k"), record(1, 1, 1, 40, "\x41\x9Ap")))
	f.Add(concat(record(0, 0, 0, 0, "\x7C\x85a"), record(2, 0, 1, 1, "\x7C\x45c"), record(0xFFFF, 0, 2, 30, "\x7C\x05b")))
	f.Add(concat(record(0, 0, 1, 0, "\x65\x80k"), record(3000, 1, 3, 255, "\x41x"), record(40000, 1, 3, 255, "\x67s"), record(1, 0, 1, 0, "\x65\x80k")))
	f.Add(concat(record(5, 0, 1, 0, "\x67s"), record(0xFFFE, 0, 1, 0, "\x65\x80k"), record(9, 9, 1, 9, "\x7C")))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, r := newPair(t, SenderConfig{}, ReceiverConfig{MaxWait: 200 * time.Millisecond})
		s, now := script{b}, epoch
		seq, ts := r.cfg.Keys.firstSeq, r.cfg.Keys.firstTS
		last, delivered := -1, uint64(0)
		for {
			step, dts, flags, ms, payload, ok := s.next()
			if !ok {
				break
			}
			seq, ts, now = seq+step, ts+uint32(dts)*3600, now.Add(time.Duration(ms)*time.Millisecond)
			if flags&2 != 0 {
				r.HandleTimeout(now)
			}
			feed(now, r, seq, ts, flags&1 != 0, payload)
			out := r.Ready()
			for _, frame := range out.Frames {
				if frame.Index < last && dts < 128 {
					t.Fatalf("frame %d after frame %d", frame.Index, last)
				}
				last = frame.Index
				delivered++
				if frame.Packets < 1 || len(frame.Data) < 5 {
					t.Fatalf("frame %+v", frame)
				}
			}
			balance(t, r, delivered)
		}
		for range 10000 {
			d := r.Deadline()
			if d.IsZero() {
				return
			}
			if d.After(now) {
				now = d
			}
			r.HandleTimeout(now)
			delivered += uint64(len(r.Ready().Frames))
			balance(t, r, delivered)
			if r.buffer.missing == 0 && r.report.due.IsZero() {
				return // nothing left but to ask for a key frame for ever
			}
		}
		t.Fatal("the receiver never comes to rest")
	})
}

// feed does what HandlePacket does, without the cipher.
func feed(now time.Time, r *Receiver, seq16 uint16, ts uint32, marker bool, payload []byte) {
	seq := r.buffer.extend(seq16)
	switch {
	case r.buffer.tooOld(seq):
	case r.buffer.seen(seq):
		r.duplicate(now, seq)
	default:
		p := r.buffer.get()
		p.buf = append(p.buf, payload...)
		p.payload, p.ts, p.marker, p.size = p.buf, ts, marker, len(payload)
		r.accept(now, seq, p)
	}
}

// balance checks the receiver's books against its buffer.
func balance(t *testing.T, r *Receiver, delivered uint64) {
	t.Helper()
	q, b := r.Quality(), &r.buffer
	if !b.started {
		return
	}
	missed, have := 0, 0
	for i := range b.slots {
		switch s := &b.slots[i]; s.state {
		case missing:
			missed++
			if s.seq < b.next || s.seq > b.highest {
				t.Fatalf("packet %d is awaited outside %d to %d", s.seq, b.next, b.highest)
			}
		case held:
			have++
			if s.pkt == nil || s.seq < b.next || s.seq > b.highest {
				t.Fatalf("packet %d is held outside %d to %d", s.seq, b.next, b.highest)
			}
		}
	}
	switch {
	case missed != b.missing:
		t.Fatalf("%d packets are missing, %d counted", missed, b.missing)
	case b.next > b.scan || b.scan > b.highest+1 || b.highest-b.next >= window && b.next <= b.highest:
		t.Fatalf("next %d, scan %d, highest %d", b.next, b.scan, b.highest)
	case q.FramesReceived != delivered:
		t.Fatalf("%d frames delivered, %d counted", delivered, q.FramesReceived)
	case q.Repaired > q.Lost+q.Duplicate || q.Lost > q.Expected:
		t.Fatalf("quality: %+v", q)
	case have > 0 && b.missing == 0 && b.at(b.scan-1).state != held:
		t.Fatalf("%d packets are held, none is missing, but the scan stands at %d", have, b.scan)
	}
}

// FuzzRTCP feeds authentic RTCP of any content to both ends.
func FuzzRTCP(f *testing.F) {
	keys := testKeys("pair")
	last := keys.firstSeq + 40
	for _, p := range []rtcp.Packet{
		&rtcp.TransportLayerNack{MediaSSRC: keys.ssrc, Nacks: []rtcp.NackPair{{PacketID: last, LostPackets: 0xFFFF}, {PacketID: last - 30, LostPackets: 5}}},
		&rtcp.PictureLossIndication{MediaSSRC: keys.ssrc},
		&rtcp.SenderReport{SSRC: keys.ssrc, NTPTime: 1 << 63, PacketCount: 7},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: keys.ssrc, LastSenderReport: 77, Delay: 1 << 31}}},
		&rtcp.CompoundPacket{&rtcp.ReceiverReport{}, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}}},
	} {
		b, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) < 8 || len(plain) > maxPacket {
			return
		}
		s, r := newPair(t, SenderConfig{HistoryPackets: 64}, ReceiverConfig{})
		for _, b := range clipPackets(t, s, 3) {
			if err := r.HandlePacket(epoch, b); err != nil {
				t.Fatal(err)
			}
		}
		toSender, err := r.out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			return
		}
		toReceiver, err := s.out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		fb, err := s.HandleRTCP(epoch.Add(time.Second), toSender)
		if (err != nil) != (s.Rejected().Total() == 1) {
			t.Errorf("%v, but rejected %+v", err, s.Rejected())
		}
		if fb.RTT < 0 || fb.Lost < 0 || fb.Lost >= 1 || len(fb.Resend) > 64 {
			t.Errorf("feedback: RTT %v, loss %v, %d to resend", fb.RTT, fb.Lost, len(fb.Resend))
		}
		if isRTCP(toReceiver) {
			err = r.HandlePacket(epoch, toReceiver)
			if (err != nil) != (r.Quality().Rejected.Total() == 1) {
				t.Errorf("%v, but rejected %+v", err, r.Quality().Rejected)
			}
		}
		r.HandleTimeout(r.Deadline())
		r.Ready()
	})
}
