package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Relay channels (RFC 8656 §12). A frame is
//
//	0 channel(2, big-endian) │ 2 length(2, big-endian) │ 4 datagram …
//
// with nothing after it.
const (
	ChannelOverhead  = 4
	MinChannel       = 0x4000
	MaxChannel       = 0x4FFF
	MaxChannelData   = 1280 // the datagram inside
	maxChannelPacket = ChannelOverhead + MaxChannelData
)

// ErrChannel says that a relay frame is malformed.
var ErrChannel = errors.New("malformed channel data")

// AppendChannelData appends the relay frame of a datagram to dst. The channel must
// be valid and the datagram at most MaxChannelData bytes.
func AppendChannelData(dst []byte, channel uint16, datagram []byte) ([]byte, error) {
	if channel < MinChannel || channel > MaxChannel || len(datagram) > MaxChannelData {
		return dst, fmt.Errorf("frame channel data: channel %#x, %d bytes: want %#x–%#x and at most %d bytes", channel, len(datagram), MinChannel, MaxChannel, MaxChannelData)
	}
	dst = binary.BigEndian.AppendUint16(dst, channel)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(datagram)))
	return append(dst, datagram...), nil
}

// ParseChannelData splits a relay frame; the datagram is part of b.
func ParseChannelData(b []byte) (channel uint16, datagram []byte, err error) {
	if len(b) < ChannelOverhead || len(b) > maxChannelPacket {
		return 0, nil, fmt.Errorf("parse channel data: %w: %d bytes", ErrChannel, len(b))
	}
	channel = binary.BigEndian.Uint16(b)
	if channel < MinChannel || channel > MaxChannel {
		return 0, nil, fmt.Errorf("parse channel data: %w: channel %#x", ErrChannel, channel)
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); n != len(b)-ChannelOverhead {
		return 0, nil, fmt.Errorf("parse channel data: %w: length field %d, %d bytes follow", ErrChannel, n, len(b)-ChannelOverhead)
	}
	return channel, b[ChannelOverhead:], nil
}
