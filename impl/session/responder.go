package session

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/flynn/noise"

	"github.com/punchlab/punchlab/impl/identity"
)

// Responder opens initiations. It keeps nothing of them but its cookie secret.
type Responder struct {
	config  Config
	key     [32]byte // of mac1
	cookies cookieJar
}

// NewResponder returns a responder for its static key and prologue.
func NewResponder(c Config) (*Responder, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Responder{config: c, key: mac1Key(c.Static.Public())}, nil
}

// Request is an initiation that was opened: its sender holds Peer's key, unless
// it replays an old one.
type Request struct {
	config    Config
	hs        *noise.HandshakeState
	peer      identity.PublicKey
	remote    uint32
	size      int
	timestamp uint64
	payload   []byte
	id        [16]byte
}

// Open takes an initiation that arrived from an address. While underLoad, one
// without a valid cookie costs no key agreement: Open returns a cookie reply to
// send to from, and neither request nor error.
func (r *Responder) Open(now time.Time, from netip.AddrPort, underLoad bool, b []byte) (*Request, []byte, error) {
	if err := checkHeader(b, TypeInitiation, MinInitiation, MaxInitiation); err != nil {
		return nil, nil, fmt.Errorf("open initiation: %w", err)
	}
	end := len(b) - 2*macSize
	if want := keyed(r.key[:], b[:end]); !equal(want[:], b[end:end+macSize]) {
		return nil, nil, fmt.Errorf("open initiation: %w", ErrMAC1)
	}
	if underLoad {
		if err := r.cookies.rotate(now, r.config.Rand); err != nil {
			return nil, nil, err
		}
		if !r.cookies.valid(from, b) {
			reply, err := r.cookies.reply(r.config, from, b)
			return nil, reply, err
		}
	}
	return r.open(b[:end], [16]byte(b[end:]))
}

func (r *Responder) open(b []byte, id [16]byte) (*Request, []byte, error) {
	hs, err := r.config.handshake(false, b[:headerSize], nil)
	if err != nil {
		return nil, nil, err
	}
	plain, _, _, err := hs.ReadMessage(nil, b[headerSize:])
	if err != nil {
		return nil, nil, fmt.Errorf("open initiation: %w", ErrAuth)
	}
	n := int(binary.LittleEndian.Uint16(plain[8:]))
	if n > len(plain)-stampSize || !zero(plain[stampSize+n:]) {
		return nil, nil, fmt.Errorf("open initiation: %w", ErrPayload)
	}
	return &Request{
		config:    r.config,
		hs:        hs,
		peer:      identity.PublicKey(hs.PeerStatic()),
		remote:    binary.LittleEndian.Uint32(b[4:]),
		size:      len(b) + 2*macSize,
		timestamp: binary.LittleEndian.Uint64(plain),
		payload:   plain[stampSize : stampSize+n],
		id:        id,
	}, nil, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Peer is the initiator's key.
func (q *Request) Peer() identity.PublicKey { return q.peer }

// Payload is the initiator's.
func (q *Request) Payload() []byte { return q.payload }

// Timestamp grows with each initiation of a peer: refuse one that is not greater
// than the peer's last.
func (q *Request) Timestamp() uint64 { return q.timestamp }

// ID is the InitiationID.
func (q *Request) ID() [16]byte { return q.id }

// MaxResponse is how many bytes of payload Accept takes: the response is never
// longer than the initiation.
func (q *Request) MaxResponse() int { return q.size - ResponseOverhead }

// Accept answers, once. The session is unconfirmed until its first datagram has
// been opened.
func (q *Request) Accept(payload []byte) (*Session, []byte, error) {
	index, message, itor, rtoi, err := q.answer(payload)
	if err != nil {
		return nil, nil, err
	}
	s := &Session{
		local:   index,
		remote:  q.remote,
		peer:    q.peer,
		prk:     exporter(q.hs, itor, rtoi),
		send:    rtoi.Cipher(),
		receive: itor.Cipher(),
	}
	return s, message, nil
}

// AcceptCompact is Accept for who keeps many sessions.
func (q *Request) AcceptCompact(payload []byte) (Compact, []byte, error) {
	index, message, itor, rtoi, err := q.answer(payload)
	if err != nil {
		return Compact{}, nil, err
	}
	return NewCompact(rtoi.UnsafeKey(), itor.UnsafeKey(), index, q.remote), message, nil
}

// answer writes the response.
func (q *Request) answer(payload []byte) (index uint32, message []byte, itor, rtoi *noise.CipherState, err error) {
	if len(payload) > q.MaxResponse() {
		return 0, nil, nil, nil, fmt.Errorf("write response: payload of %d bytes, at most %d answer this initiation", len(payload), q.MaxResponse())
	}
	if index, err = q.config.newIndex(); err != nil {
		return 0, nil, nil, nil, err
	}
	plain := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(payload)), index)
	header := appendHeader(make([]byte, 0, ResponseOverhead+len(payload)), TypeResponse, q.remote)
	if message, itor, rtoi, err = q.hs.WriteMessage(header, append(plain, payload...)); err != nil {
		return 0, nil, nil, nil, fmt.Errorf("write response: %w", err)
	}
	return index, message, itor, rtoi, nil
}
