package rendezvous

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"golang.org/x/crypto/blake2s"
)

// notebook is a Store.
type notebook map[identity.PublicKey]Record

func (n notebook) Load(k identity.PublicKey) (Record, bool) { r, ok := n[k]; return r, ok }
func (n notebook) Save(k identity.PublicKey, r Record)      { n[k] = r }
func (n notebook) Forget(k identity.PublicKey)              { delete(n, k) }

var register, login = &wire.Register{Version: wire.ProtocolVersion}, &wire.Login{Version: wire.ProtocolVersion}

// Who is not admitted is told why, in no more bytes than it sent, and leaves nothing behind.
func TestAdmission(t *testing.T) {
	var asked [][]byte
	r := newRig(t, func(c *Config) {
		c.Trust = func(_ time.Time, _ identity.PublicKey, certificate []byte) wire.Code {
			asked = append(asked, certificate)
			return map[string]wire.Code{"": wire.CodeCertificate, "other": wire.CodeWrongMaker}[string(certificate)]
		}
		c.Account = func(_ time.Time, _ identity.PublicKey, token []byte) wire.Code {
			return map[string]wire.Code{"": wire.CodeAccount}[string(token)]
		}
	})
	for _, c := range []struct {
		hello wire.Message
		want  wire.Code
	}{
		{register, wire.CodeCertificate},
		{&wire.Register{Version: 1, Certificate: []byte("other")}, wire.CodeWrongMaker},
		{login, wire.CodeAccount},
	} {
		d := r.device()
		b := d.initiation(c.hello, 1)
		for range 2 { // a retransmission is answered anew
			r.give(d.addr, b)
			answer := d.take()
			if len(answer) == 0 || len(answer) > len(b) {
				t.Fatalf("%+v: %d bytes answer %d", c.hello, len(answer), len(b))
			}
		}
		if m := d.refused(c.hello, 2); m == nil || m.Code != c.want || m.Retry != 0 {
			t.Errorf("%+v: %+v, want %v", c.hello, m, c.want)
		}
		if e := all[Denied](r.said); len(e) == 0 || e[len(e)-1] != (Denied{UID: d.key.Public().UID(), From: d.addr, Code: c.want, At: r.now}) {
			t.Errorf("events %+v", e)
		}
	}
	if s := r.s.Stats(); r.s.slab.used != 0 || len(r.s.byIndex) != 0 || len(r.s.timers) != 0 || s.Denied != 9 || s.Handshakes != 0 {
		t.Errorf("%d records, %d sessions, %+v", r.s.slab.used, len(r.s.byIndex), s)
	}
	r.device().join(&wire.Register{Version: 1, Certificate: []byte("good")}, 1)
	r.device().join(&wire.Login{Version: 1, Token: []byte("good")}, 1)
	if !slices.ContainsFunc(asked, func(b []byte) bool { return string(b) == "good" }) {
		t.Errorf("asked about %q", asked)
	}
	for n := range 100 {
		r.device().refused(login, uint64(n+1))
	}
	if n := len(all[Denied](r.said)); n > 30 {
		t.Errorf("%d events of 109 at once", n)
	}
}

