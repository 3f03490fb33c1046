package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
)

// player is the program that plays a role now, and whether it is the vendor's; none: it is a box.
func (s *Stage) player(role certify.Role) (argv []string, vendors bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.o.Device
	if role == certify.RoleCamera {
		if d.Way == Box {
			return nil, true
		}
		return d.Program, true
	}
	if d.Way == Endpoint || len(d.Program) == 0 || s.unknown[role] {
		return d.Bundled, false
	}
	return d.Program, true
}

// Bundled reports whether a role is played by a bundled program: known once one has been started.
func (s *Stage) Bundled(role certify.Role) bool {
	_, vendors := s.player(role)
	return !vendors
}

// replace has the bundled program play a role, if the error says that the vendor's does not know it.
func (s *Stage) replace(role certify.Role, err error) bool {
	var unsupported *Unsupported
	if !errors.As(err, &unsupported) || role == certify.RoleCamera {
		return false
	}
	s.mu.Lock()
	s.unknown[role] = true
	s.mu.Unlock()
	s.Note("the vendor's program does not play the %s: the bundled one does", role)
	return true
}

// Serve starts the rendezvous, and the relay if the camera has one, and waits until they are ready. Camera calls it.
func (x *Set) Serve(ctx context.Context) error {
	x.serving.Lock()
	defer x.serving.Unlock()
	if x.served {
		return nil
	}
	roles := []certify.Role{certify.RoleRendezvous}
	if x.hasRelay() {
		roles = append(roles, certify.RoleRelay)
	}
	errs := make([]error, len(roles))
	var ready sync.WaitGroup
	for i, role := range roles {
		ready.Go(func() { errs[i] = x.serve(ctx, role) })
	}
	ready.Wait()
	if err := cmp.Or(errs...); err != nil {
		return err
	}
	x.served = true
	return nil
}

func (x *Set) hasRelay() bool { return x.stage.Decl().Has(certify.FeatureRelay) }

func (x *Set) serve(ctx context.Context, role certify.Role) error {
	host := rendezvousHost
	if role == certify.RoleRelay {
		host = x.relay
	}
	if x.Program(role) != nil {
		return nil // an earlier Serve failed by another role
	}
	argv, vendors := x.stage.player(role)
	p, err := x.start(starting{role: role, action: certify.ActionRun, unit: 1, host: host, argv: argv, vendor: vendors})
	if err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		if x.stage.replace(role, err) {
			return x.serve(ctx, role)
		}
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.roles[role] = p
	return nil
}

// Program is the server that plays a role, rendezvous or relay; nil before Serve.
func (x *Set) Program(role certify.Role) *Program {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.roles[role]
}

// environment is the contract's.
func (x *Set) environment(s starting, folder, result string) []string {
	t := x.lab.Topology()
	relay := ""
	if x.hasRelay() {
		relay = list(t.AddrsFrom(s.host, x.relay))
	}
	env := []string{}
	for _, v := range [][2]string{
		{"CONTRACT", certify.ContractVersion}, {"CASE", x.stage.told()}, {"ROLE", string(s.role)}, {"ACTION", string(s.action)},
		{"UNIT", strconv.Itoa(s.unit)}, {"RESULT", filepath.Join(folder, result)}, {"STATE", filepath.Join(folder, "state")},
		{"HOST", s.host}, {"ADDR", list(t.HostAddr(s.host))}, {"RENDEZVOUS", list(t.AddrsFrom(s.host, rendezvousHost))},
		{"RELAY", relay}, {"SEED", strconv.FormatUint(x.stage.o.Seed, 10)}, {"TIMEOUT", strconv.Itoa(int(readyIn / time.Second))},
	} {
		env = append(env, "PUNCHLAB_"+v[0]+"="+v[1])
	}
	if s.role == certify.RoleCamera {
		env = append(env, "PUNCHLAB_SOURCE="+x.stage.sourceFile())
	}
	return append(env, x.stage.o.Device.Env...)
}

func list(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}

// serverHost is the host behind a name of the declaration's servers.
func (x *Set) serverHost(role string) string {
	if role == relayHost {
		return x.relay
	}
	return rendezvousHost
}

// hostsFile is /etc/hosts of a host: the names of the declaration's servers.
func (x *Set) hostsFile(host string) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
	t := x.lab.Topology()
	for _, a := range t.HostAddr(host) {
		fmt.Fprintf(&b, "%v %s\n", a, host)
	}
	for _, server := range x.stage.Decl().Servers {
		for _, a := range firstOfEach(t.AddrsFrom(host, x.serverHost(server.Role))) {
			fmt.Fprintf(&b, "%v %s\n", a, server.Name)
		}
	}
	return b.String()
}

// firstOfEach are the first addresses of each family.
func firstOfEach(addrs []netip.Addr) (first []netip.Addr) {
	for _, a := range addrs {
		if !slices.ContainsFunc(first, func(f netip.Addr) bool { return f.Is4() == a.Is4() }) {
			first = append(first, a)
		}
	}
	return first
}

// Ask starts the vendor's program for a role and reports how it ended, at most PUNCHLAB_TIMEOUT later: for the honesty probe, whose case
// no program knows. One that says that it is ready is ended. The Set's own roles are not touched.
func (x *Set) Ask(ctx context.Context, role certify.Role) (*contain.Report, error) {
	argv, vendors := x.stage.player(role)
	if !vendors || argv == nil {
		return nil, fmt.Errorf("ask the vendor's %s: there is none", role)
	}
	host := map[certify.Role]string{certify.RoleCamera: cameraHost, certify.RoleViewer: viewerHost, certify.RoleRelay: x.relay}[role]
	if host == "" {
		host = rendezvousHost
	}
	p, err := x.start(starting{role: role, action: certify.ActionRun, unit: 1, host: host, argv: argv, vendor: true, wall: readyIn})
	if err != nil {
		return nil, err
	}
	err = wait(ctx, p.name()+" to end", func() (bool, error) { return p.over() || p.results.ready(), nil })
	if ended := p.end(); err == nil {
		err = ended
	}
	return p.report, err
}
