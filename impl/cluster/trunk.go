package cluster

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"golang.org/x/crypto/chacha20poly1305"
)

// A relay frame between two nodes:
//
//	0        1         2          4                 12            20                                                  n
//	├────────┼─────────┼──────────┼─────────────────┼─────────────┼───────────────────────────────────────────────────┤
//	│ type=9 │ version │ zero(2)  │ sender epoch(8) │ counter(8)  │ sealed{ viewer's key(32) ‖ ChannelData } (+16)    │
//	└────────┴─────────┴──────────┴─────────────────┴─────────────┴───────────────────────────────────────────────────┘
//
// ChaCha20-Poly1305 with a key of the two processes and the direction, nonce = zero(4) ‖ counter(8), additional data = bytes
// 0…19; numbers are little-endian. The channel is the one that the home of the connection has given the viewer.
const (
	frameHead     = 20
	frameOverhead = frameHead + 32 + chacha20poly1305.Overhead
	channelHead   = 4
	frameVersion  = 1
)

var (
	errFrame  = errors.New("not a frame of another node's")
	errEpoch  = errors.New("a frame of a node that is not known")
	errReplay = errors.New("a frame that came before")
)

// trunk seals the frames to another process, and opens those from it. The core's goroutine alone uses it.
type trunk struct {
	out, in cipher.AEAD
	sent    uint64
	seen    replay
}

// trunk is the one between two processes.
func (s *secrets) trunk(mine, theirs uint64) *trunk {
	key := func(from, to uint64) cipher.AEAD {
		a, err := chacha20poly1305.New(s.derive(fmt.Sprintf("trunk %016x %016x", from, to), chacha20poly1305.KeySize))
		if err != nil {
			panic(err) // the key's size is right
		}
		return a
	}
	return &trunk{out: key(mine, theirs), in: key(theirs, mine)}
}

// seal appends a frame to b.
func (t *trunk) seal(b []byte, epoch uint64, device identity.PublicKey, channel uint16, data []byte) []byte {
	begin := len(b)
	b = append(b, rendezvous.TypeNode, frameVersion, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, epoch)
	b = binary.LittleEndian.AppendUint64(b, t.sent)
	var nonce [chacha20poly1305.NonceSize]byte
	binary.LittleEndian.PutUint64(nonce[4:], t.sent)
	t.sent++
	plain := len(b)
	b = append(b, device[:]...)
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	b = append(b, data...)
	return t.out.Seal(b[:plain], nonce[:], b[plain:], b[begin:plain])
}

// open opens a frame where it lies.
func (t *trunk) open(b []byte) (device identity.PublicKey, frame []byte, err error) {
	counter := binary.LittleEndian.Uint64(b[12:])
	if !t.seen.fresh(counter) {
		return device, nil, errReplay
	}
	var nonce [chacha20poly1305.NonceSize]byte
	binary.LittleEndian.PutUint64(nonce[4:], counter)
	plain, err := t.in.Open(b[frameHead:frameHead], nonce[:], b[frameHead:], b[:frameHead])
	if err != nil {
		return device, nil, errSealed
	}
	t.seen.accept(counter)
	copy(device[:], plain)
	return device, plain[len(device):], nil
}

// replay knows the last 1,024 counters (RFC 4303 §3.4.3).
type replay struct {
	next uint64 // the greatest plus one
	seen [16]uint64
}

func (r *replay) fresh(c uint64) bool {
	if c >= r.next {
		return c != ^uint64(0)
	}
	return r.next-c <= 1024 && r.seen[c/64%16]>>(c%64)&1 == 0
}

func (r *replay) accept(c uint64) {
	if c >= r.next {
		if c-r.next >= 1024 {
			r.seen = [16]uint64{}
		} else {
			for i := r.next; i <= c; i++ {
				r.seen[i/64%16] &^= 1 << (i % 64)
			}
		}
		r.next = c + 1
	}
	r.seen[c/64%16] |= 1 << (c % 64)
}

// Frame is rendezvous.Others'.
func (n *Node) Frame(p rendezvous.Proxy, device identity.PublicKey, role rendezvous.Role, channel uint16, data []byte) {
	n.mu.Lock()
	to := n.peers[p.Node]
	var at netip.AddrPort
	if to != nil && !to.dead {
		at = n.reach(to)
	}
	if !at.IsValid() || role != rendezvous.Viewer {
		n.stats.Lost++
		n.mu.Unlock()
		return
	}
	n.stats.FramesOut++
	n.mu.Unlock()
	n.core.Load().ToNode(at, frameOverhead+channelHead+len(data), func(b []byte) []byte {
		return to.trunk.seal(b, n.epoch, device, channel, data)
	})
}

// reach is where frames for a node go: its first address of a family that this node has.
func (n *Node) reach(p *peer) netip.AddrPort {
	for _, at := range p.endpoints {
		for _, own := range n.cfg.Endpoints {
			if own.Addr().Is4() == at.Addr().Is4() {
				return at
			}
		}
	}
	return netip.AddrPort{}
}

// Datagram is rendezvous.Datagrams'.
func (n *Node) Datagram(now time.Time, _ netip.AddrPort, b []byte) error {
	if len(b) < frameOverhead || b[1] != frameVersion || b[2] != 0 || b[3] != 0 {
		return errFrame
	}
	n.mu.Lock()
	from := n.trunks[binary.LittleEndian.Uint64(b[4:])]
	n.mu.Unlock()
	if from == nil {
		return errEpoch
	}
	device, frame, err := from.trunk.open(b)
	if err != nil {
		return err
	}
	n.count(func(s *Stats) { s.FramesIn++ })
	return n.core.Load().Carried(now, from.name, device, rendezvous.Viewer, frame)
}
