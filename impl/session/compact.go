package session

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// CompactWindow is how many counters below the greatest a Compact accepts once: less than a Session, because nothing but
// control messages comes by it.
const CompactWindow = 128

// Compact is a responder's session in 104 bytes and without a pointer, for who keeps millions of them: a rendezvous. It seals
// and opens as a Session does; it exports nothing, and does not know its peer. The zero one opens nothing. Not safe for
// concurrent use.
//
//	0 key to the peer │ 32 key from it │ 64 indices │ 72 next counter │ 80 greatest + 1 │ 88 which of the 128 below were seen
type Compact struct {
	send, receive [keySize]byte
	local, remote uint32
	next          uint64 // counter of the next Seal
	top           uint64 // greatest counter accepted + 1; 0: none yet
	seen          [2]uint64
	// Bit n of seen, the lower word first, is for the counter top − 1 − n.
}

// NewCompact is a session by its keys and indices, as a Noise handshake gives them: for tests and measurements, since no other
// two sides may ever have the same keys.
func NewCompact(send, receive [32]byte, local, remote uint32) Compact {
	return Compact{send: send, receive: receive, local: local, remote: remote}
}

// LocalIndex is the receiver index of datagrams to this side; 0: there is no session.
func (s *Compact) LocalIndex() uint32 { return s.local }

// Confirmed says whether the peer is known to hold the session's keys.
func (s *Compact) Confirmed() bool { return s.top > 0 }

// Seal appends a transport datagram that carries plaintext to dst. It returns nil after RejectAfterMessages datagrams.
func (s *Compact) Seal(dst, plaintext []byte) []byte {
	if s.next >= RejectAfterMessages {
		return nil
	}
	start := len(dst)
	dst = appendHeader(dst, TypeTransport, s.remote)
	dst = binary.LittleEndian.AppendUint64(dst, s.next)
	aead, nonce := crypter(s.send[:], s.next)
	s.next++
	return aead.Seal(dst, nonce[:], plaintext, dst[start:start+sealedHeader])
}

// Open appends the payload of a transport datagram to dst. Each counter is accepted once, and only within CompactWindow of the
// greatest.
func (s *Compact) Open(dst, datagram []byte) ([]byte, error) {
	counter, err := checkTransport(datagram, s.local)
	if err != nil {
		return nil, err
	}
	if !s.fresh(counter) {
		return nil, fmt.Errorf("open datagram: %w", ErrReplay)
	}
	aead, nonce := crypter(s.receive[:], counter)
	out, err := aead.Open(dst, nonce[:], datagram[sealedHeader:], datagram[:sealedHeader])
	if err != nil {
		return nil, fmt.Errorf("open datagram: %w", ErrAuth)
	}
	s.accept(counter)
	return out, nil
}

// crypter is what seals and opens by a key, and the nonce of a counter (Noise §12.3).
func crypter(key []byte, counter uint64) (cipher.AEAD, [chacha20poly1305.NonceSize]byte) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic(err) // keys have 32 bytes
	}
	var nonce [chacha20poly1305.NonceSize]byte
	binary.LittleEndian.PutUint64(nonce[4:], counter)
	return aead, nonce
}

// fresh says whether a counter could be accepted.
func (s *Compact) fresh(counter uint64) bool {
	if counter >= s.top {
		return true
	}
	below := s.top - 1 - counter
	return below < CompactWindow && s.seen[below/64]&(1<<(below%64)) == 0
}

// accept marks an authenticated counter, which must be fresh.
func (s *Compact) accept(counter uint64) {
	if counter < s.top {
		below := s.top - 1 - counter
		s.seen[below/64] |= 1 << (below % 64)
		return
	}
	s.shift(counter + 1 - s.top)
	s.top = counter + 1
	s.seen[0] |= 1
}

// shift moves what was seen n counters down.
func (s *Compact) shift(n uint64) {
	switch {
	case n >= CompactWindow:
		s.seen = [2]uint64{}
	case n >= 64:
		s.seen[1], s.seen[0] = s.seen[0]<<(n-64), 0
	default:
		s.seen[1], s.seen[0] = s.seen[1]<<n|s.seen[0]>>(64-n), s.seen[0]<<n
	}
}
