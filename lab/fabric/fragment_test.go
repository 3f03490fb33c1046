package fabric

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
	"pgregory.net/rapid"
)

// withOptions puts options, of a multiple of four bytes, into an IPv4 header.
func withOptions(b, options []byte) []byte {
	b = append(append(bytes.Clone(b[:packet.IPv4HeaderLen]), options...), b[packet.IPv4HeaderLen:]...)
	setFragment(b, packet.IPv4HeaderLen+len(options), 0, false)
	return b
}

// TestFragmentsMakeTheWhole: fragments fit, and put together they are the packet, also when a later link cuts them again.
func TestFragmentsMakeTheWhole(t *testing.T) {
	record := []byte{7, 7, 4, 0, 0, 0, 0, 1}    // record route: not copied
	source := []byte{1, 131, 7, 4, 10, 0, 0, 9} // no operation; loose source route: copied
	rapid.Check(t, func(t *rapid.T) {
		f := New(Config{})
		first, second := rapid.IntRange(link.MinMTU, 1500).Draw(t, "up"), rapid.IntRange(link.MinMTU, 600).Draw(t, "down")
		u, got, n := offloadNet(t, f, link.Profile{Up: link.Impairment{MTU: first}, Down: link.Impairment{MTU: second}}, false)
		payload := make([]byte, rapid.SampledFrom([]int{0, 40, 700, 1900}).Draw(t, "size"))
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		b := packet.AppendUDP(nil, netip.AddrPortFrom(srcAddr, 1), netip.AddrPortFrom(dstAddr, 2), payload)
		options := rapid.SampledFrom([][]byte{nil, record, source, append(record, source...), {1, 1, 131, 9}}).Draw(t, "options")
		b = withOptions(b, options)
		b[1] = 0b101110_11 // DSCP and ECN: both stay (RFC 3168 §5.3)
		setFragment(b, len(options)+packet.IPv4HeaderLen, 0, false)
		sendBytes(f, u, 0, b)

		var whole []byte
		for i, k := range got.packets {
			h, err := packet.ParseIPv4(k)
			if err != nil || !h.ChecksumOK() || len(k) > min(first, second) || h.ID() != packet.IPv4(b).ID() || k[1] != b[1] {
				t.Fatalf("fragment %d, %v: %x", i, err, k)
			}
			if h.FragmentOffset() != len(whole) || h.MoreFragments() != (i < len(got.packets)-1) {
				t.Fatalf("fragment %d is at %d, more %v; want %d", i, h.FragmentOffset(), h.MoreFragments(), len(whole))
			}
			if o := k[packet.IPv4HeaderLen:h.HeaderLen()]; i == 0 && !bytes.Equal(o, options) || i > 0 && bytes.Contains(o, record[:3]) ||
				i > 0 && bytes.Contains(options, source[1:]) && !bytes.Contains(o, source[1:]) {
				t.Fatalf("fragment %d has options %x of %x", i, o, options)
			}
			whole = append(whole, h.Payload()...)
		}
		if !bytes.Equal(whole, b[packet.IPv4HeaderLen+len(options):]) {
			t.Fatalf("%d bytes came of %d; drops %+v", len(whole), len(b), n.Stats(nil).Uplinks)
		}
	})
}