// The makers' certificates, from the handshake to the revocation while the camera is online.
func TestRecheck(t *testing.T) {
	maker, err := identity.NewMakerKey(rand.NewChaCha8([32]byte{5}))
	if err != nil {
		t.Fatal(err)
	}
	trust := &identity.Trust{Makers: []identity.MakerPublic{maker.Public()}}
	code := func(err error) wire.Code {
		if err != nil {
			return wire.CodeRevoked
		}
		return 0
	}
	var seen []identity.Certificate
	r := newRig(t, func(c *Config) {
		c.Trust = func(now time.Time, k identity.PublicKey, b []byte) wire.Code {
			return code(trust.Check(now.Unix(), k, b))
		}
		c.Standing = func(now time.Time, k identity.PublicKey, c identity.Certificate) wire.Code {
			seen = append(seen, c)
			return code(trust.CheckFacts(now.Unix(), k, c))
		}
	})
	camera := func(serial uint64, until time.Time) *device {
		d := r.device()
		cert := identity.Certificate{Maker: maker.Public(), Device: d.key.Public(), Serial: serial, NotBefore: epoch.Unix(), NotAfter: until.Unix()}
		d.join(&wire.Register{Version: 1, Certificate: maker.Certify(cert)}, 1)
		return d
	}
	good, expiring, revoked := camera(1, epoch.Add(24*time.Hour)), camera(2, epoch.Add(10*time.Second)), camera(3, epoch.Add(24*time.Hour))
	v := r.viewer()
	seen = nil
	r.s.Recheck(r.now)
	r.drain()
	if len(r.out) != 0 || len(seen) != 3 || seen[0].Serial != 1 || seen[2].NotBefore != epoch.Unix() || r.s.Stats().Online != 3 {
		t.Fatalf("at first: %d packets, %+v", len(r.out), seen)
	}
	trust = &identity.Trust{Makers: trust.Makers}
	text := maker.Revoke(identity.NewRevocationList(1, epoch.Unix(), []identity.UID{revoked.key.Public().UID()}))
	list, err := identity.ParseRevocationList(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Hold(list); err != nil {
		t.Fatal(err)
	}
	r.advance(11 * time.Second)
	r.s.Recheck(r.now)
	r.drain()
	for _, d := range []*device{expiring, revoked} {
		if m, _ := d.read().(*wire.Goodbye); m == nil || m.Code != wire.CodeRevoked {
			t.Errorf("%v got %+v", d.addr, m)
		}
	}
	off := all[Offline](r.said)
	if len(off) != 2 || off[1].Cause != CauseUntrusted || good.take() != nil || v.take() != nil || !r.s.Deadline().After(r.now) {
		t.Errorf("offline: %+v; next %v", off, r.s.Deadline())
	}
	if m := revoked.refused(&wire.Register{Version: 1}, 9); m == nil || m.Code != wire.CodeRevoked {
		t.Errorf("back: %+v", m)
	}
}

// Many are looked at in steps, between which others are served; records made and freed meanwhile do no harm.
func TestRecheckGoesInSteps(t *testing.T) {
	const n = 10_000
	f := newFleet(t, n)
	asked := 0
	f.s.cfg.Standing = func(time.Time, identity.PublicKey, identity.Certificate) wire.Code {
		asked++
		return wire.CodeRevoked
	}
	f.s.Recheck(f.now)
	steps := 1
	for ; f.s.Deadline().Equal(f.now) && steps < 100; steps++ {
		f.s.Ready()
		f.s.HandleTimeout(f.now)
	}
	if asked != n || f.s.Stats().Online != 0 || steps < 3 || steps > 5 {
		t.Errorf("%d asked about in %d steps, %d online", asked, steps, f.s.Stats().Online)
	}
}

// What must outlive a restart is saved when a device has shown that it receives, and read at its first contact.
func TestStore(t *testing.T) {
	kept := notebook{}
	keep := func(c *Config) { c.Store = kept }
	r := newRig(t, keep)
	c := r.device()
	first := bytes.Clone(c.initiation(&wire.Register{Version: 1, Boot: 7}, 5))
	r.give(c.addr, first)
	if len(kept) != 0 {
		t.Fatalf("kept before it was confirmed: %v", kept)
	}
	r.out = nil
	c.join(&wire.Register{Version: 1, Boot: 7}, 6)
	if got := kept[c.key.Public()]; got != (Record{Stamp: 6, Boot: 7, LastSeen: epoch.Unix(), Role: Camera}) {
		t.Errorf("kept %+v", got)
	}
	r.advance(time.Minute)
	if got := kept[c.key.Public()]; got.LastSeen != epoch.Add(30*time.Second).Unix() || got.Boot != 7 {
		t.Errorf("after it went: %+v", got)
	}
	again := newRig(t, keep)
	c.r = again
	again.give(c.addr, first)
	if again.dropped(errOld.Error()) != 1 || again.s.slab.used != 0 {
		t.Errorf("a replay after a restart: %v", again.s.Stats().Dropped)
	}
	before := maps.Clone(kept)
	again.give(c.addr, c.initiation(&wire.Register{Version: 1}, 7))
	again.advance(time.Minute)
	again.out = nil
	if again.s.slab.used != 0 || !maps.Equal(kept, before) {
		t.Errorf("who did not confirm is remembered: %d records, kept %v", again.s.slab.used, kept)
	}
	c.join(&wire.Register{Version: 1}, 8)
	if got := kept[c.key.Public()]; got.Stamp != 8 || got.Boot != 7 {
		t.Errorf("kept %+v", got)
	}
}

// A lost camera is known within two keepalives, whatever the keepalive is; a goodbye is at once.
func TestExpiry(t *testing.T) {
	for _, keepalive := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, time.Minute} {
		r := newRig(t, func(c *Config) { c.Keepalive = keepalive })
		c := r.camera()
		polite := r.camera()
		polite.send(&wire.Goodbye{})
		if off := all[Offline](r.said); len(off) != 1 || off[0].Cause != CauseGoodbye || off[0].At != r.now {
			t.Errorf("goodbye: %+v", off)
		}
		r.advance(keepalive / 2)
		c.send(&wire.Ping{Sequence: 2})
		c.read()
		heard := r.now
		pings := 0
		r.advance(2*keepalive - time.Nanosecond)
		for c.read() != nil {
			pings++
		}
		if pings != serverPings || r.s.Stats().Online != 1 {
			t.Errorf("keepalive %v: %d pings, %d online", keepalive, pings, r.s.Stats().Online)
		}
		r.advance(time.Nanosecond)
		off := all[Offline](r.said)
		if len(off) != 2 || off[1].Cause != CauseSilent || off[1].At.Sub(heard) != 2*keepalive || off[1].Since != epoch {
			t.Errorf("keepalive %v: offline %+v", keepalive, off)
		}
	}
}

