package punch

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/punchlab/punchlab/impl/wire"
)

// TestAgent plays testdata/agent.txt:
//
//	agent STRATEGY
//	add ADDR reflexive|host|peer-reflexive
//	run DURATION size=BYTES       → when which candidate is punched; what the budget refuses is marked
//	spend ADDR BYTES              → allowed or refused
//	trust ADDR                    by a challenge and its echo
//	stop
func TestAgent(t *testing.T) {
	var a *Agent
	now := epoch
	datadriven.RunTest(t, "testdata/agent.txt", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "agent":
			p, err := Lookup(d.CmdArgs[0].Key)
			if err != nil {
				return err.Error() + "\n"
			}
			now = epoch
			a = NewAgent(Config{Policy: p}, now)
		case "add":
			kind := map[string]Kind{"reflexive": Reflexive, "host": Host, "peer-reflexive": PeerReflexive}[d.CmdArgs[1].Key]
			if c := a.Add(now, To(netip.MustParseAddrPort(d.CmdArgs[0].Key)), kind); c == nil {
				return "refused\n"
			} else if c.Kind != kind {
				return "known as " + c.Kind.String() + "\n"
			}
		case "run":
			return run(t, a, &now, d)
		case "spend":
			n, err := strconv.Atoi(d.CmdArgs[1].Key)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			return map[bool]string{true: "allowed\n", false: "refused\n"}[a.Spend(To(netip.MustParseAddrPort(d.CmdArgs[0].Key)), n)]
		case "trust":
			a.Find(To(netip.MustParseAddrPort(d.CmdArgs[0].Key))).Challenge = Nonce{1}
			if a.Echoed(Nonce{}) != nil || a.Echoed(Nonce{2}) != nil || a.Echoed(Nonce{1}) == nil {
				return "wrong\n"
			}
		case "stop":
			a.Stop(Path{})
		default:
			d.Fatalf(t, "unknown command %q", d.Cmd)
		}
		return ""
	})
}

func run(t *testing.T, a *Agent, now *time.Time, d *datadriven.TestData) string {
	by, err := time.ParseDuration(d.CmdArgs[0].Key)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	size := 192
	d.MaybeScanArgs(t, "size", &size)
	var out strings.Builder
	end := now.Add(by)
	for {
		at := a.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		*now = at
		a.Due(*now, func(c Probe) {
			refused := ""
			if !a.Spend(c.Path(), size) {
				refused = " refused"
			}
			fmt.Fprintf(&out, "%6v %v %v%s\n", now.Sub(epoch), c.Kind, c.Addr, refused)
		})
	}
	*now = end
	return out.String()
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
		if p.Summary == "" || p.Blind <= 0 || p.Direct != (len(p.Fast)+len(p.Stream) > 0) || p.Direct != (p.GiveUp > 0) || len(p.Name) > wire.MaxStrategy {
			t.Errorf("policy %+v", p)
		}
		if p.Direct && (p.Methods == 0 || p.Budget.Packets == 0 || p.Budget.Bytes == 0 || p.Budget.Rate == 0) {
			t.Errorf("%s has no method, or no budget: %+v", p.Name, p)
		}
		if p.Has(MethodBirthday) && p.Birthday.Rate == 0 || p.Has(MethodPrediction) && (p.Predict.Window > maxWindow || p.Predict.Every == 0) {
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
