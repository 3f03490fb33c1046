package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// What the statement is, to whoever reads in-toto.
const (
	PredicateType = "https://in-toto.io/attestation/test-result/v0.1"
	PayloadType   = "application/vnd.in-toto+json"
)

// statement derives what is signed from a manifest, which has been checked, and from its encoding.
func statement(m *Manifest, encoded []byte) ([]byte, error) {
	configuration, err := m.configuration(encoded)
	if err != nil {
		return nil, err
	}
	result := &testresult.TestResult{Result: string(m.Result()), Configuration: configuration}
	for _, c := range m.Cases {
		switch c.Outcome {
		case Passed:
			result.PassedTests = append(result.PassedTests, c.ID)
		case Warned:
			result.WarnedTests = append(result.WarnedTests, c.ID)
		case Failed:
			result.FailedTests = append(result.FailedTests, c.ID)
		}
	}
	text, err := protojson.Marshal(result)
	if err != nil {
		return nil, err
	}
	predicate := &structpb.Struct{}
	if err := protojson.Unmarshal(text, predicate); err != nil {
		return nil, err
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: PredicateType, Predicate: predicate}
	for _, a := range m.Subjects {
		subject, err := a.subject()
		if err != nil {
			return nil, err
		}
		s.Subject = append(s.Subject, subject)
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if text, err = protojson.Marshal(s); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text) // protojson varies its spaces on purpose
	return b.Bytes(), err
}

// subject is what is certified, and whose word its digest is.
func (a Artifact) subject() (rd *intoto.ResourceDescriptor, err error) {
	rd = describe(a.Name, a.SHA256)
	notes := map[string]any{"digest": a.Basis.Says()}
	if a.Basis == Measured {
		notes["size"] = strconv.FormatInt(a.Size, 10)
	}
	rd.Annotations, err = structpb.NewStruct(notes)
	return rd, err
}

// configuration lists the suite, the manifest, the declaration, the scenarios and the seeds.
func (m *Manifest) configuration(encoded []byte) ([]*intoto.ResourceDescriptor, error) {
	suite := describe(m.Suite.Name, m.Suite.SHA256)
	about := describe(ManifestFile, digest(encoded))
	seeds := describe("seeds", digest([]byte(m.seedList())))
	given, files, drawn, starts := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	scenarios := map[string]bool{}
	for _, c := range m.Cases {
		given[c.ID] = c.Verdict
		if c.Starts > 0 {
			starts[c.ID] = strconv.Itoa(c.Starts)
		}
		drawn[c.ID] = strconv.FormatUint(c.Seed, 10)
		if c.Scenario != "" {
			scenarios[c.Scenario] = true
		}
	}
	for _, f := range m.Files {
		files[f.Path] = f.SHA256
	}
	issuers := make([]any, len(m.Issuers))
	for i, id := range m.Issuers {
		issuers[i] = id
	}
	notes := map[string]any{
		"version": m.Suite.Version, "command": m.Suite.Command, "issuers": issuers,
		"started": m.Started.Format(time.RFC3339Nano), "finished": m.Finished.Format(time.RFC3339Nano),
	}
	if m.WitnessOf != "" {
		notes["witnessOf"] = m.WitnessOf
	}
	for rd, notes := range map[*intoto.ResourceDescriptor]map[string]any{
		suite: notes, about: {"verdicts": given, "files": files, "verdict": m.Verdict, "starts": starts}, seeds: drawn,
	} {
		var err error
		if rd.Annotations, err = structpb.NewStruct(notes); err != nil {
			return nil, err
		}
	}
	about.MediaType = "application/json"
	all := []*intoto.ResourceDescriptor{suite, about}
	for _, p := range append([]string{m.Declaration}, slices.Sorted(maps.Keys(scenarios))...) {
		f, ok := m.file(p)
		if !ok {
			return nil, fmt.Errorf("%s is no file in the folder", p)
		}
		all = append(all, describe(f.Path, f.SHA256))
	}
	return append(all, seeds), nil
}

// seedList is the text whose digest names the seeds: "NAT-1 42 scenarios/nat.yaml" and a newline for each case, in order.
func (m *Manifest) seedList() string {
	var b strings.Builder
	for _, c := range m.Cases {
		fmt.Fprintf(&b, "%s %d %s\n", c.ID, c.Seed, c.Scenario)
	}
	return b.String()
}

func describe(name, sum string) *intoto.ResourceDescriptor {
	return &intoto.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": sum}}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// checkStatement says how a signed payload is no test-result statement.
func checkStatement(payload []byte) *Mismatch {
	malformed := func(format string, a ...any) *Mismatch {
		return mismatch(Malformed, CertificateFile, "the signed statement: "+format, a...)
	}
	if err := checkKeys(payload); err != nil {
		return malformed("%v", err)
	}
	s := &intoto.Statement{}
	if err := protojson.Unmarshal(payload, s); err != nil {
		return malformed("%v", err)
	}
	if err := s.Validate(); err != nil {
		return malformed("%v", err)
	}
	if s.Type != intoto.StatementTypeUri || s.PredicateType != PredicateType {
		return malformed("it is a %s of %s; want a %s of %s", s.Type, s.PredicateType, intoto.StatementTypeUri, PredicateType)
	}
	return nil
}

// manifestDigest returns the hash of manifest.json that a statement names, or "".
func manifestDigest(payload []byte) string {
	var s struct {
		Predicate struct {
			Configuration []struct {
				Name   string            `json:"name"`
				Digest map[string]string `json:"digest"`
			} `json:"configuration"`
		} `json:"predicate"`
	}
	if json.Unmarshal(payload, &s) != nil {
		return ""
	}
	for _, c := range s.Predicate.Configuration {
		if c.Name == ManifestFile {
			return c.Digest["sha256"]
		}
	}
	return ""
}

// disagree names the first place where the signed statement and the one derived from the manifest differ; "" is nowhere.
func disagree(signed, derived []byte) (string, error) {
	var values [2]any
	for i, b := range [][]byte{signed, derived} {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&values[i]); err != nil {
			return "", err
		}
	}
	return differ("statement", values[0], values[1]), nil
}

func differ(where string, signed, derived any) string {
	switch a := signed.(type) {
	case map[string]any:
		b, ok := derived.(map[string]any)
		if !ok {
			break
		}
		keys := maps.Clone(a)
		maps.Copy(keys, b)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			x, inA := a[k]
			y, inB := b[k]
			at := where + "." + k
			if strings.ContainsAny(k, "./") {
				at = fmt.Sprintf("%s[%q]", where, k)
			}
			switch {
			case !inA:
				return fmt.Sprintf("%s is not signed; by the manifest it is %s", at, brief(y))
			case !inB:
				return fmt.Sprintf("%s is signed as %s; the manifest has no such thing", at, brief(x))
			}
			if text := differ(at, x, y); text != "" {
				return text
			}
		}
		return ""
	case []any:
		b, ok := derived.([]any)
		if !ok {
			break
		}
		for i := range min(len(a), len(b)) {
			if text := differ(fmt.Sprintf("%s[%d]", where, i), a[i], b[i]); text != "" {
				return text
			}
		}
		if len(a) != len(b) {
			return fmt.Sprintf("%s has %d signed entries; by the manifest %d", where, len(a), len(b))
		}
		return ""
	default:
		if a == derived {
			return ""
		}
	}
	return fmt.Sprintf("%s is signed as %s; by the manifest it is %s", where, brief(signed), brief(derived))
}

func brief(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 80 {
		return string(b[:77]) + "…"
	}
	return string(b)
}
