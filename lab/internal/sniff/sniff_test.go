package sniff

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/packet"
	"golang.org/x/sys/unix"
)

var (
	a4, b4 = netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("198.51.100.2:8")
	a6, b6 = netip.MustParseAddrPort("[2001:db8::1]:7"), netip.MustParseAddrPort("[2001:db8::2]:8")
)

// header is struct virtio_net_hdr.
func header(flags, gso byte, size, start, offset uint16) []byte {
	b := []byte{flags, gso, 0, 0}
	for _, v := range []uint16{size, start, offset} {
		b = binary.NativeEndian.AppendUint16(b, v)
	}
	return b
}

// unfinished spoils a datagram's checksum: it holds the sum of the pseudo-header alone.
func unfinished(b []byte, src, dst netip.AddrPort, ip int) []byte {
	s := b[ip:]
	binary.BigEndian.PutUint16(s[6:], 0)
	full := packet.PseudoChecksum(src.Addr(), dst.Addr(), packet.ProtocolUDP, s)
	rest := packet.Checksum(s)
	pseudo := uint32(^full) + uint32(rest) // ones' complement: the whole's sum less the segment's
	binary.BigEndian.PutUint16(s[6:], uint16(pseudo+pseudo>>16))
	return b
}

func TestWire(t *testing.T) {
	const csum, udp = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, unix.VIRTIO_NET_HDR_GSO_UDP_L4
	for _, tt := range []struct {
		name          string
		src, dst      netip.AddrPort
		payload, link int
		flags, gso    byte
		size          uint16
		want          []int // payloads
	}{
		{"as it is", a4, b4, 100, 0, 0, 0, 0, []int{100}},
		{"a checksum to finish, without a link header", a4, b4, 100, 0, csum, 0, 0, []int{100}},
		{"a checksum to finish, with one", a4, b4, 101, etherLen, csum, 0, 0, []int{101}},
		{"IPv6", a6, b6, 100, etherLen, csum, 0, 0, []int{100}},
		{"datagrams", a4, b4, 250, etherLen, csum, udp, 100, []int{100, 100, 50}},
		{"datagrams without a link header", a4, b4, 300, 0, csum, udp, 100, []int{100, 100, 100}},
		{"datagrams of IPv6", a6, b6, 250, etherLen, csum, udp, 100, []int{100, 100, 50}},
		{"a size of 0", a4, b4, 250, 0, csum, udp, 0, []int{250}},
	} {
		ip := packet.IPv4HeaderLen
		if tt.src.Addr().Is6() {
			ip = packet.IPv6HeaderLen
		}
		b := packet.AppendUDP(make([]byte, tt.link), tt.src, tt.dst, make([]byte, tt.payload))
		if tt.flags&csum != 0 {
			unfinished(b[tt.link:], tt.src, tt.dst, ip)
		}
		p := Passed{link: tt.link, frame: b, offload: offloadOf(header(tt.flags, tt.gso, tt.size, uint16(tt.link+ip), 6))}
		var got []int
		p.Wire(func(b []byte) {
			got = append(got, len(b)-ip-packet.UDPHeaderLen)
			if packet.PseudoChecksum(tt.src.Addr(), tt.dst.Addr(), packet.ProtocolUDP, b[ip:]) != 0 {
				t.Errorf("%s: packet %d has a wrong checksum", tt.name, len(got))
			}
		})
		if len(got) != len(tt.want) {
			t.Errorf("%s: payloads %v, want %v", tt.name, got, tt.want)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: payloads %v, want %v", tt.name, got, tt.want)
			}
		}
	}
}

// What is no IP, or damaged, is told as it is or not at all, and does no harm.
func TestWireOfNoPacket(t *testing.T) {
	for _, frame := range [][]byte{nil, make([]byte, 14), make([]byte, 15), {0x45, 0}} {
		for _, start := range []uint16{0, 3, 14, 20, 65535} {
			p := Passed{link: etherLen, frame: frame, offload: offloadOf(header(1, 5, 100, start, 6))}
			p.Wire(func(b []byte) {
				if len(b) != len(frame)-etherLen {
					t.Errorf("%d bytes told of a frame of %d", len(b), len(frame))
				}
			})
		}
	}
}
