package nat

// Verdict is what is possible between two paths of routers.
type Verdict int

// Verdicts, from the best to the worst.
const (
	Direct      Verdict = iota + 1 // the endpoints that a server sees are enough
	Predictable                    // a port must be guessed, and its allocator can be
	Birthday                       // a random port must be guessed, on one side only
	Portmap                        // only a port mapping protocol opens the way; no Behavior says so yet
	RelayOnly                      // nothing over UDP
)

// String returns "direct", "predictable", "birthday", "portmap" or "relay-only".
func (v Verdict) String() string {
	return name(int(v), "none", "direct", "predictable", "birthday", "portmap", "relay-only")
}

// Oracle says what is possible between a host behind the routers a and one behind the routers b, each path innermost
// router first. The paths share no router.
func Oracle(a, b []Behavior) Verdict { return OracleShared(a, b, 0) }

// OracleShared is Oracle for paths whose last (outermost) shared routers are the same ones.
func OracleShared(a, b []Behavior, shared int) Verdict {
	return RelayOnly
}