// Whoever guesses names has few guesses, alone and together; a camera that is online is found all the same.
func TestUnknownCamerasAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectsPerSecond = 1e6; c.UnknownPerSecond = (unknownBurst + 10) * sourceShare })
	c := r.camera()
	offline := r.camera()
	offline.send(&wire.Goodbye{})
	never := r.device()
	id := uint64(0)
	ask := func(v *device, n int, of *device) map[wire.Code]int {
		codes := map[wire.Code]int{}
		for range n {
			id++
			v.send(connect(id, of))
			if m, ok := v.read().(*wire.Refused); ok {
				codes[m.Code]++
			}
		}
		return codes
	}
	first, second := r.viewer(), r.device()
	second.addr = port(first.addr, 77) // another key of the same host
	second.join(login, 1)
	if codes := ask(first, 100, never); codes[wire.CodeUnavailable] != unknownBurst || codes[wire.CodeRateLimited] != 100-unknownBurst {
		t.Errorf("one viewer: %v", codes)
	}
	if codes := ask(second, 20, offline); codes[wire.CodeUnavailable] != 10 {
		t.Errorf("one host: %v", codes)
	}
	served := unknownBurst + 10
	for range 30 {
		served += ask(r.viewer(), unknownBurst, never)[wire.CodeUnavailable]
	}
	if want := (unknownBurst + 10) * sourceShare; served != want {
		t.Errorf("all: %d, want %d", served, want)
	}
	if codes := ask(first, 3, c); len(codes) != 0 {
		t.Errorf("a camera that is online: %v", codes)
	}
	r.advance(2 * time.Second)
	if codes := ask(first, 5, never); codes[wire.CodeUnavailable] != 2 {
		t.Errorf("2 s later: %v", codes)
	}
	r.advance(time.Minute)
	for n := range 4 { // the host's burst, by keys of which each may ask
		v := r.device()
		v.addr = port(first.addr, uint16(100+n))
		v.join(login, 1)
		ask(v, unknownBurst, never)
	}
	r.advance(2 * time.Second)
	later := 0
	for n := range 4 {
		v := r.device()
		v.addr = port(first.addr, uint16(200+n))
		v.join(login, 1)
		later += ask(v, unknownBurst, never)[wire.CodeUnavailable]
	}
	if later != 2*unknownOfSource {
		t.Errorf("one host with ever new keys: %d are answered in 2 s, want %d", later, 2*unknownOfSource)
	}
}

