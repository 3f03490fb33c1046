package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// Attack is a hostile host. Run returns when the attack is over, its budget is spent or ctx ends, and leaves nothing behind; an
// error is the lab's fault. One value is run once at a time.
type Attack interface {
	Name() string
	Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error)
}

// Limits of a Budget.
const (
	MaxPackets  = 10_000_000
	MaxDuration = time.Hour
)

// Budget is what an attack may spend. Both count; neither may be zero.
type Budget struct {
	Packets  int           // that it sends; of a Middle: with which it interferes, each copy counted
	Duration time.Duration // of the whole
}

func (b Budget) validate() error {
	if b.Packets < 1 || b.Packets > MaxPackets || b.Duration <= 0 || b.Duration > MaxDuration {
		return fmt.Errorf("budget of %d packets and %v: give 1 to %d packets and up to %v", b.Packets, b.Duration, MaxPackets, MaxDuration)
	}
	return nil
}

// Count is packets and their bytes, without IP and UDP headers except of a Middle, which counts IP packets.
type Count struct{ Packets, Bytes int64 }

func (c *Count) add(n int) { c.Packets++; c.Bytes += int64(n) }

// Ended says why an attack is over.
type Ended string

// The reasons.
const (
	Done         Ended = "it had nothing more to do"
	SpentPackets Ended = "its budget of packets is spent"
	SpentTime    Ended = "its budget of time is spent"
	Cancelled    Ended = "it was called off"
)

// Report is what an attack did.
type Report struct {
	Attack, Machine string
	Sent, Received  Count
	Took            time.Duration
	Ended           Ended
	Counts          map[string]int64 // by what happened, in words
	Gained          []string         // what it has that it should not have, a sentence each; none: the attack failed
}

// ErrNotLab refuses to attack from what is no host of a running lab.
var ErrNotLab = errors.New("an attack runs on a host of a running lab, and nowhere else")

// enter begins an attack: nothing is opened before.
func enter(a Attack, m *lab.Machine, b Budget) (Report, error) {
	r := Report{Attack: a.Name(), Counts: map[string]int64{}}
	if err := b.validate(); err != nil {
		return r, fmt.Errorf("%s: %w", a.Name(), err)
	}
	if m == nil {
		return r, fmt.Errorf("%s: %w", a.Name(), ErrNotLab)
	}
	if err := m.Do(func() error { return nil }); err != nil {
		return r, fmt.Errorf("%s on host %s: %w: %w", a.Name(), m.Name, ErrNotLab, err)
	}
	r.Machine = m.Name
	return r, nil
}

// Secret is something that an attacker must not see. Finding it is a gain.
type Secret struct {
	Name string
	B    []byte // at least 8 bytes, so that chance does not find it
}

// searcher finds secrets in what passes. Each is found once.
type searcher struct {
	secrets []Secret
	found   []bool
}

func newSearcher(secrets []Secret) (searcher, error) {
	for _, s := range secrets {
		if len(s.B) < 8 {
			return searcher{}, fmt.Errorf("secret %q has %d bytes: chance would find less than 8", s.Name, len(s.B))
		}
	}
	return searcher{secrets: secrets, found: make([]bool, len(secrets))}, nil
}

func (s *searcher) look(b []byte, where string, r *Report) {
	for i, secret := range s.secrets {
		if !s.found[i] && bytes.Contains(b, secret.B) {
			s.found[i] = true
			r.Gained = append(r.Gained, fmt.Sprintf("%s was readable in %s", secret.Name, where))
		}
	}
}

// seeded is an attack's randomness: the same seed makes the same attack.
func seeded(seed uint64) *rand.ChaCha8 {
	var b [32]byte
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	copy(b[8:], "punchlab attack")
	return rand.NewChaCha8(b)
}
