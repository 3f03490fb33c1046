package work_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/work"
)

// foreign is a NATS server as somebody else runs it.
func foreign(t testing.TB, o natsserver.Options) *natsserver.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.StoreDir = "127.0.0.1", natsserver.RANDOM_PORT, true, true, t.TempDir()
	s, err := natsserver.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("no NATS server")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// certificate makes one that signs itself, and returns the files of it and its key.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// With TLS, and a certificate of the client's in place of a password.
func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	s := foreign(t, natsserver.Options{JetStream: true, TLS: true, TLSVerify: true, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}})
	at := work.Connection{URL: fmt.Sprintf("tls://127.0.0.1:%d", s.Addr().(*net.TCPAddr).Port), CA: cert, Cert: cert, Key: key}
	r := rig{Trials: 4}
	o := spread(t, r.manifest())
	o.Connection = at
	var got []record.Trial
	o.Sink = func(rec record.Trial) error { got = append(got, rec); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		w := serving("")
		w.Connection = at
		served <- work.Serve(ctx, w)
	}()
	if _, err := work.Coordinate(t.Context(), o); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	r.same(t, got)
	at.CA = ""
	o.Connection = at
	if _, err := work.Coordinate(t.Context(), o); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without its CA: %v", err)
	}
}

// What is wrong with a server is said, and with it what to do.
func TestNoServer(t *testing.T) {
	r := rig{Trials: 4}
	s := server(t)
	plain := foreign(t, natsserver.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "nats://user:secret@" + l.Addr().String()
	l.Close()
	for want, change := range map[string]func(*work.Options){
		"Authorization Violation":     func(o *work.Options) { o.URL = strings.Replace(s.URL(), "punchlab:", "punchlab:x", 1) },
		"is the server there":         func(o *work.Options) { o.URL = nobody },
		"start the NATS server with ": func(o *work.Options) { o.URL = plain.ClientURL() },
		"give both files":             func(o *work.Options) { o.URL, o.Cert = nobody, "cert.pem" },
		"use HOST:PORT":               func(o *work.Options) { o.Listen = "4222" },
		"does not listen":             func(o *work.Options) { o.Listen = strings.Split(s.URL(), "@")[1] },
		"of its own needs a folder":   func(o *work.Options) { o.Store = "" },
		"no sink":                     func(o *work.Options) { o.Sink = nil },
		"positive numbers":            func(o *work.Options) { o.AckWait = time.Millisecond },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			o := spread(t, r.manifest())
			o.Sink = func(record.Trial) error { return nil }
			change(&o)
			_, err := work.Coordinate(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
		})
	}
	// A worker waits for a server that is not there, but not for one that turns it away.
	err = work.Serve(t.Context(), serving(strings.Replace(s.URL(), "punchlab:", "punchlab:x", 1)))
	if err == nil || !strings.Contains(err.Error(), "turned this client away") {
		t.Errorf("the worker says %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := work.Serve(ctx, serving(nobody)); err != nil {
		t.Errorf("the worker says %v", err)
	}
}
