package netfilter_test

import (
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// The words of two clients that others wrote. Debian's stun (RFC 3489) looks at filters only behind independent
// mappings, and knows two kinds of mapping.
var (
	stunFilter = map[nat.Dependency]string{
		nat.EndpointIndependent: "Independent Filter", nat.AddressDependent: "Address Dependent Filter",
		nat.AddressAndPortDependent: "Port Dependent Filter",
	}
	natdiscovery = map[nat.Dependency]string{
		nat.EndpointIndependent: "Endpoint Independent", nat.AddressDependent: "Address Dependent",
		nat.AddressAndPortDependent: "Address and Port Dependent",
	}
)

// opinion is what they say about a behavior, and should say.
type opinion struct {
	behavior    nat.Behavior
	home        *site
	stun        string
	stunWant    string
	verdicts    []string
	verdictWant []string
	err         error
}

// TestThirdPartyOpinion asks both about each of the nine; one in two of the cones hairpins and preserves ports.
func TestThirdPartyOpinion(t *testing.T) {
	t.Parallel()
	netnstest.Require(t, "stun", "turnutils_natdiscovery")
	var opinions []*opinion
	for i, m := range dependencies {
		for j, f := range dependencies {
			o := &opinion{behavior: pair(m, f)}
			words := ", random port, no hairpin"
			if m == nat.EndpointIndependent && (i+j)%2 == 0 {
				o.behavior.PortAssignment, o.behavior.Hairpinning = nat.PortPreservation, nat.HairpinExternalSource
				words = ", preserves ports, will hairpin"
			}
			o.stunWant = "Primary: Independent Mapping, " + stunFilter[f] + words
			if m != nat.EndpointIndependent {
				o.stunWant = "Primary: Dependent Mapping" + words
			}
			o.verdictWant = []string{"NAT with " + natdiscovery[m] + " Mapping!", "NAT with " + natdiscovery[f] + " Filtering!"}
			core := newCore(t)
			startServer(t, core)
			o.home = newSite(t, core, wanA, "10.0", 1)
			o.home.install(o.behavior)
			opinions = append(opinions, o)
		}
	}
	var asking sync.WaitGroup // all at once: each waits for answers that do not come
	for _, o := range opinions {
		asking.Go(o.ask)
	}
	asking.Wait()
	for _, o := range opinions {
		must(t, o.err)
		if d := cmp.Diff(o.stunWant, o.stun); d != "" {
			t.Errorf("%v: stun (-want +got):\n%s", o.behavior, d)
		}
		if d := cmp.Diff(o.verdictWant, o.verdicts); d != "" {
			t.Errorf("%v: turnutils_natdiscovery (-want +got):\n%s", o.behavior, d)
		}
	}
}

func (o *opinion) ask() {
	host, server := o.home.hosts[0], serverAddrs[0].String()
	said, err := output(host, "stun", server)
	o.stun, o.err = primary(said), err
	if o.err == nil {
		o.err = o.home.router.Reset(1)
	}
	if o.err == nil {
		said, o.err = output(host, "turnutils_natdiscovery", "-m", "-f", "-L", "10.0.0.2", server)
		o.verdicts = verdictLine.FindAllString(said, -1)
	}
}

var verdictLine = regexp.MustCompile(`(?m)^.*N(?:AT with|o NAT).*$`)

// primary picks the line in which stun says what it found.
func primary(said string) string {
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "Primary:") {
			return line
		}
	}
	return said
}

// output runs a program in a namespace. Its exit code is not looked at: stun's is its verdict.
func output(ns *netns.NS, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Do(cmd.Start); err != nil {
		return "", err
	}
	_ = cmd.Wait()
	return out.String(), nil
}
