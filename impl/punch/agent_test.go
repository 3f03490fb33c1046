package punch

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// TestAgent plays testdata/*.txt:
//
//	agent STRATEGY [role=camera] [mine=CLASS] [theirs=CLASS] [own=ADDR] [peer=ADDR] [turn=ADDR] [spare=ADDR]
//	                               CLASS: mapping and filtering, I A P each, then random, block or a step: PP:random, PP:+1
//	restart …                      as agent; what was there goes on, by the strategy there was
//	add ADDR reflexive|host|peer-reflexive|mapped|relayed
//	heard ADDR [by=ADDR]           an authentic packet from there, by a socket
//	sampled ADDR
//	run DURATION [size=BYTES]      → when which candidate is punched, what is guessed; what the budget refuses is marked.
//	                                 Sockets are opened at once: 10.0.0.2:10001, …
//	spend ADDR BYTES               → allowed or refused
//	trust ADDR                     by a challenge and its echo
//	plan                           → what the agent has chosen
//	stop
func TestAgent(t *testing.T) {
	for _, file := range []string{"agent", "strategies", "silence"} {
		t.Run(file, func(t *testing.T) {
			s := &script{now: epoch}
			datadriven.RunTest(t, "testdata/"+file+".txt", func(t *testing.T, d *datadriven.TestData) string { return s.play(t, d) })
		})
	}
}

type script struct {
	a       *Agent
	now     time.Time
	sockets int
}

