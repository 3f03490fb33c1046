package punch

import "github.com/punchlab/punchlab/impl/wire"

// Flags are the policy's wishes as a Hello carries them.
func (p Policy) Flags() (f wire.Flags) {
	if p.Direct {
		f |= wire.FlagDirect
	}
	if p.Relay {
		f |= wire.FlagRelay
	}
	return f
}

// ForFlags is the policy by which a camera answers a viewer's wishes. Without any it allows no path.
func ForFlags(f wire.Flags) Policy {
	switch {
	case f&(wire.FlagDirect|wire.FlagRelay) == 0:
		return Policy{Name: "none", Blind: relay.Blind}
	case f&wire.FlagDirect == 0:
		return relay
	case f&wire.FlagRelay == 0:
		return direct
	}
	return adaptive
}
