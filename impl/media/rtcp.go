package media

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

// srtcpMin is the shortest SRTCP packet: header, tag, index (RFC 7714 §9).
const srtcpMin = 8 + tagLen + 4

// isRTCP tells SRTCP from SRTP by the second byte (RFC 5761 §4).
func isRTCP(b []byte) bool { return len(b) > 1 && b[1] >= 192 && b[1] < 224 }

func sealRTCP(ctx *srtp.Context, p rtcp.Packet) ([]byte, error) {
	plain, err := p.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write rtcp: %w", err)
	}
	b, err := ctx.EncryptRTCP(make([]byte, 0, len(plain)+tagLen+4), plain, nil)
	if err != nil {
		return nil, fmt.Errorf("encrypt rtcp: %w", err)
	}
	return b, nil
}

// openRTCP authenticates and parses one SRTCP packet and counts what it refuses.
func openRTCP(ctx *srtp.Context, b []byte, rejected *Rejected) ([]rtcp.Packet, error) {
	if len(b) < srtcpMin || b[0]>>6 != 2 || !isRTCP(b) {
		rejected.Header++
		return nil, errShort
	}
	plain, err := ctx.DecryptRTCP(nil, b, nil)
	switch {
	case errors.Is(err, srtp.ErrFailedToVerifyAuthTag):
		rejected.Auth++
		return nil, err
	case err != nil:
		rejected.Replay++
		return nil, fmt.Errorf("%w: index %d", errReplay, binary.BigEndian.Uint32(b[len(b)-4:])&^(1<<31))
	}
	if tells := arrivalsTold(plain); tells > maxTold {
		rejected.Payload++
		return nil, fmt.Errorf("read rtcp: it tells of %d packets' arrivals, more than %d", tells, maxTold)
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		rejected.Payload++
		return nil, fmt.Errorf("read rtcp: %w", err)
	}
	return packets, nil
}

// maxTold is of how many packets' arrivals a datagram may tell: more than come in a tenth of a second. A few bytes can claim to tell of
// thousands, each of which is memory to the parser.
const maxTold = 4096

// arrivalsTold is of how many packets' arrivals a compound packet tells (transport-wide feedback: PT 205, FMT 15).
func arrivalsTold(b []byte) (n int) {
	for len(b) >= 4 {
		size := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
		if b[0]&0x1F == rtcp.FormatTCC && rtcp.PacketType(b[1]) == rtcp.TypeTransportSpecificFeedback && size >= 16 && len(b) >= 16 {
			n += int(binary.BigEndian.Uint16(b[14:]))
		}
		b = b[min(size, len(b)):]
	}
	return n
}
