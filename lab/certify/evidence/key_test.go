package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	private, public := filepath.Join(dir, "lab.key"), filepath.Join(dir, "lab.pub")
	k := issuer(t)
	if err := SaveKey(private, k); err != nil {
		t.Fatal(err)
	}
	if err := SavePublicKey(public, k.Public()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got, err := LoadKey(private); err != nil || got.Public() != k.Public() {
		t.Errorf("LoadKey = %v, %v", got, err)
	}
	if got, err := LoadPublicKey(public); err != nil || got != k.Public() {
		t.Errorf("LoadPublicKey = %v, %v", got, err)
	}
	before := tree(t, dir)
	for _, err := range []error{SaveKey(private, second(t)), SavePublicKey(public, second(t).Public())} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("save over a key: %v", err)
		}
	}
	if after := tree(t, dir); after["lab.key"] != before["lab.key"] || after["lab.pub"] != before["lab.pub"] {
		t.Error("a refused save changed a key")
	}
}

func TestKeyFilesRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := SaveKey(good, issuer(t)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		mode os.FileMode
		want string
	}{
		"group reads":   {text, 0o640, "chmod 600"},
		"world reads":   {text, 0o604, "chmod 600"},
		"empty":         {nil, 0o600, "no PEM block"},
		"public":        {pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: issuer(t).Public().der()}), 0o600, `holds a "PUBLIC KEY"`},
		"another kind":  {pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), 0o600, "want Ed25519"},
		"no key inside": {pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: []byte("x")}), 0o600, "asn1"},
		"two keys":      {append(bytes.Clone(text), text...), 0o600, "more than one"},
		"words before":  {append([]byte("a key:\n"), text...), 0o600, "more than one"},
		"too long":      {bytes.Repeat([]byte("\n"), maxKeyFile+1), 0o600, "more than any key"},
	} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, c.text, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, c.mode); err != nil {
			t.Fatal(err)
		}
		if k, err := LoadKey(p); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v; want …%s…", name, k, err, c.want)
		}
	}
	if _, err := LoadPublicKey(good); err == nil || !strings.Contains(err.Error(), `want a "PUBLIC KEY"`) {
		t.Errorf("LoadPublicKey of a private key: %v", err)
	}
	if _, err := LoadKey(dir); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("LoadKey of a folder: %v", err)
	}
	if _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadKey of nothing: %v", err)
	}
	if _, err := NewKey(strings.NewReader("short")); err == nil {
		t.Error("a key from 5 bytes")
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	k := issuer(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		s := fmt.Sprintf(format, k)
		if !strings.Contains(s, k.Public().ID()) || strings.Contains(s, "1, 1, 1") || strings.Contains(s, "1 1 1") || strings.Contains(s, "0101") {
			t.Errorf("%s prints %q", format, s)
		}
	}
}

// OpenSSL makes keys this reads, reads keys this makes, and counts the same ID.
func TestKeysOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	dir := t.TempDir()
	run := func(arg ...string) []byte {
		out, err := exec.Command(openssl, arg...).Output()
		if err != nil {
			t.Fatalf("openssl %s: %v", strings.Join(arg, " "), err)
		}
		return out
	}
	made := filepath.Join(dir, "made.key")
	run("genpkey", "-algorithm", "ed25519", "-out", made)
	if err := os.Chmod(made, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := LoadKey(made)
	if err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(dir, "made.pub")
	run("pkey", "-in", made, "-pubout", "-out", public)
	if p, err := LoadPublicKey(public); err != nil || p != k.Public() {
		t.Errorf("LoadPublicKey = %v, %v", p, err)
	}
	own := filepath.Join(dir, "own.pub")
	if err := SavePublicKey(own, k.Public()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(run("pkey", "-pubin", "-in", own, "-outform", "DER"))
	if id := hex.EncodeToString(sum[:]); id != k.Public().ID() {
		t.Errorf("openssl counts the ID %s, not %s", id, k.Public().ID())
	}
}
