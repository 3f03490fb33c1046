package punch

import (
	"fmt"
	"strings"
	"time"
)

// Policy is a strategy as data: what an Agent may try, when, and for how long. Times count from the moment the peer's
// endpoint is known.
type Policy struct {
	Name    string
	Summary string

	Direct bool // punch and use a direct path
	Relay  bool // ask for a relay channel and use it until there is a direct path

	Fast   []time.Duration // when the quick punches to each candidate leave
	Slow   time.Duration   // interval of the later ones, until GiveUp
	GiveUp time.Duration   // direct paths not found by then are not looked for any more
	// Blind is how many bytes of media a camera may send, to the viewer's endpoint as the rendezvous saw it and through
	// the relay, before it has heard the viewer itself.
	Blind int
}

// policies holds a strategy a file.
var policies = []Policy{adaptive, direct, relay}

// Lookup finds a strategy by name.
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
