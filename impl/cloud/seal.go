package cloud

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"

	"github.com/punchlab/punchlab/impl/identity"
)

// What the keys are derived for, and what each HMAC begins with.
const (
	deriveInfo      = "punchlab recording v1"
	segmentContext  = "punchlab segment v1\n"
	playlistContext = "punchlab playlist v1\n"
)

// partKeys are one part's keys.
type partKeys struct {
	aes [16]byte
	mac [32]byte
}

// derive returns a part's keys: HKDF-SHA-256 (RFC 5869) of the master key, bound to camera and part.
func derive(k Key, uid identity.UID, part string) (p partKeys) {
	b, err := hkdf.Key(sha256.New, k[:], nil, deriveInfo+"\n"+uid.Compact()+"\n"+part, len(p.aes)+len(p.mac))
	if err != nil {
		panic("cloud: derive keys: " + err.Error()) // only for lengths that HKDF cannot give
	}
	copy(p.aes[:], b)
	copy(p.mac[:], b[len(p.aes):])
	return p
}

// playlistMAC covers a playlist's bytes before its last comment.
func (p *partKeys) playlistMAC(b []byte) []byte {
	m := hmac.New(sha256.New, p.mac[:])
	m.Write([]byte(playlistContext))
	m.Write(b)
	return m.Sum(nil)
}

// iv is a segment's, from its sequence number (RFC 8216 §5.2).
func iv(seq uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 8, aes.BlockSize), seq) }

// sealer encrypts a segment as it grows.
type sealer struct {
	cbc  cipher.BlockMode
	mac  hash.Hash
	rest []byte // plaintext that fills no block yet
	out  []byte // ciphertext so far
}

func (p *partKeys) seal(seq uint64) *sealer {
	s := &sealer{cbc: cipher.NewCBCEncrypter(p.block(), iv(seq)), mac: hmac.New(sha256.New, p.mac[:])}
	s.mac.Write([]byte(segmentContext))
	return s
}

func (p *partKeys) block() cipher.Block {
	b, err := aes.NewCipher(p.aes[:])
	if err != nil {
		panic("cloud: " + err.Error()) // only for key lengths that AES does not have
	}
	return b
}

// write encrypts plain, and returns the ciphertext that came of it, valid until the next call.
func (s *sealer) write(plain []byte) []byte {
	s.rest = append(s.rest, plain...)
	whole := len(s.rest) / aes.BlockSize * aes.BlockSize
	from := len(s.out)
	s.out = append(s.out, s.rest[:whole]...)
	s.rest = s.rest[:copy(s.rest, s.rest[whole:])]
	grown := s.out[from:]
	s.cbc.CryptBlocks(grown, grown)
	s.mac.Write(grown)
	return grown
}

// finish pads (PKCS #7), and returns the last ciphertext and the HMAC, which covers the name's facts too.
func (s *sealer) finish(facts string) (tail []byte, mac [32]byte) {
	n := aes.BlockSize - len(s.rest)%aes.BlockSize
	pad := make([]byte, n)
	for i := range pad {
		pad[i] = byte(n)
	}
	tail = s.write(pad)
	finishMAC(s.mac, facts, len(s.out))
	return tail, [32]byte(s.mac.Sum(nil))
}

func finishMAC(m hash.Hash, facts string, size int) {
	m.Write([]byte(facts))
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
}

// errForged says that bytes are not those the camera made.
var errForged = errors.New("the HMAC does not match: it was changed, or belongs elsewhere, or the key is another camera's")

// check says whether a segment's ciphertext is the one of that name.
func (p *partKeys) check(n segmentName, sealed []byte) error {
	m := hmac.New(sha256.New, p.mac[:])
	m.Write([]byte(segmentContext))
	m.Write(sealed)
	finishMAC(m, n.facts(), len(sealed))
	if !hmac.Equal(m.Sum(nil), n.MAC[:]) {
		return errForged
	}
	return nil
}

// open checks and decrypts a segment.
func (p *partKeys) open(n segmentName, sealed []byte) ([]byte, error) {
	if err := p.check(n, sealed); err != nil {
		return nil, err
	}
	plain := p.decrypt(n.Seq, sealed)
	if len(plain) == 0 {
		return nil, errForged
	}
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize || pad > len(plain) {
		return nil, errForged // what has our HMAC has our padding
	}
	return plain[:len(plain)-pad], nil
}

// decrypt returns the plaintext of whole blocks, padding and all.
func (p *partKeys) decrypt(seq uint64, sealed []byte) []byte {
	plain := make([]byte, len(sealed)/aes.BlockSize*aes.BlockSize)
	cipher.NewCBCDecrypter(p.block(), iv(seq)).CryptBlocks(plain, sealed[:len(plain)])
	return plain
}
