package cloud

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// required skips the test without a program, or fails it if PUNCHLAB_REQUIRE names it.
func required(t *testing.T, name, path string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), name):
		t.Fatalf("%s is required here and missing: %v", name, err)
	default:
		t.Skipf("%s is missing: %v", name, err)
	}
	return found
}

// gateway is a versitygw over TLS with a CA of its own, on a folder.
type gateway struct {
	t       *testing.T
	program string
	dir     string // data, cert.pem, key.pem
	addr    string
	ca      *x509.CertPool
	cmd     *exec.Cmd
}

const (
	rootAccess, rootSecret = "camera-access", "camera-secret"
	testBucket             = "recordings"
)

func newGateway(t *testing.T) *gateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, program: required(t, "versitygw", "../../bin/versitygw"), dir: t.TempDir(), addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	g.ca = writeCertificate(t, g.dir)
	if err := os.MkdirAll(filepath.Join(g.dir, "data", testBucket), 0o700); err != nil {
		t.Fatal(err)
	}
	g.start()
	t.Cleanup(g.kill)
	return g
}

// writeCertificate makes a CA and a server's certificate for 127.0.0.1.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, template, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca := sign(template, caKey)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "store"}, NotBefore: template.NotBefore, NotAfter: template.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: ca.Raw}, "cert.pem": {Type: "CERTIFICATE", Bytes: leaf.Raw},
		"key.pem": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool, err := LoadCA(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// start runs the gateway, and waits until it answers.
func (g *gateway) start() {
	g.t.Helper()
	var out bytes.Buffer
	g.cmd = exec.Command(g.program, "--port", g.addr, "--cert", filepath.Join(g.dir, "cert.pem"), "--key", filepath.Join(g.dir, "key.pem"),
		"--access", rootAccess, "--secret", rootSecret, "--quiet", "posix", filepath.Join(g.dir, "data"))
	g.cmd.Stdout, g.cmd.Stderr = &out, &out
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", g.addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			g.kill()
			g.t.Fatalf("versitygw does not listen at %s: %v\n%s", g.addr, err, out.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (g *gateway) kill() {
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

func (g *gateway) s3() S3 {
	return S3{Endpoint: g.addr, Bucket: testBucket, Prefix: "home", AccessKey: rootAccess, SecretKey: rootSecret, CA: g.ca}
}

func (g *gateway) open(change func(*S3)) Store {
	g.t.Helper()
	s := g.s3()
	if change != nil {
		change(&s)
	}
	store, err := s.Open()
	if err != nil {
		g.t.Fatal(err)
	}
	return store
}

// await waits for a condition that another goroutine brings about.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// pour writes the clip for d at once, as if it had been captured in its own time.
func (r *rig) pour(d time.Duration) {
	for _, au := range units(r.next, r.next+int(d/(40*time.Millisecond))) {
		au.Captured = epoch.Add(au.PTS)
		for len(r.in) == cap(r.in) {
			time.Sleep(time.Millisecond)
		}
		r.Write(au)
		r.next++
	}
}

// Killed and started again in the middle, the gateway has every picture once, and a player that has the key plays them.
func TestGatewayKilledAndRestarted(t *testing.T) {
	g := newGateway(t)
	r := newRig(t, nil, func(c *Config) {
		c.Store, c.Part, c.RetryMin = g.open(nil), 40*time.Second, 50*time.Millisecond
	})
	r.pour(20 * time.Second)
	await(t, "the first segments to be stored", func() bool { return r.Stats().Stored >= 3 })
	g.kill()
	r.pour(40 * time.Second)
	await(t, "the outage to be told", func() bool { return len(told[StoreFailed](r)) == 1 && r.Stats().Waiting >= 9 })
	if e := told[StoreFailed](r)[0]; e.Reason != Unreachable {
		t.Errorf("the outage is told as %v (%v), want %v", e.Reason, e.Err, Unreachable)
	}
	g.start()
	await(t, "the store to be back", func() bool { return len(told[StoreBack](r)) == 1 })
	r.pour(4 * time.Second)
	r.close()
	ts, reports := archived(t, g.open(nil))
	wantPictures(t, ts, units(0, r.next))
	if len(reports) != 2 {
		t.Errorf("%d parts, want 2", len(reports))
	}
	if s := r.Stats(); s.Stored != s.Segments || s.Lost != 0 {
		t.Errorf("stats %+v, want all segments stored", s)
	}
	wantEmpty(t, r.cfg.Spool)
	wantPlayed(t, g.open(nil))
}

// wantPlayed has ffprobe play each part as HLS, by the key that the store does not have.
func wantPlayed(t *testing.T, s Store) {
	ffprobe := required(t, "ffprobe", "ffprobe")
	a := Archive{Store: s, UID: testUID, Key: testKey}
	parts, err := a.Parts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		dir := t.TempDir()
		if rep, err := a.SaveHLS(context.Background(), p, dir); err != nil || len(rep.Problems) > 0 {
			t.Fatalf("save part %s: %v %v", p.Name, err, rep.Problems)
		}
		out, err := exec.Command(ffprobe, "-v", "warning", "-allowed_extensions", "ALL", "-count_frames", "-select_streams", "v",
			"-show_entries", "stream=nb_read_frames,width", "-of", "csv=p=0", filepath.Join(dir, playlistName)).CombinedOutput()
		want := []string{"1280,1000", "1280,600"}[i] // told of the stream, and of the stream in its program
		if got := strings.Fields(string(out)); err != nil || !slices.Equal(slices.Compact(got), []string{want}) {
			t.Errorf("ffprobe of part %s: %v\n%s\nwant %s and no warning", p.Name, err, out, want)
		}
	}
}
