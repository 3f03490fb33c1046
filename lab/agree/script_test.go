package agree_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/agree"
	"github.com/punchlab/punchlab/lab/nat"
)

// A script is what all engines must do alike. Its expected output is the table's, which alone knows reasons; the others
// drop without one.
//
//	router PRESET|SWITCH|KNOB=VALUE…      starts one. "netfilter refuses: …" tells that it can't do all of that.
//	send                                  out PACKET sends from inside, in PACKET from outside; a line each
//	advance DURATION [virtual]            virtual: too long to wait for, so the rest up to the next router is the table's alone
//	map, unmap                            udp|tcp ENDPOINT|any [PORT] [lifetime=…] [remote=…], a line each
//	maps                                  lists the port mappings
//	reboot   readdress ADDRESS…   switch PRESET|SWITCH|KNOB=VALUE…
//
// send differs=ENGINE: that engine is known to answer otherwise; the comment above says why.
type script struct {
	t      *testing.T
	engine engine
	router router
	setup  setup
	names  *names
	away   bool // this engine does not take part until the next router
	ran    int  // commands that it took part in

	waited bool // since the router was started, or it forgets soon: a busy machine may have waited longer than it was told
	retry  bool // a wrong answer after waiting is kept, and ends the script
	wrong  string
}

// virtualOnly is how long a script may have an engine wait.
const virtualOnly = 3 * time.Second

func (s *script) run(d *datadriven.TestData) string {
	s.t.Helper()
	if s.wrong != "" || d.Cmd != "router" && s.away {
		return d.Expected
	}
	got, err := s.command(d)
	if err != nil {
		d.Fatalf(s.t, "%s: %v", s.engine.name, err)
	}
	if s.away {
		return d.Expected
	}
	s.ran++
	if s.engine.virtual {
		return got
	}
	if d.HasArg("differs") {
		var who string
		d.ScanArgs(s.t, "differs", &who)
		if who == s.engine.name {
			if got == plain(d.Expected) {
				d.Fatalf(s.t, "%s is said to differ and does not", who)
			}
			return d.Expected
		}
	}
	if got == plain(d.Expected) {
		return d.Expected
	}
	if s.retry && s.waited {
		s.wrong = fmt.Sprintf("%s: %s instead of %s", d.Pos, strings.TrimSpace(got), strings.TrimSpace(d.Expected))
		return d.Expected
	}
	return got
}