func (s *script) play(t *testing.T, d *datadriven.TestData) string {
	arg := func(i int) netip.AddrPort { return address(d.CmdArgs[i].Key) }
	switch d.Cmd {
	case "agent":
		p, err := Lookup(strings.ReplaceAll(d.CmdArgs[0].String(), "=", ":"))
		if err != nil {
			return err.Error() + "\n"
		}
		*s = script{now: epoch}
		s.a = NewAgent(config(t, d, d.CmdArgs[1:], p), s.now)
		return s.sock()
	case "restart":
		s.a.Restart(s.now, config(t, d, d.CmdArgs, s.a.cfg.Policy))
		return s.sock()
	case "add":
		kinds := map[string]Kind{
			"reflexive": Reflexive, "host": Host, "peer-reflexive": PeerReflexive, "mapped": Mapped, "relayed": Relayed,
		}
		kind := kinds[d.CmdArgs[1].Key]
		if c := s.a.Add(s.now, To(arg(0)), kind); c == nil {
			return "refused\n"
		} else if c.Kind != kind {
			return "known as " + c.Kind.String() + "\n"
		}
	case "heard":
		p := To(arg(0))
		if d.HasArg("by") {
			p.Local = address(option(t, d, "by"))
		}
		c := s.a.Heard(s.now, p)
		if c == nil {
			return "refused\n"
		}
		return c.Kind.String() + "\n" + s.sock()
	case "sampled":
		s.a.Sampled(s.now, arg(0))
	case "run":
		return s.run(t, d)
	case "spend":
		n, err := strconv.Atoi(d.CmdArgs[1].Key)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		return map[bool]string{true: "allowed\n", false: "refused\n"}[s.a.Spend(To(arg(0)), n)]
	case "trust":
		s.a.Find(To(arg(0))).Challenge = Nonce{1}
		if s.a.Echoed(Nonce{}) != nil || s.a.Echoed(Nonce{2}) != nil || s.a.Echoed(Nonce{1}) == nil {
			return "wrong\n"
		}
	case "plan":
		return s.a.Plan() + "\n"
	case "stop":
		s.a.Stop(Path{})
		return s.sock()
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return ""
}

// address reads ADDR, or tcp/ADDR.
func address(s string) netip.AddrPort {
	if bare, ok := strings.CutPrefix(s, "tcp/"); ok {
		return core.Over(core.TCP, netip.MustParseAddrPort(bare))
	}
	return netip.MustParseAddrPort(s)
}

func option(t *testing.T, d *datadriven.TestData, name string) (s string) {
	d.ScanArgs(t, name, &s)
	return s
}

func config(t *testing.T, d *datadriven.TestData, args []datadriven.CmdArg, p Policy) Config {
	c := Config{Policy: p, Role: Viewer}
	for _, a := range args {
		switch v := strings.Join(a.Vals, ","); a.Key {
		case "role":
			c.Role = Camera
		case "mine":
			c.Mine = class(v)
		case "theirs":
			c.Theirs = class(v)
		case "own":
			c.Own = address(v)
		case "peer":
			c.Peer = address(v)
		case "turn":
			c.Turn = []netip.AddrPort{address(v)}
		case "spare":
			c.Spare = address(v)
		default:
			d.Fatalf(t, "unknown argument %q", a.Key)
		}
	}
	return c
}

func class(s string) wire.Class {
	pair, ports, _ := strings.Cut(s, ":")
	of := func(b byte) wire.Dependency { return wire.Dependency(strings.IndexByte("IAP", b) + 1) }
	c := wire.Class{Mapping: of(pair[0]), Filtering: of(pair[1])}
	switch ports {
	case "":
	case "random":
		c.Ports = wire.PortsRandom
	case "preserved":
		c.Ports = wire.PortsPreserved
	case "block":
		c.Ports, c.BlockStart, c.BlockSize = wire.PortsBlock, 8192, 1024
	default:
		step, err := strconv.Atoi(ports)
		if err != nil {
			panic(err)
		}
		c.Ports, c.Step = wire.PortsSequential, int16(step)
	}
	return c
}

// sock does with sockets what the agent wants, and says so.
func (s *script) sock() (out string) {
	for {
		n, closed := s.a.Wants()
		if len(closed) > 0 {
			out += fmt.Sprintf("%6v closes %d sockets\n", s.now.Sub(epoch), len(closed))
		}
		if n == 0 {
			return out
		}
		out += fmt.Sprintf("%6v opens %d sockets\n", s.now.Sub(epoch), n)
		var socks []netip.AddrPort
		for range n {
			s.sockets++
			socks = append(socks, netip.AddrPortFrom(internalNet, uint16(10000+s.sockets)))
		}
		s.a.Opened(s.now, socks, nil)
	}
}

// run says what leaves; of guesses that leave within 100 ms the first and the last, and how many they are.
func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	by, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	size := 0
	d.MaybeScanArgs(t, "size", &size)
	var out, line strings.Builder
	var since time.Time
	var first, last Probe
	many := 0
	flush := func() {
		if many > 0 {
			fmt.Fprintf(&line, "%6v guess %s", since.Sub(epoch), where(first))
			if many > 1 {
				fmt.Fprintf(&line, " … %s: %d", where(last), many)
			}
			line.WriteString("\n")
		}
		out.WriteString(line.String())
		line.Reset()
		many = 0
	}
	end := s.now.Add(by)
	for {
		at := s.a.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		s.now = at
		s.a.Due(s.now, func(p Probe) {
			if many > 0 && (p.Candidate != nil || p.Sample || s.now.Sub(since) >= 100*time.Millisecond) {
				flush()
			}
			refused := ""
			if n := cmp.Or(size, p.Size); !p.Sample && !s.a.Spend(p.Path(), n) {
				refused = " refused"
			}
			switch {
			case p.Sample:
				fmt.Fprintf(&out, "%6v sample by %v%s\n", s.now.Sub(epoch), p.From, refused)
			case p.Candidate == nil:
				if last = p; many == 0 {
					first, since = p, s.now
				}
				many++
			default:
				fmt.Fprintf(&out, "%6v %v %s%s\n", s.now.Sub(epoch), p.Candidate.Kind, where(p), refused)
			}
		})
		if socks := s.sock(); socks != "" {
			flush()
			out.WriteString(socks)
		}
	}
	flush()
	s.now = end
	return out.String()
}

func where(p Probe) string {
	s := p.To.String()
	if p.From.IsValid() {
		s = p.From.String() + "→" + s
	}
	if p.TTL != 0 {
		s += fmt.Sprintf(" TTL %d", p.TTL)
	}
	return s
}

