package wire

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/blake2s"
)

// A punch opens the sender's filter towards the receiver and tells the receiver,
// if it arrives, where its sender appears from:
//
//	0 type=8 │ 1 version=1 │ 2 from │ 3 flags │ 4 counter(4) │ 8 connection id(8) │ 16 zeros … │ n−16 mac(16)
//
// Numbers are little-endian. from is 0 for the viewer and 1 for the camera, so that
// a punch sent back to its sender is not taken for the peer's. Flag 1 marks a punch that was sent to die on its way. mac =
// BLAKE2s-128(punch key, all before it). The receiver answers no counter twice and never with more bytes than the punch had;
// the zeros are there to allow an answer.
const (
	MinPunch     = 32
	MaxPunch     = 256
	DefaultPunch = 192 // the camera's response and path challenge fit in it

	punchHeader = 16
	punchMAC    = 16
)

// PunchVersion is the second byte of a punch.
const PunchVersion byte = 1

// PunchKey is drawn by the viewer for one connection and travels in Hello.
type PunchKey [16]byte

// String hides the key from logs.
func (k PunchKey) String() string { return "punch key" }

// GoString hides the key from logs.
func (k PunchKey) GoString() string { return "punch key" }

// Why a punch was refused.
var (
	ErrPunch    = errors.New("malformed punch")
	ErrPunchMAC = errors.New("punch made with another key")
)

// Punch is the content of a punch packet.
type Punch struct {
	ID      uint64 // the connection's, as in Connect
	Counter uint32 // grows with each punch of a sender
	// FromCamera says who made it. Drop one that this side could have made.
	FromCamera bool
	// LowTTL says that it was sent with a TTL that should have ended before the receiver: it opened the sender's filter,
	// and is no sign that the path works for packets sent otherwise.
	LowTTL bool
}

// punchLowTTL is the one flag in a punch's fourth byte.
const punchLowTTL byte = 1

func punchTag(key PunchKey, b []byte) []byte {
	h, err := blake2s.New128(key[:])
	if err != nil {
		panic(err) // the key's length is a constant
	}
	h.Write(b)
	return h.Sum(nil)
}

// AppendPunch appends a punch of size bytes, clamped to MinPunch–MaxPunch, to dst.
func AppendPunch(dst []byte, key PunchKey, p Punch, size int) []byte {
	size = min(max(size, MinPunch), MaxPunch)
	start := len(dst)
	from := byte(0)
	if p.FromCamera {
		from = 1
	}
	flags := byte(0)
	if p.LowTTL {
		flags = punchLowTTL
	}
	dst = append(dst, TypePunch, PunchVersion, from, flags)
	dst = binary.LittleEndian.AppendUint32(dst, p.Counter)
	dst = binary.LittleEndian.AppendUint64(dst, p.ID)
	dst = append(dst, make([]byte, size-punchHeader-punchMAC)...)
	return append(dst, punchTag(key, dst[start:])...)
}

// ParsePunch reads a punch without checking its mac, to find the connection's key.
func ParsePunch(b []byte) (Punch, error) {
	if len(b) < MinPunch || len(b) > MaxPunch {
		return Punch{}, fmt.Errorf("parse punch: %w: %d bytes", ErrPunch, len(b))
	}
	if b[0] != TypePunch || b[1] != PunchVersion || b[2] > 1 || b[3]&^punchLowTTL != 0 {
		return Punch{}, fmt.Errorf("parse punch: %w: header % x", ErrPunch, b[:4])
	}
	for _, c := range b[punchHeader : len(b)-punchMAC] {
		if c != 0 {
			return Punch{}, fmt.Errorf("parse punch: %w: padding is not zero", ErrPunch)
		}
	}
	return Punch{ID: binary.LittleEndian.Uint64(b[8:]), Counter: binary.LittleEndian.Uint32(b[4:]), FromCamera: b[2] == 1,
		LowTTL: b[3]&punchLowTTL != 0}, nil
}

// OpenPunch reads a punch and checks its mac.
func OpenPunch(key PunchKey, b []byte) (Punch, error) {
	p, err := ParsePunch(b)
	if err != nil {
		return Punch{}, err
	}
	end := len(b) - punchMAC
	if subtle.ConstantTimeCompare(punchTag(key, b[:end]), b[end:]) != 1 {
		return Punch{}, fmt.Errorf("open punch: %w", ErrPunchMAC)
	}
	return p, nil
}
