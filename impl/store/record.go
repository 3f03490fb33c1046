package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

// A record in the file: bbolt writes a value right behind its key, so the two can be found without bbolt.
//
//	0              32        36          44        52        60           68       69      73
//	│ public key   │ "PLr1"  │ write     │ stamp   │ boot    │ last seen  │ role   │ CRC   │
//	  bbolt's key    bbolt's value: numbers are big-endian    unix seconds           32C over all before
//
// write is the number of the transaction: of several copies of a record in a damaged file the greatest is the latest.
const (
	keySize    = 32
	valueSize  = recordSize - keySize
	recordSize = 73
)

var (
	magic      = []byte("PLr1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type (
	key    = identity.PublicKey
	record = rendezvous.Record
)

// encode returns key and value.
func encode(k key, r record, write uint64) (b [recordSize]byte) {
	out := append(b[:0], k[:]...)
	out = append(out, magic...)
	out = binary.BigEndian.AppendUint64(out, write)
	out = binary.BigEndian.AppendUint64(out, r.Stamp)
	out = binary.BigEndian.AppendUint64(out, r.Boot)
	out = binary.BigEndian.AppendUint64(out, uint64(r.LastSeen))
	out = append(out, byte(r.Role))
	binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
	return b
}

// decode reads what encode wrote. It is false for anything else.
func decode(b []byte) (k key, r record, write uint64, ok bool) {
	if len(b) != recordSize || !bytes.Equal(b[keySize:keySize+len(magic)], magic) {
		return k, r, 0, false
	}
	body, sum := b[:recordSize-4], b[recordSize-4:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return k, r, 0, false
	}
	v := b[keySize+len(magic):]
	r = record{Stamp: binary.BigEndian.Uint64(v[8:]), Boot: binary.BigEndian.Uint64(v[16:]), LastSeen: int64(binary.BigEndian.Uint64(v[24:])),
		Role: rendezvous.Role(v[32])}
	return key(b[:keySize]), r, binary.BigEndian.Uint64(v), true
}

// decodePair is decode for what bbolt returns.
func decodePair(k, v []byte) (record, bool) {
	if len(k) != keySize || len(v) != valueSize {
		return record{}, false
	}
	var b [recordSize]byte
	copy(b[copy(b[:], k):], v)
	_, r, _, ok := decode(b[:])
	return r, ok
}
