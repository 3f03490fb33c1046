package wire_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/flynn/noise"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// fixed returns n bytes that count up from first.
func fixed(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

const handshakePrologue = core.PrologueCamera

// handshake runs one with everything fixed: a viewer is introduced to a camera.
type handshake struct {
	initiator, responder               identity.Key
	initiatorIndex, responderIndex     []byte
	initiatorEphemeral, responderEphem []byte
	payload1, payload2                 []byte
	timestamp                          uint64
	message1, message2                 []byte
	viewer, camera                     *session.Session
}

func runHandshake(t *testing.T) *handshake {
	t.Helper()
	x := &handshake{
		initiator: key(t, 0x21), responder: key(t, 0x01),
		initiatorIndex: fixed(0xa1, 4), responderIndex: fixed(0xb1, 4),
		initiatorEphemeral: fixed(0x41, 32), responderEphem: fixed(0x61, 32),
		timestamp: 1767225600_000000000,
	}
	x.payload1 = marshal(t, &wire.Hello{Version: wire.ProtocolVersion, ID: 0x0123456789abcdef,
		Proof:    identity.PairingProof(identity.Secret(fixed(0xc0, 16)), x.initiator.Public(), x.responder.Public()),
		PunchKey: wire.PunchKey(fixed(0xd0, 16)), Flags: wire.FlagStart | wire.FlagDirect, Profile: wire.ProfileAES128GCM})
	x.payload2 = marshal(t, &wire.Welcome{Profile: wire.ProfileAES128GCM, PayloadType: 96, ClockRate: 90000})
	config := func(k identity.Key, parts ...[]byte) session.Config {
		return session.Config{Static: k, Rand: bytes.NewReader(bytes.Join(parts, nil)), Prologue: []byte(handshakePrologue)}
	}
	i, err := session.NewInitiator(config(x.initiator, x.initiatorIndex, x.initiatorEphemeral), x.responder.Public(), x.timestamp, x.payload1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.NewResponder(config(x.responder, x.responderIndex, x.responderEphem))
	if err != nil {
		t.Fatal(err)
	}
	x.message1 = bytes.Clone(i.Message())
	q, _, err := r.Open(time.Time{}, netip.AddrPort{}, false, x.message1)
	if err != nil {
		t.Fatal(err)
	}
	if x.camera, x.message2, err = q.Accept(x.payload2); err != nil {
		t.Fatal(err)
	}
	if x.viewer, _, err = i.Finish(x.message2); err != nil {
		t.Fatal(err)
	}
	return x
}

// noiseKeys runs the same handshake with the Noise library alone, from the layouts
// as PROTOCOL.md gives them.
func (x *handshake) noiseKeys(t *testing.T) (hash []byte, itor, rtoi [32]byte) {
	t.Helper()
	dh := func(k identity.Key) noise.DHKey {
		private, public := k.Private(), k.Public()
		return noise.DHKey{Private: private[:], Public: public[:]}
	}
	peer := x.responder.Public()
	hs, err := noise.NewHandshakeState(noise.Config{
		CipherSuite: noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s),
		Random:      bytes.NewReader(x.initiatorEphemeral), Pattern: noise.HandshakeIK, Initiator: true,
		Prologue:      append([]byte(handshakePrologue), x.message1[:8]...),
		StaticKeypair: dh(x.initiator), PeerStatic: peer[:],
	})
	if err != nil {
		t.Fatal(err)
	}
	noise1 := x.message1[8 : len(x.message1)-32]
	plain := make([]byte, len(noise1)-96)
	binary.LittleEndian.PutUint64(plain, x.timestamp)
	binary.LittleEndian.PutUint16(plain[8:], uint16(len(x.payload1)))
	copy(plain[10:], x.payload1)
	again, _, _, err := hs.WriteMessage(nil, plain)
	if err != nil || !bytes.Equal(again, noise1) {
		t.Fatalf("Noise writes %x, %v; the initiation has %x", again, err, noise1)
	}
	payload, c1, c2, err := hs.ReadMessage(nil, x.message2[8:])
	if err != nil || !bytes.Equal(payload, append(bytes.Clone(x.responderIndex), x.payload2...)) {
		t.Fatalf("Noise reads %x, %v", payload, err)
	}
	return hs.ChannelBinding(), c1.UnsafeKey(), c2.UnsafeKey()
}

func TestHandshakeVector(t *testing.T) {
	x := runHandshake(t)
	hash, itor, rtoi := x.noiseKeys(t)
	secret := func(k identity.Key) string { p := k.Private(); return h(p[:]) }
	public := func(k identity.Key) string { p := k.Public(); return h(p[:]) }
	export := func(label string, n int) vector {
		out := x.viewer.Export(label, n)
		if !bytes.Equal(out, x.camera.Export(label, n)) {
			t.Errorf("the sides export %q differently", label)
		}
		return vector{"label": label, "length": n, "secret": h(out)}
	}
	verify(t, "handshake", vector{
		"scenario":                   "a viewer's initiation and a camera's response, and what both derive",
		"prologue":                   h([]byte(handshakePrologue)),
		"initiator_private":          secret(x.initiator),
		"initiator_public":           public(x.initiator),
		"initiator_index":            h(x.initiatorIndex),
		"initiator_ephemeral":        h(x.initiatorEphemeral),
		"responder_private":          secret(x.responder),
		"responder_public":           public(x.responder),
		"responder_index":            h(x.responderIndex),
		"responder_ephemeral":        h(x.responderEphem),
		"timestamp":                  strconv.FormatUint(x.timestamp, 10),
		"initiation_payload":         h(x.payload1),
		"response_payload":           h(x.payload2),
		"initiation":                 h(x.message1),
		"response":                   h(x.message2),
		"handshake_hash":             h(hash),
		"key_initiator_to_responder": h(itor[:]),
		"key_responder_to_initiator": h(rtoi[:]),
		"exports":                    []vector{export("punchlab srtp camera", 28), export("punchlab srtp viewer", 28), export("punchlab rtp stream", 14)},
		"initiation_id":              h(x.message1[len(x.message1)-32 : len(x.message1)-16]),
		"initiation_reply_limit":     len(x.message1),
	})
}

func TestTransportVector(t *testing.T) {
	x := runHandshake(t)
	var datagrams []vector
	step := func(from string, sender, receiver *session.Session, plain []byte) {
		b := sender.Seal(nil, plain)
		if got, err := receiver.Open(nil, b); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("datagram of the %s: %x, %v", from, got, err)
		}
		datagrams = append(datagrams, vector{"from": from, "counter": binary.LittleEndian.Uint64(b[8:]), "plaintext": h(plain), "datagram": h(b)})
	}
	consent := marshal(t, &wire.Consent{Sequence: 1})
	step("initiator", x.viewer, x.camera, consent)
	step("initiator", x.viewer, x.camera, consent)
	step("responder", x.camera, x.viewer, marshal(t, &wire.ConsentAck{Sequence: 1}))
	step("responder", x.camera, x.viewer, nil)
	verify(t, "transport", vector{
		"scenario":  "sealed datagrams both ways in the session of handshake.json",
		"datagrams": datagrams,
	})
}

