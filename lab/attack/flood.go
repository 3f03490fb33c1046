package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab"
	"golang.org/x/crypto/blake2s"
)

// Flooder sends a responder handshakes from sources that are not there: the answers go nowhere, and a cookie comes to nobody.
type Flooder struct {
	Target netip.AddrPort
	To     string             // ToRendezvous or ToCamera
	Key    identity.PublicKey // the target's, which its label or its clients have
	Rate   int                // packets a second; 0: 1,000
	// Sources are the addresses that it claims to be; zero: 198.18.0.0/15, where nobody is (RFC 2544).
	Sources netip.Prefix
	// Whole has each initiation open at the target, which costs it all that a handshake costs, and the flooder too. Otherwise
	// mac1 alone is right, so that the target finds out by a key agreement that it is forged.
	Whole bool
	Seed  uint64

	prepared []Shot // the first of the next Run
	next     func(i int) (Shot, error)
	sent     atomic.Int64
}

// pool is how many initiations a Flooder that is not Whole makes, to forge the others from.
const pool = 64

// Name returns "flooder".
func (f *Flooder) Name() string { return "flooder" }

// Sent is how many datagrams have left: in the Run that goes on, in the last one, or, after Prepare, none yet. It may be asked beside Run.
func (f *Flooder) Sent() int64 { return f.sent.Load() }

// Run floods.
func (f *Flooder) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(f, m, b)
	if err != nil {
		return r, err
	}
	f.sent.Store(0)
	var broken error
	ready, shots := f.prepared, f.next
	if f.prepared, f.next = nil, nil; shots == nil {
		shots = f.shots()
	}
	err = shoot(ctx, m, b, f.Rate, func(i int) (Shot, bool) {
		f.sent.Store(int64(i)) // those before the one that is asked for
		if i < len(ready) {
			return ready[i], true
		}
		shot, err := shots(i)
		broken = err
		return shot, err == nil
	}, &r)
	if broken != nil {
		return r, fmt.Errorf("flooder: %w", broken)
	}
	return r, err
}

// Prepare makes the first n datagrams of the next Run, so that making them takes no time from what runs meanwhile.
func (f *Flooder) Prepare(n int) error {
	f.prepared, f.next = nil, f.shots()
	f.sent.Store(0)
	for i := range n {
		shot, err := f.next(i)
		if err != nil {
			return fmt.Errorf("flooder: %w", err)
		}
		f.prepared = append(f.prepared, shot)
	}
	return nil
}

// shots makes the flood's datagrams, always the same for one Seed.
func (f *Flooder) shots() func(i int) (Shot, error) {
	random := seeded(f.Seed)
	draw := rand.New(random)
	sources := f.Sources
	if !sources.IsValid() {
		sources = netip.MustParsePrefix("198.18.0.0/15")
	}
	var made [][]byte
	return func(i int) (Shot, error) {
		shot := Shot{From: randomSource(draw, sources), To: f.Target}
		if f.Whole || len(made) < pool {
			b, err := initiation(f.To, f.Key, random)
			if err != nil || f.Whole {
				shot.B = b
				return shot, err
			}
			made = append(made, b)
		}
		shot.B = append([]byte(nil), made[i%len(made)]...)
		binary.LittleEndian.PutUint32(shot.B[4:], draw.Uint32()|1) // the sender's index is part of the prologue: it will not open
		Sign(f.Key, shot.B)
		return shot, nil
	}
}

// Sign gives an initiation the mac1 that its bytes have to have for a responder (impl/PROTOCOL.md §5.1).
func Sign(responder identity.PublicKey, b []byte) {
	key := blake2s.Sum256(append([]byte("punchlab mac1 v1"), responder[:]...))
	end := len(b) - 2*blake2s.Size128
	h, err := blake2s.New128(key[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	h.Write(b[:end])
	copy(b[end:], h.Sum(nil))
}

// randomSource draws an endpoint of a prefix of IPv4; ports are those that NATs use.
func randomSource(draw *rand.Rand, within netip.Prefix) netip.AddrPort {
	a := within.Masked().Addr().As4()
	host := draw.Uint32() >> within.Bits() // 0 where the prefix is one address: a shift by 32
	n := binary.BigEndian.Uint32(a[:]) | host
	binary.BigEndian.PutUint32(a[:], n)
	return netip.AddrPortFrom(netip.AddrFrom4(a), uint16(1024+draw.IntN(64512)))
}
