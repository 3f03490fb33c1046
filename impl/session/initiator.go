package session

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/flynn/noise"

	"github.com/punchlab/punchlab/impl/identity"
)

// Stamp makes the timestamps of initiations, which must grow, also across
// restarts. Its zero value is ready; an endpoint keeps one for all its initiations.
type Stamp struct {
	// Boot is how often the device has started; 0: it does not count. With it
	// the clock is ignored, because one that is right only at times is no help:
	//
	//	1 (above all times until 2262) │ Boot, 31 bits │ initiations since, 32 bits
	Boot uint64

	last uint64
}

// Next returns nanoseconds since 1970, or one more than last time where the
// clock did not advance; with Boot, the next number of this start.
func (s *Stamp) Next(now time.Time) uint64 {
	least := uint64(max(now.UnixNano(), 0))
	if s.Boot > 0 {
		least = 1<<63 | min(s.Boot, 1<<31-1)<<32
	}
	s.last = max(s.last+1, least)
	return s.last
}

// Initiator is a handshake in progress.
type Initiator struct {
	config  Config
	peer    identity.PublicKey
	hs      *noise.HandshakeState
	index   uint32
	message []byte
	done    bool
}

// NewInitiator prepares a handshake with peer. The payload is encrypted to peer's
// static key, at most MaxInitiation−InitiationOverhead bytes. The timestamp must
// be greater than that of every initiation sent to this peer before (see Stamp).
func NewInitiator(c Config, peer identity.PublicKey, timestamp uint64, payload []byte) (*Initiator, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if len(payload) > MaxInitiation-InitiationOverhead {
		return nil, fmt.Errorf("start handshake: payload of %d bytes, at most %d fit", len(payload), MaxInitiation-InitiationOverhead)
	}
	index, err := c.newIndex()
	if err != nil {
		return nil, err
	}
	header := appendHeader(make([]byte, 0, MaxInitiation), TypeInitiation, index)
	hs, err := c.handshake(true, header, peer[:])
	if err != nil {
		return nil, err
	}
	plain := make([]byte, stampSize, stampSize+max(len(payload), MinInitiation))
	binary.LittleEndian.PutUint64(plain, timestamp)
	binary.LittleEndian.PutUint16(plain[8:], uint16(len(payload)))
	plain = append(plain, payload...)
	if short := MinInitiation - InitiationOverhead - len(payload); short > 0 {
		plain = append(plain, make([]byte, short)...)
	}
	message, _, _, err := hs.WriteMessage(header, plain)
	if err != nil {
		return nil, fmt.Errorf("write initiation: %w", err)
	}
	key := mac1Key(peer)
	mac1 := keyed(key[:], message)
	message = append(message, mac1[:]...)
	message = append(message, make([]byte, macSize)...)
	return &Initiator{config: c, peer: peer, hs: hs, index: index, message: message}, nil
}

// Message returns the initiation: send it, and again as it is until Finish.
// After HandleCookie it carries the cookie. Valid until the next HandleCookie.
func (i *Initiator) Message() []byte { return i.message }

// LocalIndex is the receiver index of the response, and of the session.
func (i *Initiator) LocalIndex() uint32 { return i.index }

// Peer is the responder's key.
func (i *Initiator) Peer() identity.PublicKey { return i.peer }

// HandleCookie takes a cookie reply; Message then proves that this endpoint
// receives at its source address. Send it at once.
func (i *Initiator) HandleCookie(b []byte) error {
	if err := checkHeader(b, TypeCookie, CookieSize, CookieSize); err != nil {
		return fmt.Errorf("open cookie: %w", err)
	}
	if binary.LittleEndian.Uint32(b[4:]) != i.index {
		return fmt.Errorf("open cookie: %w", ErrIndex)
	}
	end := len(i.message) - macSize
	cookie, err := openCookie(i.peer, b[headerSize:], i.message[end-macSize:end])
	if err != nil {
		return fmt.Errorf("open cookie: %w", ErrAuth)
	}
	mac2 := keyed(cookie, i.message[:end])
	copy(i.message[end:], mac2[:])
	return nil
}

// Finish takes the response. It returns the session, which is confirmed, and the
// responder's payload. An error leaves the handshake as it was: a forged
// response does not end it.
func (i *Initiator) Finish(b []byte) (*Session, []byte, error) {
	if err := checkHeader(b, TypeResponse, ResponseOverhead, MaxDatagram); err != nil {
		return nil, nil, fmt.Errorf("open response: %w", err)
	}
	if binary.LittleEndian.Uint32(b[4:]) != i.index {
		return nil, nil, fmt.Errorf("open response: %w", ErrIndex)
	}
	if i.done {
		return nil, nil, fmt.Errorf("open response: %w", ErrReplay)
	}
	if lowOrder(b[headerSize : headerSize+keySize]) {
		return nil, nil, fmt.Errorf("open response: %w", ErrAuth)
	}
	plain, itor, rtoi, err := i.hs.ReadMessage(nil, b[headerSize:])
	if err != nil {
		return nil, nil, fmt.Errorf("open response: %w", ErrAuth)
	}
	i.done = true
	s := &Session{
		local:     i.index,
		remote:    binary.LittleEndian.Uint32(plain),
		peer:      i.peer,
		initiator: true,
		confirmed: true,
		prk:       exporter(i.hs, itor, rtoi),
		send:      itor.Cipher(),
		receive:   rtoi.Cipher(),
	}
	return s, plain[4:], nil
}
