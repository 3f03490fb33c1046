package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Dependency says what a NAT's mapping or filtering depends on (RFC 4787 §4.1, §5).
type Dependency uint8

// The dependencies. 0 is unknown.
const (
	EndpointIndependent     Dependency = 1
	AddressDependent        Dependency = 2
	AddressAndPortDependent Dependency = 3
)

var dependencyNames = [...]string{"unknown", "endpoint-independent", "address-dependent", "address-and-port-dependent"}

// String returns RFC 4787's name.
func (d Dependency) String() string {
	if int(d) >= len(dependencyNames) {
		return fmt.Sprintf("dependency-%d", uint8(d))
	}
	return dependencyNames[d]
}

// PortModel says how a NAT gives external ports to new mappings.
type PortModel uint8

// The port models. 0 is unknown.
const (
	PortsPreserved  PortModel = 1 // the internal port, where it is free (RFC 4787 §4.2.1)
	PortsSequential PortModel = 2 // the last one plus Class.Step
	PortsRandom     PortModel = 3
	PortsBlock      PortModel = 4 // random within Class.BlockStart and BlockSize (RFC 7422)
)

var portModelNames = [...]string{"unknown", "preserved", "sequential", "random", "block"}

// String names the model.
func (p PortModel) String() string {
	if int(p) >= len(portModelNames) {
		return fmt.Sprintf("port-model-%d", uint8(p))
	}
	return portModelNames[p]
}

// Class is what a device has found out about the NATs before it. The zero Class says that nothing is known.
//
// On the wire it is a byte string of ClassSize bytes, numbers big-endian:
//
//	0 mapping(4 bits) filtering(4) │ 1 no-nat(1) hairpin(1) zero(2) ports(4)
//	2 step(2) │ 4 block start(2) │ 6 block size(2) │ 8 timeout(2)
type Class struct {
	Mapping, Filtering Dependency
	Ports              PortModel
	Step               int16  // external port minus the one before, not 0; with PortsSequential only
	BlockStart         uint16 // the first port of the block; with PortsBlock only
	BlockSize          uint16 // how many ports it has, at least 1; with PortsBlock only
	NoNAT              bool   // the device appears from its own address and port
	Hairpin            bool   // it reaches its own external endpoint from inside (RFC 4787 §6)
	Timeout            uint16 // seconds after which an idle UDP mapping was forgotten; 0: unknown
}

// ClassSize is a Class's length on the wire, in bytes.
const ClassSize = 10

// ErrClass says that a class is impossible.
var ErrClass = errors.New("not a possible NAT class")

// IsZero says whether nothing is known.
func (c Class) IsZero() bool { return c == Class{} }

// String says what is known, in a few words.
func (c Class) String() string {
	if c.IsZero() {
		return "unknown"
	}
	s := fmt.Sprintf("mapping %v, filtering %v, ports %v", c.Mapping, c.Filtering, c.Ports)
	switch c.Ports {
	case PortsSequential:
		s += fmt.Sprintf(" by %+d", c.Step)
	case PortsBlock:
		s += fmt.Sprintf(" of %d from %d", c.BlockSize, c.BlockStart)
	}
	if c.NoNAT {
		s += ", no NAT"
	}
	if c.Hairpin {
		s += ", hairpin"
	}
	if c.Timeout > 0 {
		s += fmt.Sprintf(", timeout %d s", c.Timeout)
	}
	return s
}

// valid says whether c can be written: each field is within its range and stands only where its model has it.
func (c Class) valid() error {
	switch {
	case c.Mapping > AddressAndPortDependent || c.Filtering > AddressAndPortDependent || c.Ports > PortsBlock:
		return fmt.Errorf("%w: mapping %d, filtering %d, ports %d", ErrClass, c.Mapping, c.Filtering, c.Ports)
	case (c.Step != 0) != (c.Ports == PortsSequential):
		return fmt.Errorf("%w: step %d with %v ports", ErrClass, c.Step, c.Ports)
	case (c.BlockSize != 0) != (c.Ports == PortsBlock), c.BlockStart != 0 && c.BlockSize == 0:
		return fmt.Errorf("%w: block of %d from %d with %v ports", ErrClass, c.BlockSize, c.BlockStart, c.Ports)
	case int(c.BlockStart)+int(c.BlockSize) > 1<<16:
		return fmt.Errorf("%w: block of %d from %d passes port 65535", ErrClass, c.BlockSize, c.BlockStart)
	}
	return nil
}

const (
	classNoNAT   = 0x80
	classHairpin = 0x40
)

// MarshalCBOR writes the byte string.
func (c Class) MarshalCBOR() ([]byte, error) {
	if err := c.valid(); err != nil {
		return nil, err
	}
	b := []byte{0x40 | ClassSize, byte(c.Mapping)<<4 | byte(c.Filtering), byte(c.Ports)}
	if c.NoNAT {
		b[2] |= classNoNAT
	}
	if c.Hairpin {
		b[2] |= classHairpin
	}
	for _, v := range []uint16{uint16(c.Step), c.BlockStart, c.BlockSize, c.Timeout} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b, nil
}

// UnmarshalCBOR reads the byte string.
func (c *Class) UnmarshalCBOR(b []byte) error {
	if len(b) != 1+ClassSize || b[0] != 0x40|ClassSize || b[2]&0x30 != 0 {
		return ErrClass
	}
	b = b[1:]
	*c = Class{
		Mapping: Dependency(b[0] >> 4), Filtering: Dependency(b[0] & 0x0f), Ports: PortModel(b[1] & 0x0f),
		NoNAT: b[1]&classNoNAT != 0, Hairpin: b[1]&classHairpin != 0,
		Step: int16(binary.BigEndian.Uint16(b[2:])), BlockStart: binary.BigEndian.Uint16(b[4:]),
		BlockSize: binary.BigEndian.Uint16(b[6:]), Timeout: binary.BigEndian.Uint16(b[8:]),
	}
	return c.valid()
}