func TestPackedEndpoints(t *testing.T) {
	streams := wire.Ats([]netip.AddrPort{core.Over(core.TCP, addr("192.0.2.1:65535")), core.Over(core.TCP, addr("[2001:db8::1]:1"))})
	for _, of := range [][]wire.Endpoint{nil, candidates, streams} {
		if got := unpack(pack(of)); !slices.Equal(got, of) {
			t.Errorf("%v became %v", of, got)
		}
	}
}

// A session of 24 h is used by nobody: neither by a device that speaks, nor by one that is silent or spoken to.
func TestNoSessionOutlivesItsTime(t *testing.T) {
	for _, c := range []struct {
		what string
		left time.Duration
		then func(r *rig, c, v *device)
	}{
		{"speaks", 5 * time.Second, func(r *rig, c, _ *device) { r.advance(5 * time.Second); c.send(&wire.Ping{Sequence: 1}) }},
		{"is silent", 20 * time.Second, func(r *rig, c, _ *device) { r.advance(24 * time.Second) }},
		{"is spoken to", 5 * time.Second, func(r *rig, c, v *device) {
			r.advance(5 * time.Second)
			v.send(connect(7, c))
			r.advance(20 * time.Second)
		}},
	} {
		r := newRig(t, nil)
		d, v := r.camera(), r.viewer()
		r.s.camera(d.uid()).started -= instant(session.RejectAfterTime - c.left)
		d.send(&wire.Ping{Sequence: 1})
		if d.take() == nil {
			t.Errorf("%s: ended too early", c.what)
		}
		c.then(r, d, v)
		if off := all[Offline](r.said); d.take() != nil || len(off) != 1 || off[0].Cause != CauseEnded {
			t.Errorf("%s: offline %+v", c.what, off)
		}
	}
}

// Who is forgotten leaves nothing that would name the record, which is another's next.
func TestForgottenDevicesLeaveNothing(t *testing.T) {
	for _, who := range []string{"camera", "viewer"} {
		r := newRig(t, func(c *Config) { c.MaxRegistrations = 2 })
		c, v := r.camera(), r.viewer()
		v.send(connect(7, c))
		d := map[string]*device{"camera": c, "viewer": v}[who]
		d.send(&wire.Goodbye{})
		r.out = nil
		other := r.camera() // in its place
		if s := r.s.Stats(); len(r.s.intros) != 0 || s.Relays != 0 || s.Ties != 0 || s.Registrations != 2 {
			t.Errorf("%s: %d introductions, %d relays, %d ties, %d devices", who, len(r.s.intros), s.Relays, s.Ties, s.Registrations)
		}
		r.advance(10 * time.Second)
		if other.take() != nil {
			t.Errorf("%s: its successor gets what was for it", who)
		}
	}
}

// Where all devices are silent at once they are asked, and let go, a part at a time.
func TestSurveyGoesInSteps(t *testing.T) {
	const n = 5000
	f := newFleet(t, n)
	f.now = f.now.Add(f.s.cfg.Expiry - serverPings*pingAgain)
	most, pings, gone := 0, 0, 0
	for gone < n && f.s.Deadline().Before(f.now.Add(time.Minute)) {
		f.now = f.now.Add(max(0, f.s.Deadline().Sub(f.now)))
		f.s.HandleTimeout(f.now)
		out := f.s.Ready()
		most = max(most, len(out.Packets)+len(out.Events))
		pings += len(out.Packets)
		gone += len(out.Events)
	}
	if gone != n || pings != serverPings*n || most > 2000 {
		t.Errorf("%d gone after %d pings, %d at once", gone, pings, most)
	}
}

