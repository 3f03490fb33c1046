package session

import (
	"encoding/binary"
	"fmt"

	"github.com/flynn/noise"

	"github.com/punchlab/punchlab/impl/identity"
)

// Session seals and opens datagrams. Not safe for concurrent use.
type Session struct {
	local, remote uint32
	peer          identity.PublicKey
	initiator     bool
	confirmed     bool
	prk           []byte
	send, receive noise.Cipher
	next          uint64 // counter of the next Seal
	window        window
}

// LocalIndex is the receiver index of datagrams to this side.
func (s *Session) LocalIndex() uint32 { return s.local }

// Peer is the key that the other side holds.
func (s *Session) Peer() identity.PublicKey { return s.peer }

// Initiator says whether this side started the handshake.
func (s *Session) Initiator() bool { return s.initiator }

// Confirmed says whether the peer is known to hold the session's keys. Before,
// a responder must not rely on the initiation being new.
func (s *Session) Confirmed() bool { return s.confirmed }

// Sent is how many datagrams were sealed.
func (s *Session) Sent() uint64 { return s.next }

// NeedsRekey says that RekeyAfterMessages is reached in either direction.
func (s *Session) NeedsRekey() bool {
	return s.next >= RekeyAfterMessages || s.window.next >= RekeyAfterMessages
}

// Seal appends a transport datagram that carries plaintext to dst. It returns nil
// after RejectAfterMessages datagrams: no counter is used twice.
func (s *Session) Seal(dst, plaintext []byte) []byte {
	if s.next >= RejectAfterMessages {
		return nil
	}
	start := len(dst)
	dst = appendHeader(dst, TypeTransport, s.remote)
	dst = binary.LittleEndian.AppendUint64(dst, s.next)
	out := s.send.Encrypt(dst, s.next, dst[start:start+sealedHeader], plaintext)
	s.next++
	return out
}

// Open appends the payload of a transport datagram to dst. Each counter is
// accepted once, and only within ReplayWindow of the greatest.
func (s *Session) Open(dst, datagram []byte) ([]byte, error) {
	counter, err := checkTransport(datagram, s.local)
	if err != nil {
		return nil, err
	}
	if !s.window.fresh(counter) {
		return nil, fmt.Errorf("open datagram: %w", ErrReplay)
	}
	out, err := s.receive.Decrypt(dst, counter, datagram[:sealedHeader], datagram[sealedHeader:])
	if err != nil {
		return nil, fmt.Errorf("open datagram: %w", ErrAuth)
	}
	s.window.accept(counter)
	s.confirmed = true
	return out, nil
}

// checkTransport checks all of a transport datagram that shows without keys, and returns its counter.
func checkTransport(datagram []byte, local uint32) (uint64, error) {
	if err := checkHeader(datagram, TypeTransport, TransportOverhead, MaxDatagram); err != nil {
		return 0, fmt.Errorf("open datagram: %w", err)
	}
	if binary.LittleEndian.Uint32(datagram[4:]) != local {
		return 0, fmt.Errorf("open datagram: %w", ErrIndex)
	}
	counter := binary.LittleEndian.Uint64(datagram[8:])
	if counter >= RejectAfterMessages {
		return 0, fmt.Errorf("open datagram: %w", ErrExhausted)
	}
	return counter, nil
}

// Export derives n bytes (at most 8,160) that both sides, and nobody else, know:
// HKDF-Expand(exporter, "punchlab export v1 " ‖ label, n). Distinct labels give
// independent secrets.
func (s *Session) Export(label string, n int) []byte { return expand(s.prk, label, n) }
