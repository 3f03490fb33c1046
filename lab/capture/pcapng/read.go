package pcapng

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// maxBlock bounds what a damaged length field can make a Reader allocate.
const maxBlock = 16 << 20

// Packet is a captured IP packet.
type Packet struct {
	Interface int           // index into Reader.Interfaces
	Time      time.Duration // since 1970
	Dir       Direction
	Data      []byte // from the IP header on; valid until the next call of Next
	Orig      int    // length of the whole packet, which may be more than was kept
	Comments  []string
	Offset    int64 // of its block in the file
}

// Reader reads captures: those of this package and those of tcpdump, dumpcap and others whose link type is NULL, RAW, IPV4,
// IPV6 or ETHERNET, in either byte order. Of Ethernet frames only those with IP are packets. Blocks of other types
// are skipped. It is not safe for concurrent use.
type Reader struct {
	r      *bufio.Reader
	offset int64 // of the next block
	order  binary.ByteOrder
	base   int // the section's first interface
	ifaces []ifaceState
	names  []Interface
	app    string
	origin time.Duration
	buf    []byte
}

type ifaceState struct {
	link   uint16
	snap   uint32
	unit   resolutionUnit
	offset int64 // seconds
}

// resolutionUnit is how long a timestamp's unit is.
type resolutionUnit struct {
	binary bool
	exp    uint8
}

// NewReader reads the beginning of a file. Every error names the offset at which the file is wrong.
func NewReader(r io.Reader) (*Reader, error) {
	p := &Reader{r: bufio.NewReaderSize(r, 1<<16)}
	b, err := p.r.Peek(4)
	switch {
	case err != nil:
		return nil, p.wrong("the file ends after %d bytes: no pcapng section", len(b))
	case binary.LittleEndian.Uint32(b) == blockSection:
	case isClassic(binary.LittleEndian.Uint32(b)):
		return nil, p.wrong("this is a pcap file: convert it with editcap or tshark -w")
	default:
		return nil, p.wrong("block type %#08x begins no pcapng file", binary.LittleEndian.Uint32(b))
	}
	if _, err := p.block(); err != nil {
		return nil, err
	}
	return p, nil
}

func isClassic(magic uint32) bool {
	for _, m := range []uint32{0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34} {
		if magic == m || magic == bits.ReverseBytes32(m) {
			return true
		}
	}
	return false
}

// Interfaces are those described so far.
func (p *Reader) Interfaces() []Interface { return p.names }

// App is the application that wrote the last section.
func (p *Reader) App() string { return p.app }

// Origin is what AppendHeader was told about the last section, or 0.
func (p *Reader) Origin() time.Duration { return p.origin }

// Next returns the next packet, or io.EOF after the last one. The file may be cut off only between blocks.
func (p *Reader) Next() (Packet, error) {
	for {
		k, err := p.block()
		if err != nil {
			return Packet{}, err
		}
		if k != nil {
			return *k, nil
		}
	}
}

func (p *Reader) wrong(format string, args ...any) error {
	return fmt.Errorf("read pcapng at offset %d: %w", p.offset, fmt.Errorf(format, args...))
}

// block reads one block. The packet is nil if it has none.
func (p *Reader) block() (*Packet, error) {
	head, err := p.r.Peek(12)
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, p.unfinished(err)
	}
	typ := binary.LittleEndian.Uint32(head)
	if typ == blockSection { // the same in both byte orders
		if err := p.setOrder(head[8:]); err != nil {
			return nil, err
		}
	}
	typ = p.order.Uint32(head)
	n := p.order.Uint32(head[4:])
	if n < 12 || n%4 != 0 || n > maxBlock {
		return nil, p.wrong("a block of %d bytes is impossible", n)
	}
	if cap(p.buf) < int(n) {
		p.buf = make([]byte, n)
	}
	b := p.buf[:n]
	if _, err := io.ReadFull(p.r, b); err != nil {
		return nil, p.unfinished(err)
	}
	if again := p.order.Uint32(b[n-4:]); again != n {
		return nil, p.wrong("the block's lengths differ: %d and %d", n, again)
	}
	k, err := p.dispatch(typ, b[8:n-4])
	if err != nil {
		return nil, p.wrong("%w", err)
	}
	p.offset += int64(n)
	return k, nil
}

func (p *Reader) unfinished(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return p.wrong("the file ends within a block")
	}
	return p.wrong("%w", err)
}

func (p *Reader) setOrder(b []byte) error {
	switch {
	case binary.LittleEndian.Uint32(b) == byteOrderMagic:
		p.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b) == byteOrderMagic:
		p.order = binary.BigEndian
	default:
		return p.wrong("byte-order magic is %#08x", binary.LittleEndian.Uint32(b))
	}
	return nil
}

func (p *Reader) dispatch(typ uint32, body []byte) (*Packet, error) {
	switch typ {
	case blockSection:
		return nil, p.section(body)
	case blockInterface:
		return nil, p.describe(body)
	case blockPacket:
		return p.packet(body)
	case blockSimple:
		return nil, errors.New("a simple packet block has no time: capture with enhanced packet blocks")
	}
	return nil, nil
}