func TestPlausible(t *testing.T) {
	for addr, want := range map[string]bool{
		"192.0.2.1:1": true, "[2001:db8::1]:1": true, "127.0.0.1:5": true, "10.0.0.1:65535": true,
		"192.0.2.1:0": false, "0.0.0.0:1": false, "224.0.0.1:1": false, "255.255.255.255:1": false, "[ff02::1]:1": false, "[fe80::1%eth0]:1": false,
	} {
		if got := Plausible(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if Plausible(netip.AddrPort{}) {
		t.Error("the zero address")
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	a := NewAgent(Config{Policy: adaptive}, epoch)
	for i := range 100 {
		a.Add(epoch, To(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1)), PeerReflexive)
	}
	if n := len(a.Candidates()); n != MaxCandidates {
		t.Errorf("%d candidates", n)
	}
}

func TestAnswersAndChallengesKeepTheirGaps(t *testing.T) {
	var c Candidate
	for i, want := range []bool{true, false, false, false, true} {
		if got := c.Answer(epoch.Add(time.Duration(i)*25*time.Millisecond), 100*time.Millisecond); got != want {
			t.Errorf("answer %d: %v", i, got)
		}
		if got := c.Ask(epoch.Add(time.Duration(i)*25*time.Millisecond), 100*time.Millisecond); got != want {
			t.Errorf("challenge %d: %v", i, got)
		}
	}
}

// What a camera makes of a viewer's flags is the policy that the viewer follows.
func TestFlagsNameThePolicy(t *testing.T) {
	for _, p := range Policies() {
		if got := ForHello(p.Flags()|wire.FlagStart, p.Name); got.Name != p.Name {
			t.Errorf("%s becomes %s", p.Name, got.Name)
		}
		if p.Summary == "" || p.Blind <= 0 || len(p.Name) > wire.MaxStrategy ||
			p.Direct != (len(p.Fast)+len(p.Stream) > 0) || p.Direct != (p.GiveUp > 0) {
			t.Errorf("policy %+v", p)
		}
		if p.Direct && (p.Methods == 0 || p.Budget.Packets == 0 || p.Budget.Bytes == 0 || p.Budget.Rate == 0) {
			t.Errorf("%s has no method, or no budget: %+v", p.Name, p)
		}
		if p.Has(MethodBirthday) && p.Birthday.Rate == 0 ||
			p.Has(MethodPrediction) && (p.Predict.Window > maxWindow || p.Predict.Every == 0) {
			t.Errorf("%s: %+v", p.Name, p)
		}
		for _, times := range [][]time.Duration{p.Fast, p.Stream} {
			if len(times) > MaxUnconfirmedPackets+len(p.TTL)+1 {
				t.Errorf("%s: %d punches do not fit the budget", p.Name, len(times))
			}
			for i := 1; i < len(times); i++ {
				if times[i] <= times[i-1] {
					t.Errorf("%s: punch %d is not later than the one before", p.Name, i)
				}
			}
		}
	}
	if got := ForHello(wire.FlagDirect|wire.FlagRelay, "birthday"); got.Name != "adaptive" {
		t.Errorf("flags that birthday does not have: %s", got.Name)
	}
	if got := ForHello(wire.FlagDirect, "teleport"); got.Name != "direct" {
		t.Errorf("an unknown name: %s", got.Name)
	}
	if _, err := Lookup("teleport"); err == nil || !strings.Contains(err.Error(), "adaptive, birthday, direct") {
		t.Errorf("error %v", err)
	}
}

// A viewer that wants no path gets none.
func TestNoFlags(t *testing.T) {
	for _, f := range []wire.Flags{0, wire.FlagStart} {
		if p := ForFlags(f); p.Direct || p.Relay {
			t.Errorf("flags %v: %+v", f, p)
		}
	}
}

func TestParameters(t *testing.T) {
	for name, want := range map[string]string{
		"birthday:256x1024": "", "birthday:64x69": "", "birthday:512x4096": "", "prediction:16": "", "prediction:64": "",
		"birthday:": "not a number", "birthday:0x5": "not a number", "birthday:256": "not a number", "birthday:256x4097": "not a number",
		"birthday:513x1": "not a number", "birthday:+5x7": "not a number", "birthday:1x2x3": "not a number", "prediction:65": "not a number",
		"direct:5": "takes none", "teleport:5": "choose one of",
	} {
		p, err := Lookup(name)
		if want == "" && (err != nil || p.Name != name || p.Budget.Packets < max(p.Birthday.Probes, 3*p.Birthday.Sockets)) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %+v", name, err, p)
		}
	}
}
