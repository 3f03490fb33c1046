package punch

import "time"

// ipv6 uses IPv6 addresses alone: no translation, but a stateful firewall on each side (RFC 6092).
var ipv6 = Policy{
	Name:    "ipv6",
	Summary: "hole punching through IPv6 firewalls; no IPv4",
	Direct:  true,
	Methods: MethodIPv6 | MethodReflexive | MethodHost,
	Fast:    quick,
	Slow:    400 * time.Millisecond,
	GiveUp:  3 * time.Second,
	Budget:  few,
	Blind:   256 << 10,
}
