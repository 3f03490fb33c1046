package evidence

import (
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/encoding/protojson"
)

var update = flag.Bool("update", false, "rewrite golden files")

const golden = "testdata/certificate"

// The same run, keys and times are the same certificate, byte for byte; and the one in testdata verifies.
func TestGolden(t *testing.T) {
	dir := witnessed(t)
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		write(t, golden, tree(t, dir))
	}
	if diff := cmp.Diff(tree(t, golden), tree(t, dir)); diff != "" {
		t.Errorf("testdata/certificate (-want +got):\n%s", diff)
	}
	r, err := Verify(context.Background(), golden, everyone(t))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile("testdata/certificate.txt")
	if *update {
		write(t, "testdata", map[string]string{"certificate.txt": r.Text()})
	} else if diff := cmp.Diff(string(want), r.Text()); diff != "" {
		t.Errorf("testdata/certificate.txt (-want +got):\n%s", diff)
	}
}

// Each byte of each file matters, and the mismatch names its file.
func TestEveryByteCounts(t *testing.T) {
	files := tree(t, golden)
	trust := everyone(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, files)
			p := filepath.Join(dir, name)
			original := []byte(files[name])
			try := func(what string, at int, b []byte) {
				if err := os.WriteFile(p, b, 0o644); err != nil {
					t.Fatal(err)
				}
				_, err := Verify(context.Background(), dir, trust)
				if err == nil {
					t.Fatalf("byte %d %s: still valid", at, what)
				}
				if !strings.Contains(err.Error(), name+": ") {
					t.Fatalf("byte %d %s: %v; want it to name %s", at, what, err, name)
				}
			}
			step := 1
			if len(original) > 2000 && os.Getenv("PUNCHLAB_SOAK") == "" {
				step = 11 // prime to base64's four characters
			}
			for i := 0; i < len(original); i += step {
				b := slices.Clone(original)
				b[i] ^= 1
				try("changed", i, b)
				if i%8 == 0 {
					try("removed", i, slices.Delete(slices.Clone(original), i, i+1))
					try("doubled", i, slices.Insert(slices.Clone(original), i, original[i]))
				}
			}
			try("appended", len(original), append(slices.Clone(original), '\n'))
		})
	}
}

// Whoever reads in-toto and DSSE with their own libraries reads this.
func TestOtherReaders(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(golden, CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	v, err := dsse.NewMultiEnvelopeVerifier(2, checker{issuer(t).Public()}, checker{witness(t).Public()})
	if err != nil {
		t.Fatal(err)
	}
	keys, payload, err := v.VerifyAndDecode(context.Background(), &e)
	if err != nil || len(keys) != 2 {
		t.Fatalf("the library's verifier: %v, %v", keys, err)
	}
	s := &intoto.Statement{}
	if err := protojson.Unmarshal(payload, s); err != nil {
		t.Fatal(err)
	}
	predicate, err := protojson.Marshal(s.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	r := &testresult.TestResult{}
	if err := protojson.Unmarshal(predicate, r); err != nil {
		t.Fatal(err)
	}
	m := testManifest()
	if s.Subject[0].Name != m.Subjects[0].Name || s.Subject[0].Digest["sha256"] != m.Subjects[0].SHA256 {
		t.Errorf("subject %v", s.Subject)
	}
	if r.Result != "WARNED" || !slices.Equal(r.PassedTests, []string{"NAT-1"}) ||
		!slices.Equal(r.WarnedTests, []string{"BW-1"}) || len(r.FailedTests) > 0 {
		t.Errorf("result %v", r)
	}
	var names []string
	for _, c := range r.Configuration {
		names = append(names, c.Name)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	want := []string{"punchlab/certify", "manifest.json", "declaration.yaml", "scenarios/bandwidth.yaml", "scenarios/nat.yaml", "seeds"}
	if !slices.Equal(names, want) {
		t.Errorf("configuration %q; want %q", names, want)
	}
	files := r.Configuration[1].Annotations.AsMap()["files"].(map[string]any)
	for name, text := range testFiles {
		if files[name] != digest([]byte(text)) {
			t.Errorf("annotation of %s: %v", name, files[name])
		}
	}
	if seed := r.Configuration[5].Annotations.AsMap()["NAT-1"]; seed != "18446744073709551615" {
		t.Errorf("seed %v", seed)
	}
}
