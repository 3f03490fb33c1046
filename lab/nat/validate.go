package nat

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What the zero values of a Behavior stand for.
const (
	DefaultPortMin        = 20000
	DefaultPortMax        = 60000
	DefaultPortStep       = 1
	DefaultPortBlockSize  = 1024
	DefaultUDPTimeout     = 120 * time.Second           // RFC 4787 REQ-5: at least 2 minutes
	DefaultTCPEstablished = 2*time.Hour + 4*time.Minute // RFC 5382 REQ-5
	DefaultTCPTransitory  = 4 * time.Minute             // RFC 5382 REQ-5
	DefaultICMPTimeout    = 60 * time.Second            // RFC 5508 REQ-2
	DefaultCrashTime      = 5 * time.Second
	maxTimeout            = 40 * 24 * time.Hour // in milliseconds it fits 32 bits
)

// WithDefaults returns a copy in which no zero stands for something else.
func (b Behavior) WithDefaults() Behavior {
	set(&b.PortStep, DefaultPortStep)
	set(&b.PortBlockSize, DefaultPortBlockSize)
	set(&b.UDPTimeout, DefaultUDPTimeout)
	set(&b.TCPEstablished, DefaultTCPEstablished)
	set(&b.TCPTransitory, DefaultTCPTransitory)
	set(&b.TCPSynTimeout, b.TCPTransitory)
	set(&b.ICMPTimeout, DefaultICMPTimeout)
	if b.FlowLimit > 0 {
		set(&b.CrashTime, DefaultCrashTime)
	}
	if b.IPv6 == IPv6Firewall || b.IPv6 == NPTv6 {
		set(&b.Filtering6, AddressAndPortDependent)
	}
	if b.PortMin == 0 && b.PortMax == 0 {
		b.PortMin, b.PortMax = DefaultPortMin, DefaultPortMax
	}
	return b
}

