package portmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// PCP (RFC 6887 §7, §11.1), all in network order, addresses as IPv6 with IPv4 mapped into it:
//
//	request   │2│op│reserved│ lifetime │ client's address (16) │
//	response  │2│128+op│reserved│result│ lifetime │ epoch │ reserved (12) │
//	MAP       │ nonce (12) │protocol│reserved (3)│inner│outer│ external address (16) │
//
// Lifetime 0 deletes. The nonce is the mapping's owner's: it stays the same.
const (
	pcpVersion  = 2
	pcpAnnounce = 0
	pcpMap      = 1
	pcpResponse = 0x80

	pcpHeaderSize = 24
	pcpMapSize    = 36
	pcpNonceSize  = 12

	pcpMismatch = 12 // ADDRESS_MISMATCH
)

// pcpResults are the errors of RFC 6887 §7.4.
var pcpResults = [...]string{
	1: "unsupported version", 2: "not authorized", 3: "malformed request", 4: "unsupported opcode", 5: "unsupported option",
	6: "malformed option", 7: "network failure", 8: "no resources", 9: "unsupported protocol", 10: "user exceeds quota",
	11: "cannot provide that external port", pcpMismatch: "address mismatch", 13: "too many remote peers",
}

type pcp struct {
	cfg   *Config
	nonce [pcpNonceSize]byte
	err   error // of drawing the nonce
	last  netip.Addr
}

func newPCP(cfg *Config) *pcp {
	p := &pcp{cfg: cfg, last: netip.IPv4Unspecified()}
	if _, err := io.ReadFull(cfg.Rand, p.nonce[:]); err != nil {
		p.err = fmt.Errorf("draw nonce: %w", err)
	}
	return p
}

func (*pcp) method() Method { return PCP }

func (p *pcp) request(ctx context.Context, port uint16) (grant, error) {
	g, err := p.mapping(ctx, netip.AddrPortFrom(p.last, port), p.cfg.Lifetime)
	if err == nil {
		p.last = g.external.Addr()
	}
	return g, err
}

func (p *pcp) release(ctx context.Context, g grant) error {
	_, err := p.mapping(ctx, g.external, 0)
	return err
}

func (p *pcp) mapping(ctx context.Context, external netip.AddrPort, life time.Duration) (g grant, err error) {
	if p.err != nil {
		return g, p.err
	}
	to := netip.AddrPortFrom(p.cfg.Gateway, controlPort)
	err = p.cfg.ask(ctx, to, p.build(external, life), func(b []byte) (done bool, err error) {
		g, done, err = p.read(b, life)
		return done, err
	})
	return g, err
}

func (p *pcp) build(external netip.AddrPort, life time.Duration) []byte {
	b := binary.BigEndian.AppendUint32([]byte{pcpVersion, pcpMap, 0, 0}, uint32(life/time.Second))
	client, suggested := p.cfg.Internal.Addr().As16(), external.Addr().As16()
	b = append(b, client[:]...)
	b = append(b, p.nonce[:]...)
	b = append(b, byte(p.cfg.Transport), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, p.cfg.Internal.Port())
	b = binary.BigEndian.AppendUint16(b, external.Port())
	return append(b, suggested[:]...)
}

// read takes a response. A datagram that is none of ours is left out: another may come.
func (p *pcp) read(b []byte, life time.Duration) (g grant, done bool, err error) {
	switch {
	case len(b) < 4 || b[1]&pcpResponse == 0:
		return g, false, nil
	case b[0] != pcpVersion: // NAT-PMP's server (RFC 6887 Appendix A)
		return g, true, fmt.Errorf("%w: it speaks version %d only", ErrRefused, b[0])
	case b[1] != pcpResponse|pcpMap:
		return g, false, nil
	case b[3] != 0:
		return g, true, pcpError(b[3])
	case len(b) < pcpHeaderSize+pcpMapSize:
		return g, false, nil
	}
	m := b[pcpHeaderSize:]
	if !bytes.Equal(m[:pcpNonceSize], p.nonce[:]) || m[12] != byte(p.cfg.Transport) || binary.BigEndian.Uint16(m[16:]) != p.cfg.Internal.Port() {
		return g, false, nil
	}
	g = grant{
		external: netip.AddrPortFrom(netip.AddrFrom16([16]byte(m[20:36])).Unmap(), binary.BigEndian.Uint16(m[18:])),
		lifetime: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second,
		epoch:    binary.BigEndian.Uint32(b[8:]), hasEpoch: true, at: time.Now(),
	}
	if life > 0 && (g.external.Port() == 0 || g.lifetime == 0) {
		return g, true, fmt.Errorf("%w: it grants port %d for %v", ErrRefused, g.external.Port(), g.lifetime)
	}
	return g, true, nil
}

func pcpError(result byte) error {
	if result == pcpMismatch {
		return fmt.Errorf("%w: between this host and the gateway (PCP result %d)", ErrSecondNAT, result)
	}
	text := "unknown error"
	if int(result) < len(pcpResults) {
		text = pcpResults[result]
	}
	return fmt.Errorf("%w: %s (result %d)", ErrRefused, text, result)
}
