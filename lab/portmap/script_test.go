package portmap_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/portmap"
)

// TestScripts runs testdata/scripts. Their commands, of which the requests print the answer:
//
//	router PRESET [external=ADDR|none] [lan=PREFIX]     a router with the services of a preset, just started
//	natpmp from=ADDR address | udp|tcp inner= outer= life=
//	pcp from=ADDR announce | map proto= inner= outer= life= nonce= [client=] [address=] [prefer-failure] [filter=ADDR/BITS:PORT] [option=CODE:HEX]
//	raw from=ADDR HEX…                                  a datagram to port 5351; the answer in hex
//	ssdp from=ADDR (the message as input)
//	soap from=ADDR ACTION [v=VERSION] [service=NAME] [NAME=VALUE…]   a mapping's arguments default to a plain one's
//	get from=ADDR PATH
//	advance DURATION; reboot; reset; external ADDR|none; hand proto= inner= outer= (a mapping made by hand); break; mend
//	maps | counts | due                                 what the NAT has; how requests ended; announcements up to now
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
	})
}

type script struct {
	t    *testing.T
	gw   *fakeGateway
	core *portmap.Core
}

var errBroken = errors.New("broken")

func (s *script) run(d *datadriven.TestData) string {
	switch d.Cmd {
	case "router":
		return s.router(d)
	case "natpmp":
		return s.natpmp(d)
	case "pcp":
		return s.pcp(d)
	case "raw":
		return s.raw(d)
	case "ssdp":
		return s.ssdp(d)
	case "soap":
		return s.soap(d)
	case "get":
		r := s.core.HTTP(s.gw.now, from(d), portmap.Request{Method: "GET", Path: d.CmdArgs[1].Key})
		return fmt.Sprintf("%d\n%s\n", r.Status, strings.ReplaceAll(string(r.Body), "><", ">\n<"))
	case "maps":
		return s.maps()
	case "counts":
		return counts(s.core.Counts())
	case "due":
		return s.due()
	default:
		return s.event(d)
	}
}

func (s *script) router(d *datadriven.TestData) string {
	c, ok := portmap.Lookup(d.CmdArgs[0].Key)
	if !ok {
		d.Fatalf(s.t, "no preset %s", d.CmdArgs[0].Key)
	}
	s.gw = &fakeGateway{now: time.Hour, external: address(s.t, option(d, "external", "203.0.113.1"))}
	core, err := portmap.NewCore(s.gw.router(), c, s.gw.now)
	must(s.t, err)
	s.core = core
	return ""
}

func (s *script) event(d *datadriven.TestData) string {
	var err error
	switch d.Cmd {
	case "advance":
		step, perr := time.ParseDuration(d.CmdArgs[0].Key)
		must(s.t, perr)
		s.gw.now += step
	case "reboot":
		err = s.core.Reboot(s.gw.now)
	case "reset":
		err = s.core.Reset(s.gw.now)
	case "announce":
		s.core.Announce(s.gw.now)
	case "external":
		s.gw.external = address(s.t, d.CmdArgs[0].Key)
	case "hand":
		_, err = s.gw.Map(nat.PortMap{
			Protocol: protocols[option(d, "proto", "udp")], Internal: netip.MustParseAddrPort(option(d, "inner", "")),
			External: uint16(number(s.t, option(d, "outer", ""))),
		})
	case "break":
		s.gw.fail = errBroken
	case "mend":
		s.gw.fail = nil
	default:
		d.Fatalf(s.t, "unknown command %s", d.Cmd)
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return ""
}

func (s *script) maps() string {
	maps, err := s.gw.PortMaps()
	if err != nil {
		return "error: " + err.Error()
	}
	var b strings.Builder
	for _, m := range maps {
		fmt.Fprintf(&b, "%s %d → %v", map[uint8]string{6: "tcp", 17: "udp"}[m.Protocol], m.External, m.Internal)
		if m.Remote.IsValid() {
			fmt.Fprintf(&b, " only from %v", m.Remote)
		}
		if m.Lifetime != 0 {
			fmt.Fprintf(&b, " for %v", m.Lifetime)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func counts(c portmap.Counts) string {
	var b strings.Builder
	for r, n := range c {
		if n > 0 {
			fmt.Fprintf(&b, "%v: %d\n", portmap.Reason(r), n)
		}
	}
	return b.String()
}

func (s *script) due() string {
	var b strings.Builder
	for _, o := range s.core.Advance(s.gw.now) {
		first, _, text := strings.Cut(string(o.Data), "\r\n")
		if text {
			fmt.Fprintf(&b, "%v %s %s\n", o.To, first, header(string(o.Data), "NT"))
			continue
		}
		fmt.Fprintf(&b, "%v %x\n", o.To, o.Data)
	}
	if next, ok := s.core.Deadline(); ok {
		fmt.Fprintf(&b, "next in %v\n", next-s.gw.now)
	}
	return b.String()
}

func (s *script) raw(d *datadriven.TestData) string {
	var text string
	for _, a := range d.CmdArgs[1:] {
		text += a.Key
	}
	b, err := hex.DecodeString(text + strings.Join(strings.Fields(d.Input), ""))
	must(s.t, err)
	answer := s.core.Datagram(s.gw.now, from(d), b)
	if answer == nil {
		return "no answer"
	}
	return dump(answer)
}

// dump writes words of 4 bytes, as the RFCs draw them.
func dump(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := min(4, len(b))
		fmt.Fprintf(&out, "%x\n", b[:n])
		b = b[n:]
	}
	return out.String()
}

func (s *script) ssdp(d *datadriven.TestData) string {
	answers := s.core.SSDP(from(d), []byte(strings.ReplaceAll(d.Input, "\n", "\r\n")+"\r\n\r\n"))
	if len(answers) == 0 {
		return "no answer"
	}
	var b strings.Builder
	for i, a := range answers {
		text := string(a)
		if i == 0 {
			first, _, _ := strings.Cut(text, "\r\n")
			fmt.Fprintf(&b, "%s %s\n", first, header(text, "LOCATION"))
		}
		fmt.Fprintf(&b, "%s | %s\n", header(text, "ST"), header(text, "USN"))
	}
	return b.String()
}

// header returns a header of an HTTP message.
func header(message, name string) string {
	for line := range strings.SplitSeq(message, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

var protocols = map[string]uint8{"udp": 17, "tcp": 6, "all": 0, "sctp": 132}

func from(d *datadriven.TestData) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(option(d, "from", "")), 40000)
}

func option(d *datadriven.TestData, name, usual string) string {
	for _, a := range d.CmdArgs {
		if a.Key == name && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return usual
}

func flag(d *datadriven.TestData, name string) bool {
	for _, a := range d.CmdArgs {
		if a.Key == name && len(a.Vals) == 0 {
			return true
		}
	}
	return false
}

func address(t *testing.T, text string) netip.Addr {
	t.Helper()
	if text == "none" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	must(t, err)
	return a
}

func number(t *testing.T, text string) (n uint64) {
	t.Helper()
	_, err := fmt.Sscan(text, &n)
	must(t, err)
	return n
}