func TestCookieVector(t *testing.T) {
	x := runHandshake(t)
	from := netip.MustParseAddrPort("192.0.2.1:40000")
	secret, nonce := fixed(0x11, 32), fixed(0x91, 24)
	i, err := session.NewInitiator(session.Config{Static: x.initiator, Prologue: []byte(handshakePrologue),
		Rand: bytes.NewReader(append(bytes.Clone(x.initiatorIndex), x.initiatorEphemeral...))}, x.responder.Public(), x.timestamp, x.payload1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.NewResponder(session.Config{Static: x.responder, Prologue: []byte(handshakePrologue),
		Rand: bytes.NewReader(append(bytes.Clone(secret), nonce...))})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, int64(x.timestamp))
	_, reply, err := r.Open(now, from, true, i.Message())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.HandleCookie(reply); err != nil {
		t.Fatal(err)
	}
	if q, _, err := r.Open(now, from, true, i.Message()); err != nil || q == nil {
		t.Fatalf("the second initiation: %v, %v", q, err)
	}
	verify(t, "cookie", vector{
		"scenario":      "the camera of handshake.json under load: the same initiation earns a cookie, and then carries mac2",
		"source":        from.String(),
		"cookie_secret": h(secret),
		"nonce":         h(nonce),
		"reply":         h(reply),
		"initiation":    h(i.Message()),
	})
}

