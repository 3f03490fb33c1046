package cluster

import (
	"crypto/rand"
	"runtime"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

// joined is a node alone with a NATS server in this process.
func joined(b *testing.B) *Node {
	b.Helper()
	_, k := newTestSecrets(b)
	s, err := Embed(ServerConfig{Key: k, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	url, opts := s.Connect()
	n, err := New(Config{Key: k, Name: "bench", URL: url, Options: opts, Memory: true})
	if err != nil {
		b.Fatal(err)
	}
	core, err := rendezvous.New(rendezvous.Config{Static: k, Rand: rand.Reader, Others: n})
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Start(core, func(f func(time.Time)) { f(time.Now()) }); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(n.Kill)
	for !n.Health().Connected {
		time.Sleep(time.Millisecond)
	}
	return n
}

func someKeys(n int) (all []identity.PublicKey) {
	for i := range n {
		all = append(all, identity.PublicKey{1, byte(i), byte(i >> 8), byte(i >> 16)})
	}
	return all
}

// What a camera costs that comes online: from the core's event until the directory has it.
func BenchmarkAnnounce(b *testing.B) {
	n := joined(b)
	keys := someKeys(b.N)
	now := time.Now()
	b.ResetTimer()
	for _, k := range keys {
		n.Observe(rendezvous.Online{UID: k.UID(), Key: k, At: now})
	}
	for n.Stats().Claims < int64(b.N) {
		runtime.Gosched()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cameras/s")
}

// What it costs to look a camera up.
func BenchmarkFind(b *testing.B) {
	n := joined(b)
	k := someKeys(1)[0]
	for b.Loop() {
		if n.find(k.UID()) != "" {
			b.Fatal("found")
		}
	}
}

// What a relay frame of 1,200 bytes costs between nodes, sealed and opened.
func BenchmarkTrunk(b *testing.B) {
	s, k := newTestSecrets(b)
	here, there := s.trunk(1, 2), s.trunk(2, 1)
	data := make([]byte, 1200)
	frame := make([]byte, 0, frameOverhead+channelHead+len(data))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		frame = here.seal(frame[:0], 1, k.Public(), 0x4001, data)
		if _, _, err := there.open(frame); err != nil {
			b.Fatal(err)
		}
	}
}
