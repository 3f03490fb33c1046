package wire_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// PROTOCOL.md is compared with the code, both ways: what one has and the other
// lacks, or gives another value, is an error.

func protocol(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section returns the text from one heading to the next of its level or above.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(protocol(t), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("PROTOCOL.md has no heading %q", heading)
	}
	level := strings.Count(strings.Fields(heading)[0], "#")
	end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(rest)
	if end == nil {
		return rest
	}
	return rest[:end[0]]
}

// rows returns the cells of the first table of a text, without its heading.
func rows(text string) [][]string {
	var out [][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if out != nil {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		out = append(out, cells)
	}
	if len(out) < 2 {
		return nil
	}
	return out[2:]
}

// same reports what only one of two sets has.
func same(t *testing.T, what string, document, code []string) {
	t.Helper()
	for _, s := range document {
		if !slices.Contains(code, s) {
			t.Errorf("PROTOCOL.md has %s %s, the code does not", what, s)
		}
	}
	for _, s := range code {
		if !slices.Contains(document, s) {
			t.Errorf("the code has %s %s, PROTOCOL.md does not", what, s)
		}
	}
}

var (
	cddlMessage = regexp.MustCompile(`(?m)^([a-z0-9-]+) = \{ 0: (\d+)(.*) \}$`)
	cddlRule    = regexp.MustCompile(`(?m)^([a-z0-9-]+) = (.*)$`)
	cddlArray   = regexp.MustCompile(`^\[1\*\d+ (.*)\]$`)
	cddlKey     = regexp.MustCompile(`(\?\s*)?(\d+): ([^,]+)`)
)

func TestProtocolMessages(t *testing.T) {
	cddl := section(t, "### 8.1 CDDL")
	var document, code, keysInDocument, keysInCode []string
	rules := map[string]bool{"bstr": true, "true": true}
	for _, m := range cddlRule.FindAllStringSubmatch(cddl, -1) {
		if rules[m[1]] {
			t.Errorf("rule %s is defined twice", m[1])
		}
		rules[m[1]] = true
	}
	for _, m := range cddlMessage.FindAllStringSubmatch(cddl, -1) {
		document = append(document, m[1]+"="+m[2])
		for _, k := range cddlKey.FindAllStringSubmatch(m[3], -1) {
			keysInDocument = append(keysInDocument, fmt.Sprintf("%s key %s optional %v", m[1], k[2], k[1] != ""))
			name := cddlArray.ReplaceAllString(strings.TrimSpace(k[3]), "$1")
			if !rules[name] {
				t.Errorf("%s uses rule %q, which is not defined", m[1], name)
			}
		}
	}
	samples := samples(t)
	for _, typ := range wire.Types() {
		code = append(code, fmt.Sprintf("%v=%d", typ, uint8(typ)))
		at := slices.IndexFunc(samples, func(s sample) bool { return s.message.Type() == typ })
		fields := reflect.TypeOf(samples[at].message).Elem()
		for i := range fields.NumField() {
			tag := strings.Split(fields.Field(i).Tag.Get("cbor"), ",")
			optional := slices.Contains(tag, "omitempty") || slices.Contains(tag, "omitzero")
			keysInCode = append(keysInCode, fmt.Sprintf("%v key %s optional %v", typ, tag[0], optional))
		}
	}
	same(t, "message", document, code)
	same(t, "field", keysInDocument, keysInCode)

	union, _, _ := strings.Cut(strings.SplitN(cddl, "message = ", 2)[1], "\n\n")
	var alternatives []string
	for s := range strings.SplitSeq(union, "/") {
		alternatives = append(alternatives, strings.TrimSpace(s))
	}
	var names []string
	for _, typ := range wire.Types() {
		names = append(names, typ.String())
	}
	same(t, "alternative", alternatives, names)

	var sent []string
	for _, r := range rows(section(t, "### 8.2 Who sends what")) {
		for s := range strings.SplitSeq(r[0], ",") {
			sent = append(sent, strings.TrimSpace(s))
		}
		for s := range strings.FieldsFuncSeq(r[3], func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') }) {
			if slices.Contains(names, s) {
				sent = append(sent, s) // named as an answer
			}
		}
	}
	same(t, "message in its table of senders,", sent, names)
}

// What stands beside the CDDL in tables: numbers of roles, operations and states.
func TestProtocolNumbers(t *testing.T) {
	var document, code []string
	for _, heading := range []string{"### 8.4 Presence", "### 8.5 Managing who may watch"} {
		for _, r := range rows(section(t, heading)) {
			document = append(document, r[0]+" "+r[1])
		}
	}
	for s := wire.StateUnavailable; s <= wire.StateSilent; s++ {
		code = append(code, fmt.Sprintf("%d %v", s, s))
	}
	for o := wire.OpList; o <= wire.OpCancel; o++ {
		code = append(code, fmt.Sprintf("%d %v", o, o))
	}
	same(t, "number", document, code)
}

func TestProtocolCodes(t *testing.T) {
	var document, code []string
	for _, r := range rows(section(t, "## 16 Error codes")) {
		document = append(document, strings.Join(r, " "))
	}
	for _, c := range wire.Codes() {
		code = append(code, fmt.Sprintf("%d `%s` %s", uint8(c), c.String(), c.Sentence()))
	}
	same(t, "code", document, code)
}

func TestProtocolFirstBytes(t *testing.T) {
	kinds := map[string]wire.Kind{"STUN": wire.STUN, "initiation": wire.Initiation, "response": wire.Response, "cookie": wire.Cookie,
		"transport:": wire.Transport, "punch": wire.PunchPacket, "ChannelData:": wire.ChannelData, "RTP": wire.RTP}
	listed := map[int]wire.Kind{}
	for _, r := range rows(section(t, "## 4 One port")) {
		from, to, ok := strings.Cut(r[0], "–")
		if !ok {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		kind := kinds[strings.Fields(r[1])[0]]
		if err1 != nil || err2 != nil || kind == wire.Unknown {
			t.Fatalf("row %q: %v, %v", r, err1, err2)
		}
		for b := first; b <= last; b++ {
			listed[b] = kind
		}
	}
	for b := range 256 {
		if got := wire.Classify([]byte{byte(b)}); got != listed[b] {
			t.Errorf("first byte %d: the code says %v, PROTOCOL.md %v", b, got, listed[b])
		}
	}
}

func TestProtocolPrologues(t *testing.T) {
	text := section(t, "## 5 Sessions")
	for _, p := range []string{core.PrologueRendezvous, core.PrologueCamera} {
		if !strings.Contains(text, "`"+p+"`") {
			t.Errorf("PROTOCOL.md does not give the prologue %q", p)
		}
	}
}

func TestProtocolStrategies(t *testing.T) {
	var document, code []string
	for _, r := range rows(section(t, "## 13 Strategies")) {
		document = append(document, strings.Join(r, " "))
	}
	yes := map[bool]string{true: "yes", false: "no"}
	ms := func(d time.Duration) string {
		if d == 0 {
			return "–"
		}
		return strconv.FormatInt(d.Milliseconds(), 10)
	}
	for _, p := range punch.Policies() {
		fast := make([]string, len(p.Fast))
		for i, d := range p.Fast {
			fast[i] = strconv.FormatInt(d.Milliseconds(), 10)
		}
		if len(fast) == 0 {
			fast = []string{"–"}
		}
		code = append(code, strings.Join([]string{p.Name, yes[p.Direct], yes[p.Relay], strings.Join(fast, ", "), ms(p.Slow), ms(p.GiveUp), strconv.Itoa(p.Blind)}, " "))
	}
	same(t, "strategy", document, code)
}

func TestProtocolTimersAndLimits(t *testing.T) {
	c := readConstants(t, "session", "wire", "identity", "punch", "uplink", "rendezvous", "camera", "viewer", "pairing")
	table := func(heading string) (out []string) {
		for _, r := range rows(section(t, heading)) {
			if strings.HasPrefix(r[0], "`") {
				out = append(out, strings.Trim(r[0], "`")+" = "+r[1])
			}
		}
		return out
	}
	same(t, "timer", table("## 14 Timers"), c.timers())
	same(t, "limit", table("## 15 Limits"), c.limits("session", "wire", "identity", "punch", "rendezvous", "pairing"))
}
