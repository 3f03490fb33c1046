package media

import (
	"encoding/binary"
	"errors"
)

var (
	errFragment = errors.New("fragments do not fit together")
	errSTAP     = errors.New("stap-a sizes do not fit its payload")
	errPacking  = errors.New("packetization is not of non-interleaved mode")
)

// assemble builds the access unit that the packets [from, to) carry, with 4-byte start codes.
func (r *Receiver) assemble(from, to uint64) (data []byte, key bool, err error) {
	size := 0
	for seq := from; seq < to; seq++ {
		size += len(r.buffer.at(seq).pkt.payload) + len(startCode)
	}
	d := depacketizer{data: make([]byte, 0, size)}
	for seq := from; seq < to; seq++ {
		if err := d.push(r.buffer.at(seq).pkt.payload); err != nil {
			return nil, false, err
		}
	}
	switch {
	case d.open:
		return nil, false, errFragment
	case len(d.data) == 0:
		return nil, false, errNoPicture
	}
	return d.data, d.key, nil
}

// depacketizer undoes RFC 6184's non-interleaved mode (§6.2). Unlike pion/rtp's it insists that a
// fragmented NAL unit starts with its start bit, ends with its end bit and is one NAL unit throughout.
type depacketizer struct {
	data []byte
	key  bool
	open bool // within a fragmented NAL unit
	nal  byte // its header
}

func (d *depacketizer) push(payload []byte) error {
	if len(payload) == 0 { // a packet of padding alone
		return nil
	}
	switch typ := payload[0] & nalTypeMask; {
	case payload[0]&nalForbid != 0:
		return errForbiddenBit
	case typ == nalFUA:
		return d.fragment(payload)
	case d.open:
		return errFragment
	case typ == nalSTAPA:
		return d.aggregate(payload[1:])
	case typ == 0 || typ > nalLast:
		return errPacking
	}
	d.add(payload)
	return nil
}

func (d *depacketizer) add(nal []byte) {
	d.data = append(append(d.data, startCode...), nal...)
	d.key = d.key || nal[0]&nalTypeMask == nalIDR
}

// aggregate takes a STAP-A's NAL units (RFC 6184 §5.7.1).
func (d *depacketizer) aggregate(b []byte) error {
	if len(b) == 0 {
		return errSTAP
	}
	for len(b) > 0 {
		if len(b) < 2 {
			return errSTAP
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 || n > len(b)-2 {
			return errSTAP
		}
		nal := b[2 : 2+n]
		if err := checkNAL(nal); err != nil {
			return err
		}
		d.add(nal)
		b = b[2+n:]
	}
	return nil
}

// fragment takes an FU-A (RFC 6184 §5.8).
func (d *depacketizer) fragment(b []byte) error {
	if len(b) < 2 {
		return errFragment
	}
	start, end := b[1]&fuStart != 0, b[1]&fuEnd != 0
	nal := b[0]&nalRefMask | b[1]&nalTypeMask
	if start == d.open || start && end || d.open && nal != d.nal {
		return errFragment
	}
	if start {
		if err := checkNAL([]byte{nal}); err != nil {
			return err
		}
		d.add([]byte{nal})
	}
	d.data = append(d.data, b[2:]...)
	d.open, d.nal = !end, nal
	return nil
}

// beginsPicture says that a payload can only be the first of an access unit: it leads with a delimiter
// or a sequence parameter set, as key frames do.
func beginsPicture(payload []byte) bool {
	if len(payload) == 0 {
		return false
	}
	typ := payload[0] & nalTypeMask
	if typ == nalSTAPA && len(payload) > 3 {
		typ = payload[3] & nalTypeMask
	}
	return typ == nalSPS || typ == nalAUD
}