// Under load one host, with all the keys and ports that it likes, leaves room for the handshakes of others.
func TestOneSourceDoesNotUseUpTheHandshakes(t *testing.T) {
	r := newRig(t, func(c *Config) { c.HandshakesPerSecond, c.HandshakesAtMost = 10, 200 })
	round := byte(0)
	host := func(at netip.AddrPort) (served int) {
		round++
		for n := range 300 {
			d := r.device()
			d.key, _ = identity.NewKey(rand.NewChaCha8([32]byte{4, byte(n), byte(n >> 8), round}))
			d.addr = port(at, uint16(1000+n))
			r.give(d.addr, d.initiation(login, 1))
			if d.cookie() {
				r.give(d.addr, d.hs.Message())
			}
			if d.take() != nil {
				served++
			}
		}
		return served
	}
	greedy, other := host(addr("198.51.100.9:1")), host(addr("[2001:db8::1]:1"))
	if greedy > 10+200/sourceShare || other != 200/sourceShare {
		t.Errorf("%d handshakes of one host, %d of another", greedy, other)
	}
	r.advance(time.Second)
	if n := host(addr("198.51.100.9:1")); n < 200/sourceShare || n > greedy { // those of before wait for confirmation: all need cookies
		t.Errorf("%d a second later", n)
	}
}

// A flood from sources that are not there is put off by cookies long before it uses up what there is in a second: by how many
// sessions wait for confirmation, or by how many initiations do not open. Who is there is served.
func TestFloodsThatAreSlowNeedCookies(t *testing.T) {
	for name, tt := range map[string]struct {
		forged bool
		most   int // sessions that wait, or key agreements of a second
	}{"whole": {false, 100/pendingPart + 1}, "forged": {true, 100/forgedPart + 1}} {
		r := newRig(t, func(c *Config) { c.HandshakesPerSecond = 100 })
		shut := 0 // initiations that cost a key agreement and did not open
		for i := range 2000 {
			d := r.device()
			d.key, _ = identity.NewKey(rand.NewChaCha8([32]byte{5, byte(i), byte(i >> 8)}))
			d.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 7)
			b := d.initiation(login, 1)
			if tt.forged {
				b[60] ^= 1
				signed(r.s.cfg.Static.Public(), b)
			}
			r.give(d.addr, b)
			r.out = nil
			if n := r.s.pending; n > tt.most {
				t.Fatalf("%s: %d sessions wait", name, n)
			}
			r.advance(20 * time.Millisecond) // 50 a second: half of what needs no cookie
		}
		for why, n := range r.s.Stats().Dropped {
			if strings.Contains(why, session.ErrAuth.Error()) {
				shut += int(n)
			}
		}
		if seconds := 40; tt.forged && (shut == 0 || shut > (seconds+1)*tt.most) {
			t.Errorf("%s: %d key agreements for nothing in %d s", name, shut, seconds)
		}
		if r.s.Stats().Cookies < 1000 {
			t.Errorf("%s: %d cookies", name, r.s.Stats().Cookies)
		}
		d := r.device()
		r.give(d.addr, d.initiation(login, 1))
		if d.cookie() {
			r.give(d.addr, d.hs.Message())
		}
		if d.take() == nil {
			t.Errorf("%s: who is there is not served", name)
		}
		r.advance(pendingLife + time.Second)
		if r.s.pending != 0 {
			t.Errorf("%s: %d sessions wait for ever", name, r.s.pending)
		}
	}
}

// signed gives an initiation the mac1 that its bytes have to have.
func signed(responder identity.PublicKey, b []byte) {
	key := blake2s.Sum256(append([]byte("punchlab mac1 v1"), responder[:]...))
	h, err := blake2s.New128(key[:])
	if err != nil {
		panic(err)
	}
	h.Write(b[:len(b)-32])
	copy(b[len(b)-32:], h.Sum(nil))
}

