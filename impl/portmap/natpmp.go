package portmap

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// NAT-PMP (RFC 6886 §3), all in network order:
//
//	request   │0│op│                                      op 0: external address
//	          │0│op│reserved│inner│outer│ lifetime │      op 1, 2: map UDP, TCP; lifetime 0 and outer 0: delete
//	response  │0│128+op│result│ epoch │ address │
//	          │0│128+op│result│ epoch │inner│outer│ lifetime │
const (
	pmpVersion  = 0
	pmpAddress  = 0
	pmpMapUDP   = 1
	pmpMapTCP   = 2
	pmpResponse = 0x80

	pmpHeaderSize  = 8
	pmpAddressSize = 12
	pmpMapSize     = 16
)

// pmpResults are the errors of RFC 6886 §3.5.
var pmpResults = map[uint16]string{
	1: "unsupported version", 2: "not authorized", 3: "network failure", 4: "out of resources", 5: "unsupported opcode",
}

type natpmp struct{ cfg *Config }

func (*natpmp) method() Method { return NATPMP }

// request maps, and asks for the address to go with the port.
func (p *natpmp) request(ctx context.Context, port uint16) (g grant, err error) {
	if g, err = p.mapping(ctx, port, p.cfg.Lifetime); err != nil {
		return g, err
	}
	err = p.call(ctx, []byte{pmpVersion, pmpAddress}, pmpAddressSize, func(b []byte) bool {
		g.external = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:])), g.external.Port())
		return true
	})
	return g, err
}

func (p *natpmp) release(ctx context.Context, _ grant) error {
	_, err := p.mapping(ctx, 0, 0)
	return err
}

func (p *natpmp) mapping(ctx context.Context, port uint16, life time.Duration) (g grant, err error) {
	op := byte(pmpMapUDP)
	if p.cfg.Transport == TCP {
		op = pmpMapTCP
	}
	b := binary.BigEndian.AppendUint16([]byte{pmpVersion, op, 0, 0}, p.cfg.Internal.Port())
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint32(b, uint32(life/time.Second))
	err = p.call(ctx, b, pmpMapSize, func(b []byte) bool {
		if binary.BigEndian.Uint16(b[8:]) != p.cfg.Internal.Port() {
			return false // an answer to an earlier socket with our port
		}
		g = grant{
			external: netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b[10:])),
			lifetime: time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second,
			epoch:    binary.BigEndian.Uint32(b[4:]), hasEpoch: true, at: time.Now(),
		}
		return true
	})
	if err == nil && life > 0 && (g.external.Port() == 0 || g.lifetime == 0) {
		err = fmt.Errorf("%w: it grants port %d for %v", ErrRefused, g.external.Port(), g.lifetime)
	}
	return g, err
}

// call sends a request, and hands the response of that size to read if it is a success.
func (p *natpmp) call(ctx context.Context, request []byte, size int, read func(b []byte) (ours bool)) error {
	to := netip.AddrPortFrom(p.cfg.Gateway, controlPort)
	return p.cfg.ask(ctx, to, request, func(b []byte) (bool, error) {
		switch {
		case len(b) < pmpHeaderSize-4:
			return false, nil
		case b[0] != pmpVersion && b[1]&pmpResponse != 0: // PCP's
			return true, fmt.Errorf("%w: it speaks version %d only", ErrRefused, b[0])
		case b[0] != pmpVersion || b[1] != pmpResponse|request[1]:
			return false, nil
		}
		if result := binary.BigEndian.Uint16(b[2:]); result != 0 {
			return true, fmt.Errorf("%w: %s (result %d)", ErrRefused, pmpResults[result], result)
		}
		return len(b) == size && read(b), nil
	})
}
