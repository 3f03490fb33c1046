// Package cloudtest runs a real S3 store for tests: versitygw, over TLS with a CA of its own, on a folder.
//
//	g := cloudtest.Start(t)            versitygw ─ posix ─ t.TempDir()
//	g.URL(), g.Credentials(), g.CA()   what a camera is told of it
//	g.Kill(); g.Restart()              an outage
//
// The program is bin/versitygw, which `go build` makes in impl/cloud/versitygw, or one on the PATH.
package cloudtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Required returns a program's path. It skips the test without it, or fails it if PUNCHLAB_REQUIRE names it.
func Required(t testing.TB, name string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		found, err = built(name)
	}
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), name):
		t.Fatalf("%s is required here and missing: %v", name, err)
	default:
		t.Skipf("%s is missing: %v", name, err)
	}
	return found
}

// built looks for a program in the repository's bin.
func built(name string) (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		path := filepath.Join(dir, "bin", name)
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return exec.LookPath(path)
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", exec.ErrNotFound
}

// Gateway is a store that runs until the test ends.
type Gateway struct {
	Addr string // HOST:PORT
	Dir  string // data, ca.pem, cert.pem, key.pem, credentials

	t       testing.TB
	program string
	cmd     *exec.Cmd
}

// What the store knows.
const (
	AccessKey, SecretKey = "camera-access", "camera-secret"
	Bucket               = "recordings"
)

// Start runs a store with an empty bucket. It skips the test where versitygw is missing.
func Start(t testing.TB) *Gateway {
	t.Helper()
	program := Required(t, "versitygw")
	g := &Gateway{t: t, program: program, Dir: t.TempDir(), Addr: keepPort(t)}
	writeCertificate(t, g.Dir)
	if err := os.MkdirAll(filepath.Join(g.Dir, "data", Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.Credentials(), []byte(AccessKey+":"+SecretKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Restart()
	t.Cleanup(g.Kill)
	return g
}

// keepPort has a port of 127.0.0.1 that nobody else is given before the test ends, also in an outage: a socket is bound to it, and does not
// listen. The store may bind it too, since both say SO_REUSEADDR.
func keepPort(t testing.TB) (addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	at := syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	err = errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), syscall.Bind(fd, &at))
	bound, e := syscall.Getsockname(fd)
	if err = errors.Join(err, e); err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
}

// writeCertificate makes a CA and a server's certificate for 127.0.0.1.
func writeCertificate(t testing.TB, dir string) {
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
}

// Restart runs the store again, on what it had and at the address it had, and waits until it answers.
func (g *Gateway) Restart() {
	g.t.Helper()
	var out bytes.Buffer
	g.cmd = exec.Command(g.program, "--port", g.Addr, "--cert", filepath.Join(g.Dir, "cert.pem"), "--key", filepath.Join(g.Dir, "key.pem"),
		"--access", AccessKey, "--secret", SecretKey, "--quiet", "posix", filepath.Join(g.Dir, "data"))
	g.cmd.Stdout, g.cmd.Stderr = &out, &out
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", g.Addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			g.Kill()
			g.t.Fatalf("versitygw does not listen at %s: %v\n%s", g.Addr, err, out.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Kill ends the store by SIGKILL.
func (g *Gateway) Kill() {
	if g.cmd != nil {
		_ = g.cmd.Process.Kill()
		_ = g.cmd.Wait()
		g.cmd = nil
	}
}

// Credentials is a file as cloud.LoadCredentials reads it.
func (g *Gateway) Credentials() string { return filepath.Join(g.Dir, "credentials") }

// CA is the file of who signed the store's certificate.
func (g *Gateway) CA() string { return filepath.Join(g.Dir, "ca.pem") }

// URL is the store's, with a prefix.
func (g *Gateway) URL() string { return "https://" + g.Addr + "/" + Bucket + "/home" }
