package tape

import (
	"net/netip"
	"time"
)

// Packet is an IP packet that passed a host's device.
type Packet struct {
	At       time.Time
	Host     string // at which it was seen
	Out      bool   // from the host; else to it
	Protocol uint8  // of the transport, IPv6's extension headers skipped: packet.ProtocolUDP, …
	Src, Dst netip.AddrPort
	Size     int    // of the whole packet, bytes from the IP header on
	Flags    uint8  // of TCP: packet.SYN, …
	Seq      uint32 // of TCP
	Fragment bool   // a later fragment: its ports are those of the first one, if that was seen, else 0; Payload is its piece
	Payload  []byte // of UDP and TCP; of others all behind the IP header. Not to be changed
}

// Local is the packet's end at Host, and Remote the other one.
func (p *Packet) Local() netip.AddrPort {
	if p.Out {
		return p.Src
	}
	return p.Dst
}

// Remote is the packet's other end, as Host sees it.
func (p *Packet) Remote() netip.AddrPort {
	if p.Out {
		return p.Dst
	}
	return p.Src
}