func TestPunchVector(t *testing.T) {
	k := wire.PunchKey(fixed(0xd0, 16))
	p := wire.Punch{ID: 0x0123456789abcdef, Counter: 3}
	back, low := p, p
	back.FromCamera, low.LowTTL = true, true
	verify(t, "punch", vector{
		"scenario": "the viewer's shortest punch, its usual one and one that is to die on its way, and the camera's",
		"key":      h(k[:]), "id": strconv.FormatUint(p.ID, 10), "counter": p.Counter,
		"shortest":    h(wire.AppendPunch(nil, k, p, wire.MinPunch)),
		"from_camera": h(wire.AppendPunch(nil, k, back, wire.MinPunch)),
		"low_ttl":     h(wire.AppendPunch(nil, k, low, wire.MinPunch)),
		"usual":       h(wire.AppendPunch(nil, k, p, wire.DefaultPunch)),
	})
}

func TestChannelDataVector(t *testing.T) {
	datagram := fixed(0, 5)
	b, err := wire.AppendChannelData(nil, 0x4abc, datagram)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, "channel-data", vector{"scenario": "a relay frame", "channel": 0x4abc, "datagram": h(datagram), "frame": h(b)})
}

func TestIdentityVector(t *testing.T) {
	camera, viewer, rendezvous := key(t, 0x01).Public(), key(t, 0x21).Public(), key(t, 0x81).Public()
	label := identity.Label{Key: camera, RendezvousKey: rendezvous, Secret: identity.Secret(fixed(0xc0, 16)),
		Rendezvous: []string{"rendezvous.example.com:3478", "192.0.2.9:443"}}
	if got, err := identity.ParseLabel(label.String()); err != nil || got.UID() != camera.UID() {
		t.Errorf("the label parses as %v, %v", got.UID(), err)
	}
	proof := identity.PairingProof(label.Secret, viewer, camera)
	uid := camera.UID()
	verify(t, "identity", vector{
		"scenario":         "what is derived from and printed of a camera's key",
		"camera_public":    h(camera[:]),
		"camera_key_text":  camera.String(),
		"uid":              uid.String(),
		"uid_on_the_wire":  h(uid[:]),
		"rendezvous_key":   h(rendezvous[:]),
		"secret":           h(label.Secret[:]),
		"rendezvous_hosts": label.Rendezvous,
		"label":            label.String(),
		"viewer_public":    h(viewer[:]),
		"pairing_proof":    h(proof[:]),
	})
	invitation := label
	invitation.Invited = true
	maker, err := identity.NewMakerKey(bytes.NewReader(fixed(0x11, 32)))
	if err != nil {
		t.Fatal(err)
	}
	account, err := identity.NewAccountKey(bytes.NewReader(fixed(0x31, 32)))
	if err != nil {
		t.Fatal(err)
	}
	makerPublic, accountPublic := maker.Public(), account.Public()
	c := identity.Certificate{Device: camera, Serial: 1 << 40, NotBefore: 1767225600, NotAfter: 2082844800}
	certificate := maker.Certify(c)
	if got, err := identity.ParseCertificate(certificate); err != nil || got.Device != camera || got.Maker != makerPublic {
		t.Errorf("the certificate parses as %+v, %v", got, err)
	}
	revocations := identity.NewRevocationList(7, 1767312000, []identity.UID{viewer.UID(), camera.UID()})
	token := account.Issue(identity.Token{Viewer: viewer, NotAfter: 1798761600})
	verify(t, "authority", vector{
		"scenario":         "what makers, operators and owners give out; serial and times as decimal strings, times in unix seconds",
		"camera_public":    h(camera[:]),
		"viewer_public":    h(viewer[:]),
		"maker_seed":       h(fixed(0x11, 32)),
		"maker_public":     h(makerPublic[:]),
		"serial":           strconv.FormatUint(c.Serial, 10),
		"not_before":       strconv.FormatInt(c.NotBefore, 10),
		"not_after":        strconv.FormatInt(c.NotAfter, 10),
		"certificate":      h(certificate),
		"certificate_text": identity.CertificateText(certificate),
		"revoked":          []string{viewer.UID().String(), camera.UID().String()},
		"number":           "7",
		"issued":           "2026-01-02T00:00:00Z",
		"revocation_list":  string(maker.Revoke(revocations)),
		"account_seed":     h(fixed(0x31, 32)),
		"account_public":   h(accountPublic[:]),
		"token_not_after":  "1798761600",
		"token":            h(token),
		"token_text":       identity.TokenText(token),
		"rendezvous_key":   h(rendezvous[:]),
		"rendezvous_hosts": label.Rendezvous,
		"secret":           h(label.Secret[:]),
		"invitation":       invitation.String(),
	})
}
