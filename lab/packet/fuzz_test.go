package packet

import (
	"net/netip"
	"testing"
)

// FuzzParse: no input panics, and what is accepted and changed keeps its checksums as right or wrong as they were.
func FuzzParse(f *testing.F) {
	f.Add(AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), []byte("hello")))
	f.Add(AppendUDP(nil, netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, 2), []byte("hello")))
	f.Add(AppendError(nil, TimeExceeded, b4, 0, AppendUDP(nil, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), nil)))
	f.Add([]byte{0x4f, 0, 0, 60})
	f.Add([]byte{0x60, 0, 0, 0, 0, 8, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParseIPv4(b); err == nil {
			before := p.ChecksumOK()
			p.DecrementTTL()
			p.SetSrc(b4)
			p.SetDst(a4)
			if p.ChecksumOK() != before {
				t.Errorf("header checksum was right: %v, is: %v, in %x", before, !before, p)
			}
			if p.TotalLen() != len(p) || len(p.Payload())+p.HeaderLen() != len(p) {
				t.Errorf("lengths %d, %d, %d", p.TotalLen(), p.HeaderLen(), len(p.Payload()))
			}
			readTransport(p.Payload())
			_ = AppendError(nil, FragmentationNeeded, b4, 1280, p)
		}
		if p, err := ParseIPv6(b); err == nil {
			p.DecrementHopLimit()
			p.SetSrc(b6)
			p.SetDst(a6)
			_, segment, _ := p.Transport()
			readTransport(segment)
			if e := AppendError(nil, TimeExceeded, b6, 0, p); e != nil {
				if err := verify(e); err != nil {
					t.Error(err)
				}
			}
		}
		readTransport(b)
	})
}

func readTransport(b []byte) {
	if u, err := ParseUDP(b); err == nil {
		u.SetSrcPort(u.DstPort())
		u.SetDstPort(uint16(len(u.Payload())))
	}
	if s, err := ParseTCP(b); err == nil {
		s.SetSrcPort(s.DstPort() + uint16(s.Flags()))
		s.SetDstPort(uint16(len(s.Payload())) + uint16(s.Seq()+s.Ack()))
	}
	if m, err := ParseICMP(b); err == nil {
		m.SetID(uint16(m.Type()) + uint16(m.Code()) + uint16(len(m.Body())))
	}
}