func (p *Reader) section(b []byte) error {
	if len(b) < 16 {
		return errors.New("section header is too short")
	}
	if major := p.order.Uint16(b[4:]); major != 1 {
		return fmt.Errorf("version %d.%d is not 1", major, p.order.Uint16(b[6:]))
	}
	p.base, p.app, p.origin = len(p.ifaces), "", 0
	return p.options(b[16:], func(code uint16, v []byte) error {
		switch code {
		case optSectionApp:
			p.app = string(v)
		case optComment:
			if s, ok := strings.CutPrefix(string(v), "origin="); ok {
				n, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return fmt.Errorf("section's comment %q: origin is no number of nanoseconds", v)
				}
				p.origin = time.Duration(n)
			}
		}
		return nil
	})
}

func (p *Reader) describe(b []byte) error {
	if len(b) < 8 {
		return errors.New("interface description is too short")
	}
	s := ifaceState{link: p.order.Uint16(b), snap: p.order.Uint32(b[4:]), unit: resolutionUnit{exp: 6}}
	switch s.link {
	case linkNull, linkEthernet, linkRaw, linkIPv4, linkIPv6:
	default:
		return fmt.Errorf("link type %d is not NULL, ETHERNET, RAW, IPV4 or IPV6", s.link)
	}
	var i Interface
	err := p.options(b[8:], func(code uint16, v []byte) error {
		switch {
		case code == optIfName:
			i.Name = string(v)
		case code == optIfDescr:
			i.Description = string(v)
		case code == optIfTsResol && len(v) == 1:
			s.unit = resolutionUnit{binary: v[0]&0x80 != 0, exp: v[0] & 0x7f}
		case code == optIfTsOffset && len(v) == 8:
			s.offset = int64(p.order.Uint64(v))
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.ifaces, p.names = append(p.ifaces, s), append(p.names, i)
	return nil
}

func (p *Reader) packet(b []byte) (*Packet, error) {
	if len(b) < 20 {
		return nil, errors.New("packet block is too short")
	}
	n, kept, orig := int64(p.order.Uint32(b)), int64(p.order.Uint32(b[12:])), int64(p.order.Uint32(b[16:]))
	if n >= int64(len(p.ifaces)-p.base) {
		return nil, fmt.Errorf("packet of interface %d, but only %d are described", n, len(p.ifaces)-p.base)
	}
	if padded := (kept + 3) &^ 3; padded > int64(len(b)-20) || kept > orig {
		return nil, fmt.Errorf("packet of %d bytes, %d of them kept, in a block with room for %d", orig, kept, len(b)-20)
	}
	iface := &p.ifaces[p.base+int(n)]
	t, err := iface.time(uint64(p.order.Uint32(b[4:]))<<32 | uint64(p.order.Uint32(b[8:])))
	if err != nil {
		return nil, err
	}
	k := &Packet{Interface: p.base + int(n), Time: t, Orig: int(orig), Offset: p.offset}
	err = p.options(b[20+(kept+3)&^3:], func(code uint16, v []byte) error {
		switch {
		case code == optComment:
			k.Comments = append(k.Comments, string(v))
		case code == optPacketFlags && len(v) == 4:
			k.Dir = Direction(p.order.Uint32(v) & 3)
		}
		return nil
	})
	if err != nil || !k.strip(iface.link, b[20:20+kept]) {
		return nil, err
	}
	return k, nil
}

// strip takes off the link's header. It reports whether an IP packet is below it.
func (k *Packet) strip(link uint16, b []byte) bool {
	header := 0
	switch link {
	case linkNull:
		header = 4
	case linkEthernet:
		header = 14
	}
	if len(b) < header {
		return false
	}
	if link == linkEthernet {
		switch binary.BigEndian.Uint16(b[12:]) {
		case 0x0800, 0x86dd:
		default:
			return false
		}
	}
	k.Data, k.Orig = b[header:], k.Orig-header
	return true
}

// options calls f for each option of b.
func (p *Reader) options(b []byte, f func(code uint16, value []byte) error) error {
	for len(b) >= 4 {
		code, n := p.order.Uint16(b), int(p.order.Uint16(b[2:]))
		if code == optEnd {
			return nil
		}
		padded := (n + 3) &^ 3
		if 4+padded > len(b) {
			return fmt.Errorf("option %d of %d bytes in a rest of %d", code, n, len(b)-4)
		}
		if err := f(code, b[4:4+n]); err != nil {
			return err
		}
		b = b[4+padded:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes after the last option", len(b))
	}
	return nil
}

var errTime = errors.New("time is beyond what nanoseconds since 1970 hold")

// time converts a timestamp to nanoseconds since 1970.
func (i *ifaceState) time(ts uint64) (time.Duration, error) {
	ns, ok := i.unit.nanoseconds(ts)
	const second = uint64(time.Second)
	if !ok || ns > math.MaxInt64 || i.offset < 0 || uint64(i.offset) > (math.MaxInt64-ns)/second {
		return 0, errTime
	}
	return time.Duration(ns + uint64(i.offset)*second), nil
}

func (u resolutionUnit) nanoseconds(ts uint64) (ns uint64, ok bool) {
	if u.binary {
		if u.exp >= 64 {
			return 0, false
		}
		hi, lo := bits.Mul64(ts, uint64(time.Second)) // ÷ 2^exp
		if hi>>u.exp != 0 {
			return 0, false
		}
		return hi<<(64-u.exp) | lo>>u.exp, true
	}
	for e := u.exp; e > 9; e-- {
		ts /= 10
	}
	for e := u.exp; e < 9; e++ {
		if ts > math.MaxUint64/10 {
			return 0, false
		}
		ts *= 10
	}
	return ts, true
}