// cookie takes a cookie reply, if that is the answer.
func (d *device) cookie() bool {
	for i, p := range d.r.out {
		if p.To == d.addr && p.B[0] == session.TypeCookie {
			d.r.out = append(d.r.out[:i], d.r.out[i+1:]...)
			return d.hs.HandleCookie(p.B) == nil
		}
	}
	return false
}

// Beyond so many handshakes in a second there is time for those alone who are online.
func TestHandshakesAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.HandshakesAtMost = 3 })
	c := r.camera()
	for range 5 {
		d := r.device()
		r.give(d.addr, d.initiation(register, 1))
	}
	if n := len(r.out); n != 2 || r.dropped(errLoad.Error()) != 3 {
		t.Errorf("%d answers, dropped %v", n, r.s.Stats().Dropped)
	}
	c.send(&wire.Ping{Sequence: 2})
	if _, ok := c.read().(*wire.Pong); !ok {
		t.Error("who is online is not served")
	}
	r.advance(time.Second)
	r.out = nil
	r.device().join(register, 1)
}

// Who was admitted, but has not confirmed its session yet, is judged once more then: lists may have been read since.
func TestNobodySlipsInBeforeARecheck(t *testing.T) {
	var revoked bool
	r := newRig(t, func(c *Config) {
		c.Trust = func(time.Time, identity.PublicKey, []byte) wire.Code { return 0 }
		c.Standing = func(time.Time, identity.PublicKey, identity.Certificate) wire.Code {
			if revoked {
				return wire.CodeRevoked
			}
			return 0
		}
	})
	d := r.device()
	r.give(d.addr, d.initiation(register, 1))
	d.finish()
	revoked = true
	r.s.Recheck(r.now)
	d.send(&wire.Ping{Sequence: 1})
	if m, _ := d.read().(*wire.Goodbye); m == nil || m.Code != wire.CodeRevoked {
		t.Errorf("it got %+v", m)
	}
	if r.s.Stats().Online != 0 || len(all[Online](r.said)) != 0 || r.s.slab.used != 0 || len(r.s.byIndex) != 0 || len(r.s.timers) != 0 {
		t.Errorf("%+v, %d sessions, %d timers", r.s.Stats(), len(r.s.byIndex), len(r.s.timers))
	}
}

// Nor does anybody once the server drains.
func TestNobodySlipsInWhileDraining(t *testing.T) {
	r := newRig(t, nil)
	d := r.device()
	r.give(d.addr, d.initiation(register, 1))
	d.finish()
	r.s.Drain(r.now)
	d.send(&wire.Ping{Sequence: 1})
	if m, _ := d.read().(*wire.Goodbye); m == nil || m.Code != wire.CodeShuttingDown || r.s.Stats().Online != 0 {
		t.Errorf("it got %+v; %+v", m, r.s.Stats())
	}
}

// The round trip is that of the last response: a handshake in which datagrams were lost makes nobody a distant device, to whom
// little would be repeated.
func TestRoundTripOfAHandshakeWithLosses(t *testing.T) {
	r := newRig(t, nil)
	c := r.device()
	b := bytes.Clone(c.initiation(register, 1))
	r.give(c.addr, b)
	r.discard(c.addr)
	r.advance(4 * time.Second)
	r.give(c.addr, b)
	c.finish()
	r.advance(20 * time.Millisecond)
	c.send(&wire.Ping{Sequence: 1})
	if trip := r.s.known(c.key.Public(), Camera).trip(); trip != 20*time.Millisecond {
		t.Errorf("round trip %v", trip)
	}
	r.s.known(c.key.Public(), Camera).setTrip(9 * time.Second) // who confirms late, for whatever reason
	r.discard(c.addr)
	r.viewer().send(connect(7, c))
	r.advance(introGiveUp - 1)
	n := 0
	for m := c.read(); m != nil; m = c.read() {
		if _, ok := m.(*wire.Introduce); ok {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d introduces in %v", n, introGiveUp)
	}
}
