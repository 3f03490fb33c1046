package wire_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

func at(s string) wire.Endpoint { return wire.At(netip.MustParseAddrPort(s)) }

func key(t testing.TB, first byte) identity.Key {
	t.Helper()
	var private [32]byte
	for i := range private {
		private[i] = first + byte(i)
	}
	k, err := identity.KeyFromPrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sample is a message with a name for its scenario.
type sample struct {
	name    string
	message wire.Message
}

// samples has each type at least once, with and without what is optional.
func samples(t testing.TB) []sample {
	uid, other := key(t, 1).Public().UID(), key(t, 4).Public().UID()
	secret := identity.Secret(fixed(0xc0, 16))
	noise1 := bytes.Repeat([]byte{0xee}, session.MinInitiation)
	proof := identity.PairingProof(identity.Secret{1}, key(t, 2).Public(), key(t, 1).Public())
	v4, v6 := at("192.0.2.1:40000"), at("[2001:db8::1]:443")
	tcp, tls := at("[::ffff:192.0.2.1%tcp]:40000"), at("[2001:db8::1%tls]:443")
	sequential := wire.Class{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressDependent, Ports: wire.PortsSequential,
		Step: -2, Timeout: 30}
	block := wire.Class{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsBlock,
		BlockStart: 40960, BlockSize: 512, Hairpin: true}
	open := wire.Class{Mapping: wire.EndpointIndependent, Filtering: wire.EndpointIndependent, Ports: wire.PortsPreserved, NoNAT: true}
	return []sample{
		{"register", &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15, Boot: 7}},
		{"register-least", &wire.Register{Version: wire.ProtocolVersion}},
		{"registered", &wire.Registered{Endpoint: v4, Keepalive: 15, Expiry: 60}},
		{"registered-ipv6", &wire.Registered{Endpoint: v6, Keepalive: 25, Expiry: 100}},
		{"registered-alternate", &wire.Registered{Endpoint: tcp, Keepalive: 15, Expiry: 60, Alternate: v6}},
		{"register-certificate", &wire.Register{Version: wire.ProtocolVersion, Certificate: fixed(0, 153)}},
		{"login-token", &wire.Login{Version: wire.ProtocolVersion, Token: fixed(0x80, 105)}},
		{"login", &wire.Login{Version: wire.ProtocolVersion}},
		{"logged-in", &wire.LoggedIn{Endpoint: v4, Expiry: 60}},
		{"logged-in-alternate", &wire.LoggedIn{Endpoint: tls, Expiry: 60, Alternate: v4}},
		{"ping", &wire.Ping{Sequence: 1 << 40}},
		{"pong", &wire.Pong{Sequence: 1 << 40}},
		{"pong-endpoint", &wire.Pong{Sequence: 2, Endpoint: v4}},
		{"goodbye", &wire.Goodbye{}},
		{"goodbye-code", &wire.Goodbye{Code: wire.CodeReplaced}},
		{"connect", &wire.Connect{ID: 0x0123456789abcdef, Camera: uid, Noise1: noise1}},
		{"connect-relay", &wire.Connect{ID: 1, Camera: uid, Noise1: noise1, Relay: true}},
		{"peer", &wire.Peer{ID: 1, Endpoint: v6}},
		{"peer-channel", &wire.Peer{ID: 1, Endpoint: v4, Channel: wire.MinChannel}},
		{"peer-class", &wire.Peer{ID: 1, Endpoint: tls, Class: open, Candidates: []wire.Endpoint{v4, tcp}}},
		{"introduce", &wire.Introduce{ID: 1, Endpoint: v4, Noise1: noise1}},
		{"introduce-channel", &wire.Introduce{ID: 1, Endpoint: v4, Noise1: noise1, Channel: wire.MaxChannel}},
		{"introduce-ack", &wire.IntroduceAck{ID: 1}},
		{"introduce-ack-code", &wire.IntroduceAck{ID: 1, Code: wire.CodeNotPaired}},
		{"refused", &wire.Refused{ID: 1, Code: wire.CodeUnavailable}},
		{"hello", &wire.Hello{Version: wire.ProtocolVersion, ID: 1, Proof: proof, PunchKey: wire.PunchKey{1, 15: 2},
			Flags: wire.FlagStart | wire.FlagDirect | wire.FlagRelay, Profile: wire.ProfileAES128GCM,
			Candidates: []wire.Endpoint{at("10.0.0.2:5000"), v6}}},
		{"hello-least", &wire.Hello{Version: wire.ProtocolVersion, ID: 1, PunchKey: wire.PunchKey{1}, Profile: wire.ProfileAES128GCM}},
		{"hello-class", &wire.Hello{Version: wire.ProtocolVersion, ID: 1, PunchKey: wire.PunchKey{1}, Profile: wire.ProfileAES128GCM, Class: block,
			Strategy: []byte("birthday:256x1024")}},
		{"welcome", &wire.Welcome{Profile: wire.ProfileAES128GCM, PayloadType: 96, ClockRate: 90000,
			Width: 1280, Height: 720, FrameRate: 30000}},
		{"hello-name", &wire.Hello{Version: wire.ProtocolVersion, ID: 1, PunchKey: wire.PunchKey{1}, Profile: wire.ProfileAES128GCM,
			Name: []byte("Ann's téléphone")}},
		{"welcome-role", &wire.Welcome{Profile: wire.ProfileAES128GCM, PayloadType: 96, ClockRate: 90000, Role: wire.RoleOwner}},
		{"welcome-least", &wire.Welcome{Profile: wire.ProfileAES128GCM, PayloadType: 127, ClockRate: 90000}},
		{"path-challenge", &wire.PathChallenge{Token: wire.Token{1, 2, 3, 4, 5, 6, 7, 8}}},
		{"path-response", &wire.PathResponse{Token: wire.Token{1, 2, 3, 4, 5, 6, 7, 8}}},
		{"use", &wire.Use{Sequence: 1, Token: wire.Token{1, 2, 3, 4, 5, 6, 7, 8}, Next: 1 << 20}},
		{"use-least", &wire.Use{Sequence: 2}},
		{"consent", &wire.Consent{Sequence: 3}},
		{"consent-ack", &wire.ConsentAck{Sequence: 3}},
		{"bye", &wire.Bye{}},
		{"bye-code", &wire.Bye{Code: wire.CodeEnded}},
		{"report", &wire.Report{Sequence: 2, Class: sequential, Candidates: []wire.Endpoint{v6, tcp, tls}}},
		{"report-least", &wire.Report{Sequence: 1}},
		{"reported", &wire.Reported{Sequence: 2}},
		{"sample", &wire.Sample{ID: 1}},
		{"sampled", &wire.Sampled{ID: 2, Endpoint: v4, Count: 3}},
		{"again", &wire.Again{ID: 1}},
		{"again-relay", &wire.Again{ID: 1, Relay: true}},
		{"located", &wire.Located{ID: 1, Sequence: 4, Endpoint: v4, Channel: wire.MinChannel, Class: sequential, Candidates: []wire.Endpoint{v6}}},
		{"located-least", &wire.Located{ID: 1, Sequence: 1, Endpoint: v6}},
		{"located-ack", &wire.LocatedAck{ID: 1, Sequence: 4}},
		{"located-ack-code", &wire.LocatedAck{ID: 1, Sequence: 4, Code: wire.CodeEnded}},
		{"denied", &wire.Denied{Code: wire.CodeCertificateExpired}},
		{"denied-retry", &wire.Denied{Code: wire.CodeShuttingDown, Retry: 300}},
		{"watch", &wire.Watch{Sequence: 1, Cameras: []identity.UID{uid, other}}},
		{"watch-end", &wire.Watch{Sequence: 2, Cameras: []identity.UID{uid}, End: true}},
		{"presence", &wire.Presence{Sequence: 1, Answers: 1, Cameras: []wire.Status{{UID: uid, State: wire.StateOnline, Age: 86400}, {UID: other}}}},
		{"presence-change", &wire.Presence{Sequence: 2, Cameras: []wire.Status{{UID: uid, State: wire.StateSilent, Age: 40}}}},
		{"presence-end", &wire.Presence{Sequence: 3, Answers: 2}},
		{"presence-ack", &wire.PresenceAck{Sequence: 3}},
		{"manage-list", &wire.Manage{Sequence: 1, Op: wire.OpList}},
		{"manage-list-on", &wire.Manage{Sequence: 2, Op: wire.OpList, From: 8}},
		{"manage-invite", &wire.Manage{Sequence: 3, Op: wire.OpInvite, Role: wire.RoleGuest, Seconds: 604800, Secret: secret, Name: []byte("Bob")}},
		{"manage-revoke", &wire.Manage{Sequence: 4, Op: wire.OpRevoke, Key: key(t, 2).Public()}},
		{"manage-set-role", &wire.Manage{Sequence: 5, Op: wire.OpSetRole, Key: key(t, 2).Public(), Role: wire.RoleOwner}},
		{"manage-release", &wire.Manage{Sequence: 6, Op: wire.OpRelease}},
		{"manage-cancel", &wire.Manage{Sequence: 7, Op: wire.OpCancel, Secret: secret}},
		{"managed", &wire.Managed{Sequence: 3}},
		{"managed-code", &wire.Managed{Sequence: 4, Code: wire.CodeNotAllowed}},
		{"managed-members", &wire.Managed{Sequence: 1, Next: 2, Members: []wire.Member{{Key: key(t, 2).Public(), Role: wire.RoleOwner, Name: []byte("Ann")},
			{Key: key(t, 3).Public(), Role: wire.RoleGuest, Seconds: 3600}}}},
	}
}

func marshal(t testing.TB, m wire.Message) []byte {
	t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
