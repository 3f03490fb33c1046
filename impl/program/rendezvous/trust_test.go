package rendezvous

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// events collects what a core says.
type events struct {
	t testing.TB
	c chan any
}

func newEvents(t testing.TB) events { return events{t, make(chan any, 10_000)} }

// await waits for an event of a type.
func await[E any](e events) E {
	e.t.Helper()
	for timeout := time.After(30 * time.Second); ; {
		select {
		case x := <-e.c:
			if x, ok := x.(E); ok {
				return x
			}
		case <-timeout:
			var none E
			e.t.Fatalf("no %T", none)
		}
	}
}

// drive runs a device's core on loopback.
func drive(t testing.TB, c core.Core, start func(time.Time) error) (*node.Node, events) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	said := newEvents(t)
	n, err := node.New(c, []*net.UDPConn{conn}, node.Options{Observe: func(e any) { said.c <- e }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	n.Do(func(now time.Time) { err = start(now) })
	if err != nil {
		t.Fatal(err)
	}
	return n, said
}

// register starts a camera with a certificate.
func register(t testing.TB, h *Handle, k identity.Key, certificate []byte) events {
	t.Helper()
	c, err := camera.New(camera.Config{
		Static: k, Rand: rand.Reader, Rendezvous: h.Addrs(), RendezvousKey: h.opt.Key.Public(), Secret: identity.Secret{1}, Certificate: certificate,
		Source: func() media.Source { return media.EmbeddedClip().Loop() },
	})
	if err != nil {
		t.Fatal(err)
	}
	_, said := drive(t, c, c.Start)
	return said
}

func login(t testing.TB, h *Handle, k identity.Key, token []byte) events {
	t.Helper()
	v, err := viewer.New(viewer.Config{Static: k, Rand: rand.Reader, Rendezvous: h.Addrs(), RendezvousKey: h.opt.Key.Public(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	_, said := drive(t, v, v.Start)
	return said
}

// a server in a folder of its own.
func start(t testing.TB, change func(*Options)) *Handle {
	t.Helper()
	o := Options{Key: newKey(t), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: freePorts(t)}
	change(&o)
	h, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func newMaker(t testing.TB) identity.MakerKey {
	t.Helper()
	k, err := identity.NewMakerKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The server takes its makers' cameras alone, and lets go at once of one that is revoked.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := newMaker(t), newMaker(t)
	makers := write(t, filepath.Join(dir, "makers"), []byte("# ours\n\n"+ours.Public().String()+"\n"))
	revoked := write(t, filepath.Join(dir, "revoked"), ours.Revoke(identity.NewRevocationList(1, time.Now().Unix(), nil)))
	said := newEvents(t)
	h := start(t, func(o *Options) {
		o.Makers, o.Revoked, o.Observe = []string{makers}, []string{revoked}, func(e any) { said.c <- e }
	})
	now := time.Now().Unix()
	k := newKey(t)
	certificate := func(m identity.MakerKey, notAfter int64) []byte {
		return m.Certify(identity.Certificate{Maker: m.Public(), Device: k.Public(), Serial: 1, NotBefore: now - 1000, NotAfter: notAfter})
	}
	for name, tt := range map[string]struct {
		certificate []byte
		code        wire.Code
	}{
		"none":          {nil, wire.CodeCertificate},
		"another maker": {certificate(theirs, 0), wire.CodeWrongMaker},
		"expired":       {certificate(ours, now-1), wire.CodeCertificateExpired},
	} {
		if e := await[camera.Denied](register(t, h, k, tt.certificate)); e.Code != tt.code {
			t.Errorf("%s: denied by %v, want %v", name, e.Code, tt.code)
		}
	}
	await[camera.Registered](register(t, h, k, certificate(ours, 0)))
	await[rendezvous.Online](said)

	write(t, revoked, ours.Revoke(identity.NewRevocationList(2, now, []identity.UID{k.Public().UID()})))
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	if e := await[rendezvous.Offline](said); e.Cause != rendezvous.CauseUntrusted {
		t.Errorf("the revoked camera went since %s", e.Cause)
	}
	if e := await[camera.Denied](register(t, h, k, certificate(ours, 0))); e.Code != wire.CodeRevoked {
		t.Errorf("the revoked camera is denied by %v", e.Code)
	}

	// An older list, or a broken one, changes nothing.
	for _, b := range [][]byte{ours.Revoke(identity.NewRevocationList(1, now, nil)), []byte("PR1/broken")} {
		write(t, revoked, b)
		if err := h.Reload(); err == nil || !strings.Contains(err.Error(), revoked) {
			t.Errorf("read again: %v", err)
		}
	}
	if e := await[camera.Denied](register(t, h, k, certificate(ours, 0))); e.Code != wire.CodeRevoked {
		t.Errorf("after an older list the revoked camera is denied by %v", e.Code)
	}
}

// A list of revocations that is older than the one in force is refused after a restart, too.
func TestOlderListAfterARestart(t *testing.T) {
	dir := t.TempDir()
	maker, k := newMaker(t), newKey(t)
	revoked := filepath.Join(dir, "revoked")
	list := func(number uint64, uids ...identity.UID) {
		write(t, revoked, maker.Revoke(identity.NewRevocationList(number, time.Now().Unix(), uids)))
	}
	o := Options{Key: newKey(t), Addrs: loopback(1), Port: freePorts(t), Database: filepath.Join(dir, "db"),
		Makers: []string{maker.Public().String()}, Revoked: []string{revoked}}
	begin := func() error {
		h, err := Start(o)
		if err == nil {
			err = h.Close()
		}
		return err
	}
	list(7, k.Public().UID())
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	list(6)
	if err := begin(); !errors.Is(err, identity.ErrOldList) || !strings.Contains(err.Error(), "number 7") {
		t.Errorf("an older list: %v", err)
	}
	list(7, k.Public().UID())
	if err := begin(); err != nil {
		t.Errorf("the same list: %v", err)
	}
	h, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	list(8)
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	h.Close()
	list(7, k.Public().UID())
	if err := begin(); !errors.Is(err, identity.ErrOldList) {
		t.Errorf("an older list than the one read again: %v", err)
	}
}

// A clock that starts again in 1970 does not revive a token that has expired by what lists of revocations say of the time.
func TestTokenByAWrongClock(t *testing.T) {
	account, err := identity.NewAccountKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	maker, k := newMaker(t), newKey(t)
	revoked := write(t, filepath.Join(t.TempDir(), "revoked"), maker.Revoke(identity.NewRevocationList(1, 1_790_000_000, nil)))
	h := start(t, func(o *Options) {
		o.Account, o.Makers, o.Revoked = account.Public().String(), []string{maker.Public().String()}, []string{revoked}
	})
	token := account.Issue(identity.Token{Viewer: k.Public(), NotAfter: 1_780_000_000})
	if code := h.viewer(time.Unix(5, 0), k.Public(), token); code != wire.CodeAccountExpired {
		t.Errorf("an expired token in 1970: %v", code)
	}
}

// With an account only viewers with a token are served.
func TestAccount(t *testing.T) {
	account, err := identity.NewAccountKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, func(o *Options) { o.Account = account.Public().String() })
	k := newKey(t)
	now := time.Now().Unix()
	for name, tt := range map[string]struct {
		token []byte
		code  wire.Code
	}{
		"none":      {nil, wire.CodeAccount},
		"another's": {account.Issue(identity.Token{Viewer: newKey(t).Public(), NotAfter: now + 1000}), wire.CodeAccount},
		"expired":   {account.Issue(identity.Token{Viewer: k.Public(), NotAfter: now - 1}), wire.CodeAccountExpired},
	} {
		if e := await[viewer.Denied](login(t, h, k, tt.token)); e.Code != tt.code {
			t.Errorf("%s: denied by %v, want %v", name, e.Code, tt.code)
		}
	}
	await[viewer.LoggedIn](login(t, h, k, account.Issue(identity.Token{Viewer: k.Public(), NotAfter: now + 1000})))
}

// Files that are wrong are named, with what they should be.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	maker := newMaker(t)
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"maker": {func(o *Options) { o.Makers = []string{filepath.Join(dir, "none")} }, "provision --print-maker"},
		"private key": {func(o *Options) {
			o.Makers = []string{write(t, filepath.Join(dir, "key"), []byte("punchlab-maker-key-1 X"))}
		}, "key"},
		"revoked": {func(o *Options) { o.Makers, o.Revoked = []string{maker.Public().String()}, []string{dir} }, dir},
		"no key": {func(o *Options) {
			o.Makers = []string{write(t, filepath.Join(dir, "empty"), []byte("# nobody yet\n"))}
		}, "there is none"},
		"no maker":       {func(o *Options) { o.Revoked = []string{"x"} }, "maker"},
		"account":        {func(o *Options) { o.Account = "ABC" }, "account new"},
		"HTTP":           {func(o *Options) { o.HTTP = "localhost" }, "ADDRESS:PORT"},
		"database":       {func(o *Options) { o.Database = filepath.Join(dir, "none", "db") }, "none"},
		"node's name":    {func(o *Options) { o.NATS, o.Cluster.Name = "nats://127.0.0.1:1", "a.b" }, "letters"},
		"credentials":    {func(o *Options) { o.NATS, o.Cluster.Credentials = "nats://127.0.0.1:1", filepath.Join(dir, "none") }, "credentials"},
		"NATS' port":     {func(o *Options) { o.NATS, o.Cluster.Routes = Embedded, "10.0.0.1" }, "HOST:PORT"},
		"public address": {func(o *Options) { o.Public = loopback(2) }, "one for each"},
	} {
		o := Options{Key: newKey(t), Addrs: loopback(1), Port: freePorts(t)}
		tt.change(&o)
		h, err := Start(o)
		if err == nil {
			h.Kill()
			t.Errorf("%s: started", name)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant %q in it", name, err, tt.want)
		}
	}
}

// buffer is a log that may be written to by several.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The log names devices by their UIDs, and holds no key, certificate or token.
func TestLogHasNoSecrets(t *testing.T) {
	maker := newMaker(t)
	account, err := identity.NewAccountKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	log := &buffer{}
	server := newKey(t)
	said := newEvents(t)
	h := start(t, func(o *Options) {
		o.Observe = func(e any) { said.c <- e }
		o.Key, o.Makers, o.Account = server, []string{maker.Public().String()}, account.Public().String()
		o.NATS, o.Database = Embedded, filepath.Join(t.TempDir(), "db")
		o.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	k := newKey(t)
	certificate := maker.Certify(identity.Certificate{Maker: maker.Public(), Device: k.Public(), Serial: 1, NotBefore: time.Now().Unix() - 1})
	token := account.Issue(identity.Token{Viewer: k.Public(), NotAfter: time.Now().Unix() + 1000})
	await[camera.Denied](register(t, h, newKey(t), certificate))
	await[camera.Registered](register(t, h, k, certificate))
	await[rendezvous.Online](said) // it is told of when the camera confirms its session, which it has still to do
	await[viewer.LoggedIn](login(t, h, k, token))
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if !strings.Contains(text, k.Public().UID().String()) {
		t.Errorf("the log does not name the camera: %s", text)
	}
	private := server.Private()
	for name, secret := range map[string]string{
		"the server's key": server.String(), "its private key": string(private[:]), "the camera's key": k.Public().String(),
		"the certificate": identity.CertificateText(certificate), "the token": identity.TokenText(token),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %s", name)
		}
	}
}
