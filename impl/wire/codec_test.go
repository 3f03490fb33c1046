package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

func TestMessagesRoundTrip(t *testing.T) {
	seen := map[wire.Type]bool{}
	for _, s := range samples(t) {
		b := marshal(t, s.message)
		got, err := wire.Unmarshal(b)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if d := cmp.Diff(s.message, got, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, d)
		}
		typ := b[2]
		if typ == 0x18 {
			typ = b[3]
		}
		if b[1] != 0 || wire.Type(typ) != s.message.Type() {
			t.Errorf("%s starts with % x", s.name, b[:3])
		}
		seen[s.message.Type()] = true
	}
	for _, typ := range wire.Types() {
		if !seen[typ] {
			t.Errorf("no sample of %v", typ)
		}
	}
}

func TestMessagesTruncated(t *testing.T) {
	for _, s := range samples(t) {
		b := marshal(t, s.message)
		for n := range b {
			if _, err := wire.Unmarshal(b[:n]); err == nil {
				t.Errorf("%s: decoded %d bytes of %d", s.name, n, len(b))
			}
		}
	}
}

// A flipped bit gives another message or an error, never the same message.
func TestMessagesBitFlips(t *testing.T) {
	for _, s := range samples(t) {
		b := marshal(t, s.message)
		for bit := range len(b) * 8 {
			c := bytes.Clone(b)
			c[bit/8] ^= 1 << (bit % 8)
			m, err := wire.Unmarshal(c)
			if err != nil {
				continue
			}
			if again := marshal(t, m); !bytes.Equal(again, c) {
				t.Errorf("%s with bit %d flipped: %x decodes and encodes as %x", s.name, bit, c, again)
			}
		}
	}
}

// otherEncodings are the ways to write a message otherwise than PROTOCOL.md says,
// beside some that are right.
var otherEncodings = []struct {
	name, hex string
	want      error
}{
	{"ping", "a2000501182a", nil},
	{"trailing byte", "a2000501182a00", wire.ErrNotCanonical},
	{"trailing break", "a2000501182aff", wire.ErrNotCanonical},
	{"unknown key", "a3000501182a0203", wire.ErrNotCanonical},
	{"missing key", "a10005", wire.ErrNotCanonical},
	{"key twice", "a3000501182a01182a", wire.ErrNotCanonical},
	{"type twice", "a300050005182a", wire.ErrNotCanonical},
	{"long integer", "a200050119002a", wire.ErrNotCanonical},
	{"long key", "a200051801182a", wire.ErrNotCanonical},
	{"long type", "a200180501182a", wire.ErrUnknownType},
	{"long map", "b802000501182a", wire.ErrNotMessage},
	{"indefinite map", "bf000501182aff", wire.ErrNotMessage},
	{"float", "a2000501f95140", wire.ErrNotCanonical},
	{"negative", "a200050120", wire.ErrNotCanonical},
	{"null", "a2000501f6", wire.ErrNotCanonical},
	{"tag", "a2000501c1182a", wire.ErrNotCanonical},
	{"bignum", "a2000501c241ff", wire.ErrNotCanonical},
	{"text key", "a20005613101", wire.ErrNotCanonical},
	{"type not first", "a201182a0005", wire.ErrNotMessage},
	{"array", "82051a", wire.ErrNotMessage},
	{"tagged map", "d9d9f7a2000501182a", wire.ErrNotMessage},
	{"empty map", "a0", wire.ErrNotMessage},
	{"nothing", "", wire.ErrNotMessage},
	{"type 0", "a10000", wire.ErrUnknownType},
	{"type 34", "a1001822", wire.ErrUnknownType},
	{"type 255", "a10018ff", wire.ErrUnknownType},
	{"type of two bytes that fits one", "a20018170101", wire.ErrUnknownType},
	{"type of four bytes", "a200190019" + "0101", wire.ErrUnknownType},
	{"again", "a20018190101", nil},
	{"again, cut after the type's first byte", "a20018", wire.ErrUnknownType},
	{"pong", "a30006010102465db8d8221234", nil},
	{"default written out", "a200070100", wire.ErrNotCanonical},
	{"order", "a3000602460102030412340101", wire.ErrNotCanonical},
	{"false written out", "a3000801010400", wire.ErrNotCanonical},
	{"short byte string", "a2000f014701020304050607", wire.ErrNotCanonical},
	{"long byte string", "a2000f0149010203040506070809", wire.ErrNotCanonical},
	{"text for bytes", "a2000f01683132333435363738", wire.ErrNotCanonical},
	{"array for bytes", "a2000f01880102030405060708", wire.ErrNotCanonical},
	{"chunked bytes", "a2000f015f44010203044405060708ff", wire.ErrNotCanonical},
	{"all-zero class written out", "a300150101024a00000000000000000000", wire.ErrNotCanonical},
	{"empty candidates written out", "a3001501010380", wire.ErrNotCanonical},
	{"class of nine bytes", "a30015010102491100000000000000" + "00", wire.ErrNotCanonical},
	{"class with a reserved bit", "a300150101024a11100000000000000000", wire.ErrNotCanonical},
	{"empty certificate written out", "a3000101010440", wire.ErrNotCanonical},
	{"role 0 written out", "a5000e010702186003" + "1a00015f900700", wire.ErrNotCanonical},
	{"no code in denied", "a200181c0100", wire.ErrInvalid},
	{"nothing watched", "a300181d01010280", wire.ErrInvalid},
	{"status of 32 bytes", "a300181e0101" + "03815820" + strings.Repeat("30", 32), wire.ErrNotCanonical},
	{"presence of nothing", "a200181e0101", wire.ErrInvalid},
	{"operation 7", "a300182001010207", wire.ErrInvalid},
	{"list with a role", "a40018200101" + "02010402", wire.ErrInvalid},
	{"name with a line break", "a60018200101" + "0202" + "0402" + "06" + "50" + strings.Repeat("11", 16) + "07410a", wire.ErrInvalid},
	{"member with an unknown key", "a30018210101" + "0381a3015820" + strings.Repeat("11", 32) + "02020501", wire.ErrNotCanonical},
	{"member out of order", "a30018210101" + "0381a20202015820" + strings.Repeat("11", 32), wire.ErrNotCanonical},
	{"integer too big", "a30012011b000000010000000002480000000000000000", wire.ErrNotCanonical},
}

