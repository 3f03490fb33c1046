package media

import (
	"encoding/binary"
	"fmt"

	"github.com/pion/srtp/v3"
)

// Exporter labels, part of the protocol.
const (
	exportCamera = "punchlab srtp camera"
	exportViewer = "punchlab srtp viewer"
	exportStream = "punchlab rtp stream"
)

const (
	profile  = srtp.ProtectionProfileAeadAes128Gcm // RFC 7714 §14.2
	keyLen   = 16
	saltLen  = 12
	tagLen   = 16
	window   = 2048 // packets: replay window and jitter buffer, 9 s of the clip
	minFirst = 1 << 15
)

type masterKey struct {
	key  [keyLen]byte
	salt [saltLen]byte
}

// Keys is what a camera and a viewer derive alike from their session: an SRTP master key for each
// direction and the numbers the stream starts with.
type Keys struct {
	camera, viewer masterKey

	ssrc       uint32 // of the camera's stream
	viewerSSRC uint32 // in the viewer's RTCP
	firstSeq   uint16 // below 2^15, so that the first wrap cannot be mistaken (RFC 3711 §3.3.1)
	firstTS    uint32 // RTP timestamp of PTS 0
}

// NewKeys derives the keys from a session's exporter, which must return exactly n bytes. Every
// session needs its own exporter secret: two streams under one key break AES-GCM.
func NewKeys(export func(label string, n int) []byte) Keys {
	var k Keys
	take := func(label string, n int) []byte {
		b := export(label, n)
		if len(b) != n {
			panic(fmt.Sprintf("media: exporter returned %d bytes for %d", len(b), n))
		}
		return b
	}
	fill := func(m *masterKey, label string) {
		b := take(label, keyLen+saltLen)
		copy(m.key[:], b)
		copy(m.salt[:], b[keyLen:])
	}
	fill(&k.camera, exportCamera)
	fill(&k.viewer, exportViewer)
	b := take(exportStream, 14)
	k.ssrc = binary.BigEndian.Uint32(b)
	k.viewerSSRC = binary.BigEndian.Uint32(b[4:])
	k.firstTS = binary.BigEndian.Uint32(b[8:])
	k.firstSeq = binary.BigEndian.Uint16(b[12:]) % minFirst
	if k.viewerSSRC == k.ssrc { // RFC 3550 §8.1: SSRCs of one session differ
		k.viewerSSRC ^= 1
	}
	return k
}

// SSRC returns the stream's synchronization source.
func (k Keys) SSRC() uint32 { return k.ssrc }

// String hides the keys from logs.
func (k Keys) String() string { return fmt.Sprintf("media.Keys(ssrc %08x)", k.ssrc) }

// GoString hides the keys from %#v too.
func (k Keys) GoString() string { return k.String() }

// context makes one direction's SRTP state. Contexts are one-way in pion.
func (m *masterKey) context() (*srtp.Context, error) {
	ctx, err := srtp.CreateContext(m.key[:], m.salt[:], profile,
		srtp.SRTPReplayProtection(window), srtp.SRTCPReplayProtection(64))
	if err != nil {
		return nil, fmt.Errorf("derive srtp keys: %w", err)
	}
	return ctx, nil
}
