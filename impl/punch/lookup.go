package punch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/impl/wire"
)

// policies holds a strategy a file.
var policies = []Policy{adaptive, birthday, direct, ipv6, lowTTL, portForward, portmap, prediction, relay, tcp, tls443, turn}

// Bounds of a strategy's parameters, which a stranger may choose.
const (
	maxSockets = 512
	maxProbes  = 4096
	maxWindow  = 64
)

// Lookup finds a strategy by name. Two take parameters after a colon: "birthday:256x1024" (sockets × probes, at most 512 × 4,096; of
// a known block of ports at most that, in proportion) and "prediction:16" (ports guessed in a round, at most 64).
func Lookup(name string) (Policy, error) {
	base, parameters, parametric := strings.Cut(name, ":")
	for _, p := range policies {
		if p.Name != base {
			continue
		}
		if !parametric {
			return p, nil
		}
		return p.with(parameters)
	}
	return Policy{}, fmt.Errorf("look up strategy %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// with is a policy with other numbers, named so.
func (p Policy) with(parameters string) (Policy, error) {
	var err error
	switch p.Name {
	case birthday.Name:
		sockets, probes, _ := strings.Cut(parameters, "x")
		if p.Birthday.Sockets, err = number(sockets, maxSockets); err == nil {
			p.Birthday.Probes, err = number(probes, maxProbes)
		}
		p.Birthday.BlockSockets, p.Birthday.BlockProbes = p.Birthday.Sockets, p.Birthday.Probes
		p.Budget.Packets = max(3*p.Birthday.Sockets, p.Birthday.Probes) + 2*reserved
		p.Budget.Bytes = p.Budget.Packets*wire.MinPunch + few.Bytes
	case prediction.Name:
		p.Predict.Window, err = number(parameters, maxWindow)
		p.Budget.Packets = p.Predict.Rounds*(len(pace.repeat)*p.Predict.Window+samples+shown) + 2*reserved
		p.Budget.Bytes = p.Budget.Packets*sampleSize + few.Bytes
	default:
		err = fmt.Errorf("it takes none")
	}
	if err != nil {
		return Policy{}, fmt.Errorf("read the parameters %q of strategy %s: %w", parameters, p.Name, err)
	}
	p.Name += ":" + parameters
	return p, nil
}

func number(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is not a number from 1 to %d", s, most)
	}
	return n, nil
}

// Names lists the strategies, without parameters.
func Names() (names []string) {
	for _, p := range policies {
		names = append(names, p.Name)
	}
	return names
}

// Policies lists the strategies themselves.
func Policies() []Policy { return append([]Policy(nil), policies...) }

// ForHello is the policy by which a camera answers a viewer's Hello: the strategy that the viewer names (Policy.Name), where the flags
// allow as much. Where the viewer names none, or one that this camera does not know, the flags decide alone.
func ForHello(f wire.Flags, name string) Policy {
	p, err := Lookup(name)
	if err != nil || p.Flags() != f&(wire.FlagDirect|wire.FlagRelay) {
		return ForFlags(f)
	}
	return p
}
