package media

import (
	"testing"
	"time"
)

// BenchmarkPacketize: per packet of the clip, encryption and history included.
func BenchmarkPacketize(b *testing.B) { bothWays(b, benchmarkPacketize) }

// bothWays runs a benchmark without and with feedback for an estimator.
func bothWays(b *testing.B, run func(b *testing.B, cfg SenderConfig)) {
	b.Run("plain", func(b *testing.B) { run(b, SenderConfig{}) })
	b.Run("feedback", func(b *testing.B) { run(b, SenderConfig{TransportCC: true}) })
}

func benchmarkPacketize(b *testing.B, cfg SenderConfig) {
	s, _ := newPair(b, cfg, ReceiverConfig{})
	clip, dst := EmbeddedClip(), make([][]byte, 0, 64)
	b.ReportAllocs()
	for i, n := 0, 0; n < b.N; i++ {
		packets, err := s.Packetize(dst, epoch, clip.At(i))
		if err != nil {
			b.Fatal(err)
		}
		n += len(packets)
	}
}

// BenchmarkHandlePacket: per packet of the clip, decryption, frames and their hashes included.
func BenchmarkHandlePacket(b *testing.B) { bothWays(b, benchmarkHandlePacket) }

func benchmarkHandlePacket(b *testing.B, cfg SenderConfig) {
	s, r := newPair(b, cfg, ReceiverConfig{})
	clip := EmbeddedClip()
	var packets [][]byte
	for i := 0; len(packets) < b.N; i++ {
		made, err := s.Packetize(nil, epoch, clip.At(i))
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range made {
			packets = append(packets, append([]byte(nil), p...))
		}
	}
	b.ReportAllocs()
	now := epoch
	b.ResetTimer()
	for _, p := range packets[:b.N] {
		now = now.Add(4 * time.Millisecond)
		if err := r.HandlePacket(now, p); err != nil {
			b.Fatal(err)
		}
		if d := r.Deadline(); !d.After(now) {
			r.HandleTimeout(now)
		}
		r.Ready()
	}
}

// BenchmarkDuplicate: the second copy of a packet, over another path.
func BenchmarkDuplicate(b *testing.B) {
	s, r := newPair(b, SenderConfig{}, ReceiverConfig{})
	packets := clipPackets(b, s, 1)
	if err := r.HandlePacket(epoch, packets[0]); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.HandlePacket(epoch, packets[0]); err != nil {
			b.Fatal(err)
		}
	}
}
