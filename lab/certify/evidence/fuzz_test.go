package evidence

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What is read as a manifest is written the same, and its statement agrees with itself.
func FuzzManifest(f *testing.F) {
	b, err := os.ReadFile(filepath.Join(golden, ManifestFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"schema":"","schema":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Manifest
		if decode(b, &m) != nil || m.check() != nil {
			return
		}
		encoded, payload, err := documents(&m)
		if err != nil {
			t.Fatalf("no statement: %v", err)
		}
		if !bytes.Equal(encoded, b) {
			t.Fatalf("read\n%s\nwritten\n%s", b, encoded)
		}
		if m := checkStatement(payload); m != nil {
			t.Fatal(m)
		}
		if where, err := disagree(payload, payload); where != "" || err != nil || manifestDigest(payload) != digest(b) {
			t.Fatalf("%s, %v", where, err)
		}
	})
}

// No envelope breaks its reader, and what is read is written the same.
func FuzzEnvelope(f *testing.F) {
	b, err := os.ReadFile(filepath.Join(golden, CertificateFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{\n  \"payloadType\": \"application/vnd.in-toto+json\",\n  \"payload\": \"e30=\",\n  \"signatures\": []\n}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, payload, m := readEnvelope(b)
		if m != nil {
			return
		}
		if again, err := encode(e); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read\n%s\nwritten\n%s", b, again)
		}
		checkStatement(payload)
		manifestDigest(payload)
	})
}

// Any path that is accepted stays below its folder.
func FuzzPath(f *testing.F) {
	for _, p := range []string{"cases/NAT-1/capture.pcapng", "../x", "/etc/passwd", "a//b", "a/./b", "CON", `a\b`} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if checkPath(p) == nil && (!filepath.IsLocal(p) || filepath.Clean(p) != p) {
			t.Fatalf("%q is accepted", p)
		}
	})
}
