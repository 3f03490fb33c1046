package pcapng

import (
	"encoding/binary"
	"strconv"
	"time"
)

// The block types, option codes and constants of the format (draft-ietf-opsawg-pcapng §4).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockSimple    = 3
	blockPacket    = 6

	byteOrderMagic = 0x1a2b3c4d

	optEnd         = 0
	optComment     = 1
	optSectionApp  = 4
	optIfName      = 2
	optIfDescr     = 3
	optIfTsResol   = 9
	optIfTsOffset  = 14
	optPacketFlags = 2

	linkNull     = 0   // LINKTYPE_NULL
	linkEthernet = 1   // LINKTYPE_ETHERNET
	linkRaw      = 101 // LINKTYPE_RAW
	linkIPv4     = 228 // LINKTYPE_IPV4
	linkIPv6     = 229 // LINKTYPE_IPV6

	familyIPv4 = 2
	familyIPv6 = 24

	snapLength = 262144 // what an interface declares, whatever the packets are cut to
	resolution = 9      // timestamps are nanoseconds
)

// Interface describes where packets are captured.
type Interface struct {
	Name        string // unique in a file
	Description string // may be empty
}

// Direction is which way a packet goes, as the host or site at the interface sees it.
type Direction uint8

// The directions, with the numbers that the format gives them (epb_flags, bits 0 and 1).
const (
	Unknown  Direction = 0
	Inbound  Direction = 1
	Outbound Direction = 2
)

// String returns "in", "out" or "?".
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "in"
	case Outbound:
		return "out"
	}
	return "?"
}

// AppendHeader begins a file: a section of the application app with its first interfaces. origin is the time since 1970
// at which the capturing clock showed 0; AppendPacket's times are since 1970, too, so that what a reader subtracts
// gives that clock's own times exactly. In virtual time the origin is 0.
func AppendHeader(b []byte, app string, origin time.Duration, ifaces []Interface) []byte {
	at := len(b)
	b = appendU32(b, blockSection, 0, byteOrderMagic, 1) // version 1.0
	b = binary.LittleEndian.AppendUint64(b, 1<<64-1)     // the section's length is not known
	b = appendOption(b, optComment, "origin="+strconv.FormatInt(int64(origin), 10))
	b = appendOption(b, optSectionApp, app)
	b = endBlock(appendOption(b, optEnd, ""), at)
	for _, i := range ifaces {
		b = AppendInterface(b, i)
	}
	return b
}

// AppendInterface adds an interface. Its number is the count of those before it in the file.
func AppendInterface(b []byte, i Interface) []byte {
	at := len(b)
	b = appendU32(b, blockInterface, 0, linkNull, snapLength)
	b = appendOption(b, optIfName, i.Name)
	if i.Description != "" {
		b = appendOption(b, optIfDescr, i.Description)
	}
	b = appendOption(b, optIfTsResol, string([]byte{resolution}))
	return endBlock(appendOption(b, optEnd, ""), at)
}

// AppendPacket adds an IP packet. t is the time since 1970, not negative; data is what was kept of the packet, from its IP
// header on, and orig is how long it was; comment may be empty, and at most 65,535 bytes of it are written.
func AppendPacket[C string | []byte](b []byte, iface int, t time.Duration, dir Direction, data []byte, orig int, comment C) []byte {
	const header = 4 // LINKTYPE_NULL's
	at := len(b)
	b = appendU32(b, blockPacket, 0, uint32(iface), uint32(uint64(t)>>32), uint32(t), uint32(len(data)+header), uint32(orig+header), familyOf(data))
	b = pad(append(b, data...), len(data))
	if dir != Unknown {
		b = appendU16(b, optPacketFlags, 4)
		b = appendU32(b, uint32(dir))
	}
	if len(comment) > 0 {
		b = appendOption(b, optComment, comment[:min(len(comment), 1<<16-1)])
	}
	return endBlock(appendOption(b, optEnd, ""), at)
}

func familyOf(data []byte) uint32 {
	if len(data) > 0 && data[0]>>4 == 6 {
		return familyIPv6
	}
	return familyIPv4
}

func appendOption[C string | []byte](b []byte, code uint16, value C) []byte {
	b = appendU16(b, code, uint16(len(value)))
	return pad(append(b, value...), len(value))
}

func appendU16(b []byte, values ...uint16) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func appendU32(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// pad fills a field of n bytes up to 32 bits.
func pad(b []byte, n int) []byte {
	return append(b, "\x00\x00\x00"[:-n&3]...)
}

// endBlock writes the length of the block that begins at b[at] at both its ends.
func endBlock(b []byte, at int) []byte {
	n := uint32(len(b) - at + 4)
	binary.LittleEndian.PutUint32(b[at+4:], n)
	return appendU32(b, n)
}