// plain leaves the reasons out, which live engines don't tell.
func plain(lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		if strings.HasPrefix(line, "dropped") || strings.HasPrefix(line, "held") {
			line = "dropped\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

func (s *script) command(d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "router":
		return s.start(d)
	case "send":
		return s.send(d)
	case "advance":
		return s.advance(d)
	case "map", "unmap":
		return s.mapPorts(d)
	case "maps":
		return s.listPorts()
	case "reboot":
		s.names.forget()
		return "", s.router.reset(s.setup.seed)
	case "readdress":
		var addrs []netip.Addr
		for _, a := range d.CmdArgs {
			addrs = append(addrs, netip.MustParseAddr(a.Key))
		}
		s.setup.external = addrs
		s.names.s, s.names.router = s.setup, append(s.names.router, addrs...)
		return "", s.router.setExternal(addrs)
	case "switch":
		if err := s.setup.change(d.CmdArgs); err != nil {
			return "", err
		}
		s.names.s = s.setup
		return "", s.router.apply(s.setup.b, s.setup.seed)
	}
	return "", fmt.Errorf("no command %q", d.Cmd)
}

func (s *script) start(d *datadriven.TestData) (string, error) {
	s.stop()
	var err error
	if s.setup, err = newSetup(d.CmdArgs); err != nil {
		return "", err
	}
	s.waited = s.setup.forgetsSoon()
	s.names = newNames(s.setup)
	s.away = s.engine.supports(s.setup.b) != nil
	says := ""
	if refusal := netfilterEngine.supports(s.setup.b); refusal != nil {
		_, what, _ := strings.Cut(refusal.Error(), ": ")
		says = "netfilter refuses: " + what + "\n"
	}
	if s.away {
		return says, nil
	}
	s.router, err = s.engine.start(s.setup)
	return says, err
}

func (s *script) stop() {
	if s.router != nil {
		if err := s.router.close(); err != nil {
			s.t.Error(err)
		}
		s.router = nil
	}
}

// send sends a block's packets one after another.
func (s *script) send(d *datadriven.TestData) (string, error) {
	if strings.Contains(d.Input, "frag=") {
		return s.sendFragments(d)
	}
	expected := strings.Split(d.Expected, "\n")
	var out strings.Builder
	for i, line := range strings.Split(d.Input, "\n") {
		expect := -1
		if i < len(expected) && expected[i] != "" && plain(expected[i]) != "dropped\n" {
			expect = 1 + strings.Count(expected[i], " + ")
		}
		from, p, err := s.packet(line)
		if err != nil {
			return "", err
		}
		all, reason, err := s.router.send(from, p.Bytes(from == nat.Inside), expect)
		if err != nil {
			return "", err
		}
		words, err := s.names.words(p, all)
		if err != nil {
			words = fmt.Sprintf("broken: %v", errors.Unwrap(err))
		}
		if words == "" {
			words = s.nothing(reason)
		}
		fmt.Fprintln(&out, words)
	}
	return out.String(), nil
}

// nothing is what is said of a packet that came to nothing.
func (s *script) nothing(reason nat.Reason) string {
	switch {
	case !s.engine.virtual:
		return "dropped"
	case reason == nat.Held:
		return "held"
	}
	return "dropped: " + reason.String()
}

// packet reads a line: a side and a packet's words.
func (s *script) packet(line string) (from nat.Side, p *agree.Packet, err error) {
	way, words, _ := strings.Cut(line, " ")
	switch way {
	case "out":
		from = nat.Inside
	case "in":
		from = nat.Outside
	default:
		return from, nil, fmt.Errorf("line %q: want out or in first", line)
	}
	if words, err = s.names.resolve(words); err == nil {
		p, err = agree.ParsePacket(words)
	}
	if err == nil && from == nat.Inside {
		s.names.note(p)
	} else if err == nil {
		s.names.literal(p.Proto, p.Src.Port())
	}
	return from, p, err
}

// sendFragments sends a block and reports the whole packets that it led to: engines release fragments in other orders.
func (s *script) sendFragments(d *datadriven.TestData) (string, error) {
	var all []sent
	for line := range strings.SplitSeq(d.Input, "\n") {
		from, p, err := s.packet(line)
		if err != nil {
			return "", err
		}
		more, _, err := s.router.send(from, p.Bytes(from == nat.Inside), -1)
		if err != nil {
			return "", err
		}
		all = append(all, more...)
	}
	expect := strings.Count(d.Expected, "\n")
	if s.engine.virtual || strings.HasPrefix(d.Expected, "dropped") {
		expect = 0
	}
	// How many fragments come of them nobody knows, so the last may be late.
	for end := time.Now().Add(agree.Comes); len(whole(all)) < expect && time.Now().Before(end); {
		more, err := s.router.advance(0)
		if err != nil {
			return "", err
		}
		all = append(all, more...)
	}
	var out strings.Builder
	for _, o := range whole(all) {
		words, err := s.names.words(nil, []sent{o})
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&out, words)
	}
	if out.Len() == 0 {
		return "dropped\n", nil
	}
	return out.String(), nil
}

// whole puts fragments together, inside first.
func whole(all []sent) (packets []sent) {
	for side := range nat.Side(2) {
		var parts [][]byte
		for _, o := range all {
			if o.to == side {
				parts = append(parts, o.b)
			}
		}
		for _, b := range agree.Reassemble(parts) {
			packets = append(packets, sent{side, b})
		}
	}
	return packets
}

func (s *script) advance(d *datadriven.TestData) (string, error) {
	by, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		return "", err
	}
	virtual := d.HasArg("virtual")
	if !virtual && by > virtualOnly {
		return "", fmt.Errorf("%v is too long to wait for: mark it virtual", by)
	}
	if virtual && !s.engine.virtual {
		s.away = true
		return d.Expected, nil
	}
	s.waited = true
	all, err := s.router.advance(by)
	if err != nil || len(all) == 0 {
		return "", err
	}
	words, err := s.names.words(nil, all)
	return words + "\n", err
}

func (s *script) mapPorts(d *datadriven.TestData) (string, error) {
	var out strings.Builder
	for line := range strings.SplitSeq(d.Input, "\n") {
		m, err := parsePortMap(strings.Fields(line))
		if err != nil {
			return "", err
		}
		if d.Cmd == "unmap" {
			err = s.router.unmapPort(m)
			fmt.Fprintln(&out, verdict(err))
			continue
		}
		s.names.literal(strings.Fields(line)[0], m.Internal.Port(), m.External)
		e, err := s.router.mapPort(m)
		if err != nil {
			fmt.Fprintln(&out, verdict(err))
			continue
		}
		fmt.Fprintln(&out, s.names.name(strings.Fields(line)[0], e))
	}
	return out.String(), nil
}

func (s *script) listPorts() (string, error) {
	all, err := s.router.portMaps()
	var out strings.Builder
	for _, m := range all {
		fmt.Fprintf(&out, "%d %v %d", m.Protocol, m.Internal, m.External)
		if m.Remote.IsValid() {
			fmt.Fprintf(&out, " remote=%v", m.Remote)
		}
		if m.Lifetime > 0 {
			out.WriteString(" for a time")
		}
		out.WriteString("\n")
	}
	return out.String(), err
}