func TestOnlyOneEncoding(t *testing.T) {
	for _, c := range otherEncodings {
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := wire.Unmarshal(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
}

func TestImpossibleValues(t *testing.T) {
	camera := key(t, 1).Public()
	uid := camera.UID()
	badUID := uid
	badUID[0], badUID[1] = badUID[1], badUID[0]
	noise1 := make([]byte, session.MinInitiation)
	v4 := at("192.0.2.1:1")
	hello := func(change func(*wire.Hello)) *wire.Hello {
		h := &wire.Hello{Version: 1, ID: 1, PunchKey: wire.PunchKey{1}, Profile: wire.ProfileAES128GCM}
		change(h)
		return h
	}
	for name, m := range map[string]wire.Message{
		"version 0":         &wire.Register{},
		"login version 0":   &wire.Login{},
		"expiry":            &wire.Registered{Endpoint: v4, Keepalive: 15, Expiry: 15},
		"keepalive 0":       &wire.Registered{Endpoint: v4, Expiry: 15},
		"login expiry":      &wire.LoggedIn{Endpoint: v4},
		"id 0":              &wire.Connect{Camera: uid, Noise1: noise1},
		"UID":               &wire.Connect{ID: 1, Camera: badUID, Noise1: noise1},
		"no UID":            &wire.Connect{ID: 1, Noise1: noise1},
		"short initiation":  &wire.Connect{ID: 1, Camera: uid, Noise1: noise1[1:]},
		"long initiation":   &wire.Introduce{ID: 1, Endpoint: v4, Noise1: make([]byte, session.MaxInitiation+1)},
		"channel below":     &wire.Peer{ID: 1, Endpoint: v4, Channel: wire.MinChannel - 1},
		"channel above":     &wire.Introduce{ID: 1, Endpoint: v4, Noise1: noise1, Channel: wire.MaxChannel + 1},
		"no code":           &wire.Refused{ID: 1},
		"local code":        &wire.Refused{ID: 1, Code: wire.CodeCameraSilent},
		"local code in bye": &wire.Bye{Code: wire.FirstLocalCode},
		"unknown flag":      hello(func(h *wire.Hello) { h.Flags = 8 }),
		"hello version":     hello(func(h *wire.Hello) { h.Version = 0 }),
		"hello id":          hello(func(h *wire.Hello) { h.ID = 0 }),
		"punch key":         hello(func(h *wire.Hello) { h.PunchKey = wire.PunchKey{} }),
		"strategy":          hello(func(h *wire.Hello) { h.Strategy = []byte("Relay") }),
		"long strategy":     hello(func(h *wire.Hello) { h.Strategy = bytes.Repeat([]byte{'z'}, wire.MaxStrategy+1) }),
		"candidates":        hello(func(h *wire.Hello) { h.Candidates = make([]wire.Endpoint, wire.MaxCandidates+1) }),
		"candidate":         hello(func(h *wire.Hello) { h.Candidates = []wire.Endpoint{at("224.0.0.1:1")} }),
		"payload type":      &wire.Welcome{Profile: 7, PayloadType: 95, ClockRate: 90000},
		"clock rate":        &wire.Welcome{Profile: 7, PayloadType: 96},
		"token 0":           &wire.PathChallenge{},
		"response token 0":  &wire.PathResponse{},
		"use 0":             &wire.Use{},
		"padding":           &wire.Consent{Padding: wire.Padding{7: 1}},
		"no endpoint":       &wire.Peer{ID: 1},
		"report 0":          &wire.Report{},
		"reported 0":        &wire.Reported{},
		"sample 0":          &wire.Sample{},
		"sampled 0":         &wire.Sampled{ID: 1, Endpoint: v4},
		"again 0":           &wire.Again{},
		"located 0":         &wire.Located{ID: 1, Endpoint: v4},
		"located-ack 0":     &wire.LocatedAck{ID: 1},
		"located channel":   &wire.Located{ID: 1, Sequence: 1, Endpoint: v4, Channel: 1},
		"located code":      &wire.LocatedAck{ID: 1, Sequence: 1, Code: wire.FirstLocalCode},
		"report candidates": &wire.Report{Sequence: 1, Candidates: make([]wire.Endpoint, wire.MaxCandidates+1)},
		"peer candidate":    &wire.Peer{ID: 1, Endpoint: v4, Candidates: []wire.Endpoint{at("192.0.2.1:0")}},
		"located candidate": &wire.Located{ID: 1, Sequence: 1, Endpoint: v4, Candidates: []wire.Endpoint{{}}},
		"alternate":         &wire.LoggedIn{Endpoint: v4, Expiry: 1, Alternate: at("0.0.0.0:1")},
		"camera alternate":  &wire.Registered{Endpoint: v4, Keepalive: 1, Expiry: 2, Alternate: at("0.0.0.0:1")},
		"stream port 0":     &wire.Peer{ID: 1, Endpoint: at("[2001:db8::1%tcp]:0")},
		"stream to many":    &wire.Peer{ID: 1, Endpoint: at("[::ffff:224.0.0.1%tls]:1")},
		"port 0":            &wire.Peer{ID: 1, Endpoint: at("192.0.2.1:0")},
		"unspecified":       &wire.Peer{ID: 1, Endpoint: at("0.0.0.0:1")},
		"unspecified ipv6":  &wire.Peer{ID: 1, Endpoint: at("[::]:1")},
		"broadcast":         &wire.Peer{ID: 1, Endpoint: at("255.255.255.255:1")},
		"multicast":         &wire.Peer{ID: 1, Endpoint: at("[ff02::1]:1")},
		"certificate":       &wire.Register{Version: 1, Certificate: make([]byte, wire.MaxCertificate+1)},
		"token":             &wire.Login{Version: 1, Token: make([]byte, wire.MaxToken+1)},
		"role":              &wire.Welcome{Profile: 7, PayloadType: 96, ClockRate: 90000, Role: 3},
		"long name":         hello(func(h *wire.Hello) { h.Name = bytes.Repeat([]byte{'z'}, wire.MaxName+1) }),
		"name not UTF-8":    hello(func(h *wire.Hello) { h.Name = []byte{0xff} }),
		"name with escape":  hello(func(h *wire.Hello) { h.Name = []byte("a\x1b[2J") }),
		"name turned round": hello(func(h *wire.Hello) { h.Name = []byte("nnA\u202e") }),
		"name of two lines": hello(func(h *wire.Hello) { h.Name = []byte("Ann\u2028owner") }),
		"denied":            &wire.Denied{},
		"denied, local":     &wire.Denied{Code: wire.CodeStrategy},
		"watch 0":           &wire.Watch{Cameras: []identity.UID{uid}},
		"watch nothing":     &wire.Watch{Sequence: 1},
		"watch UID":         &wire.Watch{Sequence: 1, Cameras: []identity.UID{uid, badUID}},
		"watch too many":    &wire.Watch{Sequence: 1, Cameras: slices.Repeat([]identity.UID{uid}, wire.MaxWatched+1)},
		"presence 0":        &wire.Presence{Answers: 1},
		"presence of none":  &wire.Presence{Sequence: 1},
		"too many statuses": &wire.Presence{Sequence: 1, Cameras: slices.Repeat([]wire.Status{{UID: uid}}, wire.MaxStatuses+1)},
		"presence-ack 0":    &wire.PresenceAck{},
		"manage 0":          &wire.Manage{Op: wire.OpList},
		"no operation":      &wire.Manage{Sequence: 1},
		"operation":         &wire.Manage{Sequence: 1, Op: 7},
		"list of a key":     &wire.Manage{Sequence: 1, Op: wire.OpList, Key: camera},
		"invite nobody":     &wire.Manage{Sequence: 1, Op: wire.OpInvite, Role: wire.RoleGuest},
		"invite as nothing": &wire.Manage{Sequence: 1, Op: wire.OpInvite, Secret: identity.Secret{1}},
		"invite as 3":       &wire.Manage{Sequence: 1, Op: wire.OpInvite, Secret: identity.Secret{1}, Role: 3},
		"invite from":       &wire.Manage{Sequence: 1, Op: wire.OpInvite, Secret: identity.Secret{1}, Role: wire.RoleGuest, From: 1},
		"revoke nobody":     &wire.Manage{Sequence: 1, Op: wire.OpRevoke},
		"revoke for a time": &wire.Manage{Sequence: 1, Op: wire.OpRevoke, Key: camera, Seconds: 1},
		"revoke a name":     &wire.Manage{Sequence: 1, Op: wire.OpRevoke, Key: camera, Name: []byte("a")},
		"role of nobody":    &wire.Manage{Sequence: 1, Op: wire.OpSetRole, Role: wire.RoleGuest},
		"release a key":     &wire.Manage{Sequence: 1, Op: wire.OpRelease, Key: camera},
		"cancel nothing":    &wire.Manage{Sequence: 1, Op: wire.OpCancel},
		"managed 0":         &wire.Managed{},
		"managed code":      &wire.Managed{Sequence: 1, Code: wire.FirstLocalCode},
		"member without":    &wire.Managed{Sequence: 1, Members: []wire.Member{{Role: wire.RoleOwner}}},
		"member of no role": &wire.Managed{Sequence: 1, Members: []wire.Member{{Key: camera}}},
		"member's name":     &wire.Managed{Sequence: 1, Members: []wire.Member{{Key: camera, Role: wire.RoleOwner, Name: []byte("\x7f")}}},
		"too many members":  &wire.Managed{Sequence: 1, Members: slices.Repeat([]wire.Member{{Key: camera, Role: 1}}, wire.MaxMembers+1)},
		"mapped":            &wire.Peer{ID: 1, Endpoint: wire.Endpoint{AddrPort: netip.MustParseAddrPort("[::ffff:192.0.2.1]:1")}},
		"zone":              &wire.Peer{ID: 1, Endpoint: wire.Endpoint{AddrPort: netip.MustParseAddrPort("[fe80::1%eth0]:1")}},
	} {
		if b, err := wire.Marshal(m); err == nil {
			t.Errorf("%s: encoded as %x", name, b)
		} else if !errors.Is(err, wire.ErrInvalid) && !errors.Is(err, wire.ErrEndpoint) {
			t.Errorf("%s: %v is neither %v nor %v", name, err, wire.ErrInvalid, wire.ErrEndpoint)
		}
	}
}

// Each rule of a class: what it has stands in its range, and only where its model has it.
func TestImpossibleClasses(t *testing.T) {
	for name, c := range map[string]wire.Class{
		"mapping":             {Mapping: 4},
		"filtering":           {Filtering: 15},
		"ports":               {Ports: 5},
		"step alone":          {Ports: wire.PortsRandom, Step: 1},
		"sequence of no step": {Ports: wire.PortsSequential},
		"block alone":         {Ports: wire.PortsPreserved, BlockStart: 1024, BlockSize: 64},
		"start alone":         {Mapping: 1, BlockStart: 1024},
		"block of nothing":    {Ports: wire.PortsBlock, BlockStart: 1024},
		"block past the end":  {Ports: wire.PortsBlock, BlockStart: 65000, BlockSize: 537},
	} {
		for _, m := range []wire.Message{
			&wire.Report{Sequence: 1, Class: c}, &wire.Peer{ID: 1, Endpoint: at("192.0.2.1:1"), Class: c},
			&wire.Located{ID: 1, Sequence: 1, Endpoint: at("192.0.2.1:1"), Class: c},
			&wire.Hello{Version: 1, ID: 1, PunchKey: wire.PunchKey{1}, Class: c},
		} {
			if b, err := wire.Marshal(m); !errors.Is(err, wire.ErrClass) {
				t.Errorf("%s in %v: %x, %v", name, m.Type(), b, err)
			}
		}
	}
	for s, want := range map[string]wire.Class{
		"unknown": {},
		"mapping endpoint-independent, filtering unknown, ports sequential by -3, no NAT, timeout 30 s": {
			Mapping: 1, Ports: wire.PortsSequential, Step: -3, NoNAT: true, Timeout: 30},
		"mapping address-dependent, filtering address-and-port-dependent, ports block of 64 from 1024, hairpin": {
			Mapping: 2, Filtering: 3, Ports: wire.PortsBlock, BlockStart: 1024, BlockSize: 64, Hairpin: true},
	} {
		if want.String() != s {
			t.Errorf("%q, want %q", want, s)
		}
	}
}

// The fields' own decoders refuse by themselves what is no field.
func TestOddFields(t *testing.T) {
	for _, s := range []string{"", "4a", "4a11100000000000000000", "4a11200000000000000000", "49111000000000000000",
		"4b1100000000000000000000", "6a11000000000000000000"} {
		b, _ := hex.DecodeString(s)
		if c := new(wire.Class); c.UnmarshalCBOR(b) == nil {
			t.Errorf("%s is read as %v", s, c)
		}
	}
	for _, s := range []string{"", "46", "40", "66c00002010001", "45c000020101", "48c000020100010000", "4711c00002010001", "4706c000020100010000",
		"5200000000000000000000ffffc00002010001", "530600000000000000000000ffffc00002010001"} {
		b, _ := hex.DecodeString(s)
		if e := new(wire.Endpoint); e.UnmarshalCBOR(b) == nil {
			t.Errorf("%s is read as %v", s, e)
		}
	}
}

// A status stands in its range, both ways.
func TestImpossibleStatuses(t *testing.T) {
	uid := key(t, 1).Public().UID()
	badUID := uid
	badUID[0], badUID[1] = badUID[1], badUID[0]
	for _, c := range []wire.Status{{}, {UID: badUID}, {UID: uid, State: 4}, {UID: uid, Age: 1}} {
		m := &wire.Presence{Sequence: 1, Cameras: []wire.Status{c}}
		if b, err := wire.Marshal(m); !errors.Is(err, wire.ErrStatus) {
			t.Errorf("%+v: %x, %v", c, b, err)
		}
		b := append(append([]byte{0x58, byte(wire.StatusSize)}, c.UID[:]...), byte(c.State), 0, 0, 0, byte(c.Age))
		if s := new(wire.Status); s.UnmarshalCBOR(b) == nil {
			t.Errorf("%x is read as %+v", b, s)
		}
	}
	good := append(append([]byte{0x58, byte(wire.StatusSize)}, uid[:]...), 1, 0, 0, 0, 0)
	for _, b := range [][]byte{nil, good[:len(good)-1], append(bytes.Clone(good), 0), append([]byte{0x78}, good[1:]...), append([]byte{0x58, 32}, good[2:]...)} {
		if s := new(wire.Status); s.UnmarshalCBOR(b) == nil {
			t.Errorf("%x is read as %+v", b, s)
		}
	}
	for s, want := range map[fmt.Stringer]string{wire.StateLeft: "left", wire.State(9): "state-9", wire.RoleGuest: "guest", wire.Role(0): "none",
		wire.Role(9): "role-9", wire.RoleOwner: "owner", wire.OpSetRole: "set-role", wire.Op(9): "op-9"} {
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]bool{"": false, "Ann's téléphone": true, "a\nb": false, "\u0085": false, "\xff": false,
		strings.Repeat("z", wire.MaxName): true, strings.Repeat("é", wire.MaxName/2+1): false} {
		if wire.ValidName(s) != want {
			t.Errorf("%q is a name: %v", s, !want)
		}
	}
}

// A stream's endpoint is another than the datagrams' of the same address, and survives the wire.
func TestStreamEndpoints(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range []string{"192.0.2.1:5", "[::ffff:192.0.2.1%tcp]:5", "[::ffff:192.0.2.1%tls]:5", "[2001:db8::1]:5", "[2001:db8::1%tcp]:5"} {
		b := marshal(t, &wire.Peer{ID: 1, Endpoint: at(a)})
		m, err := wire.Unmarshal(b)
		if err != nil || m.(*wire.Peer).Endpoint.AddrPort != netip.MustParseAddrPort(a) || seen[string(b)] {
			t.Errorf("%s: %x, %+v, %v", a, b, m, err)
		}
		seen[string(b)] = true
	}
}

// The decoder validates as well: values that Marshal would not write.
func TestImpossibleValuesReceived(t *testing.T) {
	for name, s := range map[string]string{
		"version 0":     "a200010100",
		"certificate":   "a30001010104" + "590101" + strings.Repeat("00", 257),
		"name":          "a6000d010102010450" + "01" + strings.Repeat("00", 15) + "06070a410a",
		"role":          "a5000e010702186003" + "1a00015f900703",
		"invitation":    "a500182001010202" + "040306" + "50" + strings.Repeat("11", 16),
		"code 64":       "a3000c0101021840",
		"port 0":        "a3000601010246010203040000",
		"multicast":     "a3000601010246e00000010001",
		"mapped":        "a300060101025200000000000000000000ffff010203040001",
		"five bytes":    "a300060101024501020304ff",
		"stream 17":     "a3000601010247" + "11" + "c0000201" + "0001",
		"stream mapped": "a3000601010253" + "06" + "00000000000000000000ffffc0000201" + "0001",
		"token 0":       "a2000f01480000000000000000",
		"payload type":  "a5000e010702185f031a00015f900401",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m, err := wire.Unmarshal(b); err == nil {
			t.Errorf("%s: decoded as %+v", name, m)
		}
	}
}

func TestCodesOfLaterVersionsDecode(t *testing.T) {
	b, _ := hex.DecodeString("a3000c010102183f")
	m, err := wire.Unmarshal(b)
	if err != nil || m.(*wire.Refused).Code != 63 {
		t.Errorf("code 63: %v, %v", m, err)
	}
}

func TestEndpointsAreUnmapped(t *testing.T) {
	if got := wire.Ats([]netip.AddrPort{netip.MustParseAddrPort("[::ffff:192.0.2.1]:5"), netip.MustParseAddrPort("[fe80::1%eth0]:5")}); got[0] != at("192.0.2.1:5") || got[1] != at("[fe80::1]:5") {
		t.Errorf("Ats = %v", got)
	}
}

// Everything but media fits one datagram, and no answer is longer than what it
// answers.
func TestSizes(t *testing.T) {
	uid := key(t, 1).Public().UID()
	far := at("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
	farther := at("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff%tls]:65535")
	longest := make([]byte, session.MaxInitiation)
	relayed := func(payload int) int { return payload + session.TransportOverhead + wire.ChannelOverhead }
	for _, m := range []wire.Message{
		&wire.Connect{ID: 1<<64 - 1, Camera: uid, Noise1: longest, Relay: true},
		&wire.Introduce{ID: 1<<64 - 1, Endpoint: farther, Noise1: longest, Channel: wire.MaxChannel},
		&wire.Watch{Sequence: 1<<32 - 1, Cameras: slices.Repeat([]identity.UID{uid}, wire.MaxWatched), End: true},
		&wire.Presence{Sequence: 1<<32 - 1, Answers: 1<<32 - 1,
			Cameras: slices.Repeat([]wire.Status{{UID: uid, State: wire.StateOnline}}, wire.MaxStatuses)},
		&wire.Managed{Sequence: 1<<32 - 1, Code: 63, Next: 1<<32 - 1, Members: slices.Repeat([]wire.Member{{Key: identity.PublicKey{1},
			Role: wire.RoleGuest, Name: bytes.Repeat([]byte{'z'}, wire.MaxName), Seconds: 1<<32 - 1}}, wire.MaxMembers)},
	} {
		if n := relayed(len(marshal(t, m))); n > session.MaxDatagram {
			t.Errorf("%v takes %d bytes", m.Type(), n)
		}
	}
	hello := &wire.Hello{Version: 255, ID: 1<<64 - 1, Proof: identity.Proof{1}, PunchKey: wire.PunchKey{1}, Flags: 7, Profile: 0xffff,
		Class: wire.Class{Ports: wire.PortsBlock, BlockSize: 1}, Strategy: bytes.Repeat([]byte{'z'}, wire.MaxStrategy),
		Name: bytes.Repeat([]byte{'z'}, wire.MaxName)}
	for range wire.MaxCandidates {
		hello.Candidates = append(hello.Candidates, farther)
	}
	if n := len(marshal(t, hello)) + session.InitiationOverhead; n > session.MaxInitiation {
		t.Errorf("the longest Hello's initiation takes %d bytes", n)
	}
	for _, m := range []wire.Message{
		&wire.Register{Version: 255, Keepalive: 65535, Boot: 1<<64 - 1, Certificate: make([]byte, wire.MaxCertificate)},
		&wire.Login{Version: 255, Token: make([]byte, wire.MaxToken)},
	} {
		if n := len(marshal(t, m)) + session.InitiationOverhead; n > session.MaxInitiation {
			t.Errorf("the longest initiation with %v takes %d bytes", m.Type(), n)
		}
	}
	welcome := len(marshal(t, &wire.Welcome{Profile: 0xffff, PayloadType: 127, ClockRate: 1<<32 - 1, Width: 65535, Height: 65535, FrameRate: 1<<32 - 1,
		Role: wire.RoleGuest}))
	challenge := len(marshal(t, &wire.PathChallenge{Token: wire.Token{1}}))
	if n := session.ResponseOverhead + welcome + session.TransportOverhead + challenge; n > wire.DefaultPunch {
		t.Errorf("the answer to a punch takes %d bytes, the punch %d", n, wire.DefaultPunch)
	}
	for _, m := range []wire.Message{&wire.Use{Sequence: 1}, &wire.Consent{}} {
		if n := len(marshal(t, m)); n < challenge {
			t.Errorf("a challenge of %d bytes may answer %v of %d", challenge, m.Type(), n)
		}
	}
	registered := len(marshal(t, &wire.Registered{Endpoint: farther, Keepalive: 1000, Expiry: 65535, Alternate: far}))
	if n := session.ResponseOverhead + max(registered, welcome); n > session.MinInitiation || session.CookieSize > session.MinInitiation {
		t.Errorf("a response takes %d bytes, the initiation %d", n, session.MinInitiation)
	}
	if _, err := wire.Unmarshal(make([]byte, wire.MaxMessage+1)); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("an oversized message: %v", err)
	}
	if 5*wire.DefaultPunch > 1024 {
		t.Errorf("five punches take %d bytes", 5*wire.DefaultPunch)
	}
}

func TestCodes(t *testing.T) {
	names := map[string]bool{}
	for _, c := range wire.Codes() {
		if names[c.String()] || c.Sentence() == "" || c.Error() != c.Sentence() || !c.Known() {
			t.Errorf("code %d: %q, %q", uint8(c), c, c.Sentence())
		}
		names[c.String()] = true
		if c.Travels() != (c < wire.FirstLocalCode) {
			t.Errorf("code %v travels: %v", c, c.Travels())
		}
	}
	if wire.Code(0).Known() || wire.Code(63).Travels() || wire.Code(63).String() != "code-63" {
		t.Error("an unknown code is known")
	}
}

// A refused message's reason does not quote the message: the map in which reasons are counted would grow with what an
// attacker chooses.
func TestReasonsDoNotQuoteTheMessage(t *testing.T) {
	reasons := core.Drops{}
	for i := range byte(200) {
		for _, b := range [][]byte{{0xa2, 0, 1, 1, 0x19, 1, i}, {0xa2, 0, 5, 0x18, 24 + i%200, 1}, {0xa2, 0, 5, 1, 0x61, i}, {0xa2, 0, i, 1, 1}} {
			if _, err := wire.Unmarshal(b); err != nil {
				reasons[core.Reason(err)]++
			}
		}
	}
	if len(reasons) > 6 {
		t.Errorf("%d reasons: %v", len(reasons), reasons)
	}
}
