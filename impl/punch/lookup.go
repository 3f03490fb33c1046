package punch

import (
	"fmt"
	"strings"

	"github.com/punchlab/punchlab/impl/wire"
)

// policies holds a strategy a file.
var policies = []Policy{adaptive, direct, relay}

// Lookup finds a strategy by name. Two take parameters after a colon: "birthday:256x1024" (sockets × probes) and
// "prediction:16" (ports guessed in a round).
func Lookup(name string) (Policy, error) {
	for _, p := range policies {
		if p.Name == name {
			return p, nil
		}
	}
	return Policy{}, fmt.Errorf("look up strategy %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// Names lists the strategies.
func Names() (names []string) {
	for _, p := range policies {
		names = append(names, p.Name)
	}
	return names
}

// Policies lists the strategies themselves.
func Policies() []Policy { return append([]Policy(nil), policies...) }

// ForHello is the policy by which a camera answers a viewer's Hello: what the flags allow, of the strategy that the viewer names
// (Policy.Name; with parameters as in Lookup). Where it names none, or one that this camera does not know, the flags decide alone.
func ForHello(f wire.Flags, name string) Policy {
	p, err := Lookup(name)
	if err != nil || p.Flags() != f&(wire.FlagDirect|wire.FlagRelay) {
		return ForFlags(f)
	}
	return p
}