func set[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate says what is missing, out of range or contradictory. The axes of an experiment have no defaults: a
// translator must say its mapping, filtering and port assignment, and a router that does not translate must not.
func (b Behavior) Validate() error {
	checks := []error{b.validateEnums(), b.validateAxes(), b.validatePorts(), b.validateTimes()}
	for _, err := range checks {
		if err != nil {
			return fmt.Errorf("validate NAT behavior: %w", err)
		}
	}
	return nil
}

func (b Behavior) validateEnums() error {
	for _, e := range []struct {
		axis       string
		value, max int
	}{
		{"kind", int(b.Kind), int(Masquerade)},
		{"mapping", int(b.Mapping), int(AddressAndPortDependent)},
		{"filtering", int(b.Filtering), int(AddressAndPortDependent)},
		{"port assignment", int(b.PortAssignment), int(PortBlock)},
		{"pooling", int(b.Pooling), int(Arbitrary)},
		{"hairpinning", int(b.Hairpinning), int(HairpinExternalSource)},
		{"unsolicited", int(b.Unsolicited), int(RSTAfter6s)},
		{"exhausted", int(b.Exhausted), int(ICMP)},
		{"fragments", int(b.Fragments), int(FragmentsDropped)},
		{"ICMP errors", int(b.ICMPErrors), int(ICMPErrorsDropped)},
		{"IPv6", int(b.IPv6), int(NAT64)},
		{"IPv6 filtering", int(b.Filtering6), int(AddressAndPortDependent)},
	} {
		if e.value < 0 || e.value > e.max {
			return fmt.Errorf("%s is %d: want 0 to %d", e.axis, e.value, e.max)
		}
	}
	return nil
}

func (b Behavior) validateAxes() error {
	switch {
	case b.Kind == NoNAT && (b.Mapping != 0 || b.PortAssignment != 0 || b.Hairpinning != 0 || b.Pooling != 0):
		return errors.New("a router that does not translate has neither mapping, port assignment, hairpinning nor pooling: leave them out")
	case b.Kind != NoNAT && b.Mapping == 0:
		return errors.New("mapping is not set: choose a dependency")
	case b.Kind != NoNAT && b.Filtering == 0:
		return errors.New("filtering is not set: choose a dependency, or kind no-nat for a router without a filter")
	case b.Kind != NoNAT && b.PortAssignment == 0:
		return errors.New("port assignment is not set: choose one")
	case b.Kind == Masquerade && (b.Mapping != EndpointIndependent || b.Filtering != AddressAndPortDependent || b.PortAssignment != PortPreservation):
		return errors.New("masquerade is known as EIM/APDF with port preservation: say so, or choose kind translate")
	case b.Kind == Masquerade && b.InboundFirstRemap == b.InputDrop:
		return errors.New("masquerade remaps after an early inbound packet exactly when its input is not dropped: set one of the two")
	case b.Kind != Masquerade && b.InputDrop:
		return errors.New("input drop belongs to masquerade: other kinds leave a trace of unsolicited traffic only with inbound-first remap")
	case b.Kind == NoNAT && (b.ALG || b.InboundFirstRemap || b.PortHoldDown != 0):
		return errors.New("a router that does not translate has neither ALG, inbound-first remap nor port hold-down: leave them out")
	case b.Kind != Translate && (b.InboundFirstBlock != 0 || len(b.LenientPorts) > 0 || b.FlowLimit != 0):
		return errors.New("inbound-first block, leniency towards ports and a flow limit need kind translate: leave them out")
	case b.FlowLimit < 0:
		return fmt.Errorf("flow limit is %d: want 0 (none) or more", b.FlowLimit)
	case b.FlowLimit == 0 && b.CrashTime != 0:
		return errors.New("a crash time needs a flow limit, beyond which the router crashes: set it")
	case b.FlowLimit > 0 && b.IPv6 == NAT64:
		return errors.New("a flow limit does not count the flows of NAT64: choose one of the two")
	case b.Filtering6 != 0 && b.IPv6 != IPv6Firewall && b.IPv6 != NPTv6:
		return fmt.Errorf("IPv6 filtering %v needs IPv6 mode firewall or nptv6, not %v", b.Filtering6, b.IPv6)
	case b.IPv6 == NAT64 && b.Kind != Translate:
		return fmt.Errorf("NAT64 needs kind translate, whose mappings it uses, not %v", b.Kind)
	}
	return nil
}

func (b Behavior) validatePorts() error {
	d := b.WithDefaults()
	span := int(d.PortMax) - int(d.PortMin) + 1
	switch {
	case d.PortMin == 0 || span < 1:
		return fmt.Errorf("ports %d to %d are no range: set both, the smaller one first", b.PortMin, b.PortMax)
	case b.PortStep < 0 || b.PortStep > 1 && b.PortStep >= span:
		return fmt.Errorf("port step %d does not fit a range of %d ports", b.PortStep, span)
	case b.PortStep != 0 && b.PortAssignment != PortSequential:
		return fmt.Errorf("port step %d needs sequential assignment, not %v", b.PortStep, b.PortAssignment)
	case b.PortBlockSize != 0 && b.PortAssignment != PortBlock:
		return fmt.Errorf("port block size %d needs port-block assignment, not %v", b.PortBlockSize, b.PortAssignment)
	case b.PortAssignment == PortBlock && (d.PortBlockSize < 1 || d.PortBlockSize > span):
		return fmt.Errorf("port block size %d does not fit a range of %d ports", b.PortBlockSize, span)
	case b.PortOverloading && b.PortAssignment != PortPreservation:
		return fmt.Errorf("port overloading needs preservation (RFC 4787 §4.2.1), not %v", b.PortAssignment)
	case b.PortParity && d.PortStep%2 == 0:
		return fmt.Errorf("port step %d gives ports of one parity only: choose an odd step, or no port parity", b.PortStep)
	case b.Quota < 0:
		return fmt.Errorf("quota is %d: want 0 (no limit) or more", b.Quota)
	case slices.Contains(b.TCPPorts, 0):
		return errors.New("TCP ports contain 0, which is no port")
	case slices.Contains(b.LenientPorts, 0):
		return errors.New("lenient ports contain 0, which is no port")
	}
	return nil
}

func (b Behavior) validateTimes() error {
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"UDP", b.UDPTimeout}, {"TCP established", b.TCPEstablished}, {"TCP transitory", b.TCPTransitory},
		{"TCP SYN", b.TCPSynTimeout}, {"ICMP", b.ICMPTimeout}, {"port hold-down", b.PortHoldDown},
		{"inbound-first block", b.InboundFirstBlock}, {"crash", b.CrashTime}} {
		if t.d < 0 || t.d > maxTimeout {
			return fmt.Errorf("%s timeout is %v: want 0 (the default) to %v", t.name, t.d, maxTimeout)
		}
	}
	return nil
}
