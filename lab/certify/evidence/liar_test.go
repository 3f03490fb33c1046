package evidence

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// resign replaces a folder's manifest and statement by what an issuer who lies might sign. A nil manifest stays; without a
// payload the statement is the manifest's.
func resign(t testing.TB, dir string, manifest, payload []byte, keys ...*Key) {
	t.Helper()
	if manifest != nil {
		write(t, dir, map[string]string{ManifestFile: string(manifest)})
	}
	e, err := sign(context.Background(), payload, keys...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := encode(e)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{CertificateFile: string(b)})
}

// payloadOf returns the statement signed in dir.
func payloadOf(t testing.TB, dir string) string {
	t.Helper()
	var e dsse.Envelope
	if err := json.Unmarshal([]byte(tree(t, dir)[CertificateFile]), &e); err != nil {
		t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A properly signed statement that says other than its manifest.
func TestStatementAndManifestDisagree(t *testing.T) {
	capture := digest([]byte(testFiles["cases/NAT-1/capture.pcapng"]))
	for name, c := range map[string]struct {
		old, new string
		kind     Kind
		path     string
		text     string
	}{
		"result": {`"result":"WARNED"`, `"result":"PASSED"`, Disagreement, "manifest.json",
			`statement.predicate.result is signed as "PASSED"; by the manifest it is "WARNED"`},
		"passed": {`"passedTests":["NAT-1"]`, `"passedTests":["NAT-1","BW-1"]`, Disagreement, "manifest.json",
			"statement.predicate.passedTests has 2 signed entries; by the manifest 1"},
		"failed": {`"passedTests"`, `"failedTests"`, Disagreement, "manifest.json",
			`statement.predicate.failedTests is signed as ["NAT-1"]; the manifest has no such thing`},
		"firmware": {digest([]byte("firmware")), digest([]byte("firmwarf")), Disagreement, "manifest.json", "statement.subject[0].digest.sha256"},
		"a file's hash": {capture, digest(nil), Disagreement, "manifest.json",
			`statement.predicate.configuration[1].annotations.files["cases/NAT-1/capture.pcapng"] is signed as`},
		"a file less": {`,"cases/NAT-1/timeline.txt":"` + digest([]byte(testFiles["cases/NAT-1/timeline.txt"])) + `"`, "", Disagreement, "manifest.json",
			`files["cases/NAT-1/timeline.txt"] is not signed; by the manifest it is`},
		"verdict":           {`"NAT-1":"pass"`, `"NAT-1":"fail"`, Disagreement, "manifest.json", "annotations.verdicts.NAT-1"},
		"seed":              {`"BW-1":"7"`, `"BW-1":"8"`, Disagreement, "manifest.json", `annotations.BW-1 is signed as "8"`},
		"seed as number":    {`"BW-1":"7"`, `"BW-1":7`, Disagreement, "manifest.json", `is signed as 7; by the manifest it is "7"`},
		"issuers":           {`"issuers":["`, `"issuers":[{}, "`, Disagreement, "manifest.json", "annotations.issuers[0] is signed as {}"},
		"extension":         {`"result"`, `"x":1,"result"`, Disagreement, "manifest.json", "statement.predicate.x is signed as 1"},
		"no configuration":  {`"configuration"`, `"c"`, Disagreement, "certificate.json", "names no manifest.json"},
		"another manifest":  {`"name":"manifest.json"`, `"name":"declaration.yaml"`, Disagreement, "certificate.json", "names no manifest.json"},
		"key twice":         {`"result":"WARNED"`, `"result":"WARNED","result":"PASSED"`, Malformed, "certificate.json", `the key "result" is there twice`},
		"statement v0.1":    {"Statement/v1", "Statement/v0.1", Malformed, "certificate.json", "want a https://in-toto.io/Statement/v1"},
		"another statement": {"Statement/v1", "Statement/v9", Malformed, "certificate.json", "wrong statement type"},
		"another predicate": {"test-result/v0.1", "test-result/v0.2", Malformed, "certificate.json",
			"want a https://in-toto.io/Statement/v1 of " + PredicateType},
		"no subject":       {`"subject"`, `"subjects"`, Malformed, "certificate.json", "subject"},
		"short digest":     {digest([]byte("firmware")), "00", Malformed, "certificate.json", "incorrect length"},
		"no JSON":          {`{"_type"`, `{_type`, Malformed, "certificate.json", "line 1, column"},
		"something behind": {`}}`, `}} {}`, Malformed, "certificate.json", "line 1, column"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sealed(t)
			payload := payloadOf(t, dir)
			i := strings.LastIndex(payload, c.old)
			if i < 0 {
				t.Fatalf("the statement has no %s:\n%s", c.old, payload)
			}
			resign(t, dir, nil, []byte(payload[:i]+c.new+payload[i+len(c.old):]), issuer(t))
			wantMismatch(t, dir, everyone(t), c.kind, c.path, c.text)
		})
	}
}

// A properly signed manifest that contradicts itself, names what is not below its folder, or can be read in two ways.
func TestManifestRefused(t *testing.T) {
	long := strings.Repeat("a/", 600) + "a"
	for name, c := range map[string]struct {
		change func(m *Manifest)
		text   string
	}{
		"schema":              {func(m *Manifest) { m.Schema = "punchlab/evidence/2" }, `knows "punchlab/evidence/1"`},
		"no subject":          {func(m *Manifest) { m.Subjects = nil }, "subjects: empty"},
		"a subject twice":     {func(m *Manifest) { m.Subjects = append(m.Subjects, m.Subjects[0]) }, "a name of its own"},
		"a subject nobody's":  {func(m *Manifest) { m.Subjects[0].Basis = "" }, "want whether it was measured"},
		"a declared size":     {func(m *Manifest) { m.Subjects[0].Basis = Declared }, "want whether it was measured"},
		"a subject unhashed":  {func(m *Manifest) { m.Subjects[0].SHA256 = strings.ToUpper(m.Subjects[0].SHA256) }, "lower-case"},
		"no suite":            {func(m *Manifest) { m.Suite.Version = "" }, "suite"},
		"witness of nothing":  {func(m *Manifest) { m.WitnessOf = "NAT-1" }, "witness_of"},
		"no issuer":           {func(m *Manifest) { m.Issuers = nil }, "issuers"},
		"issuer twice":        {func(m *Manifest) { m.Issuers = append(m.Issuers, m.Issuers[0]) }, "each once"},
		"ends before start":   {func(m *Manifest) { m.Finished = m.Started.Add(-time.Second) }, "in this order"},
		"local time":          {func(m *Manifest) { m.Started = m.Started.In(time.FixedZone("", 3600)) }, "want UTC"},
		"no declaration":      {func(m *Manifest) { m.Declaration = "" }, "declaration"},
		"declaration outside": {func(m *Manifest) { m.Declaration = "/etc/passwd" }, "no file in the folder"},
		"no scenario":         {func(m *Manifest) { m.Cases[0].Scenario = "scenarios/none.yaml" }, "no file in the folder"},
		"no case":             {func(m *Manifest) { m.Cases = nil }, "cases: 0"},
		"a case twice":        {func(m *Manifest) { m.Cases[2] = m.Cases[0] }, "cases: NAT-1 is there twice"},
		"a case's name":       {func(m *Manifest) { m.Cases[0].ID = "../NAT-1" }, "as in NAT-1"},
		"a verdict":           {func(m *Manifest) { m.Cases[0].Verdict = "passed" }, `verdict "passed": want one of fail,`},
		"an outcome":          {func(m *Manifest) { m.Cases[0].Outcome = "passed" }, `verdict pass with outcome "passed"`},
		"a fail that passes":  {func(m *Manifest) { m.Cases[0].Verdict = "fail" }, `verdict fail with outcome "PASSED"`},
		"a pass that is none": {func(m *Manifest) { m.Cases[0].Outcome = None }, `verdict pass with outcome ""`},
		"suite's verdict":     {func(m *Manifest) { m.Verdict = "not-applicable" }, "a suite passes"},
		"better than cases":   {func(m *Manifest) { m.Verdict = "pass" }, "verdict pass: better than its cases, of which 0 failed and 1 warn"},
		"better than failed": {func(m *Manifest) { m.Cases[0].Verdict, m.Cases[0].Outcome = "unsupported", Failed },
			"verdict pass-nonstrict: better than its cases, of which 1 failed"},
		"no pass at all": {func(m *Manifest) {
			m.Cases[0].Verdict, m.Cases[0].Outcome, m.Cases[1].Verdict = "inconclusive", Warned, "unsupported"
		}, "verdict pass-nonstrict: no case passed"},
		"starts uncounted":    {func(m *Manifest) { m.Cases[0].Starts = 1 }, "NAT-1: starts: 1, and starts.jsonl is there: false"},
		"starts and a pass":   {func(m *Manifest) { m.Cases[0].Starts = 2 }, `want ["WARNED"] of a case that was started 2 times`},
		"no evidence":         {func(m *Manifest) { m.Files = without(m.Files, "cases/NAT-1/") }, "NAT-1: pass on no evidence"},
		"empty evidence":      {func(m *Manifest) { m.Files = without(m.Files, "cases/BW-1/capture") }, "BW-1: pass-nonstrict on no evidence"},
		"evidence of no case": {func(m *Manifest) { m.Cases = m.Cases[:2] }, "cases/SEC-12/camera.log belongs to no case"},
		"file twice":          {func(m *Manifest) { m.Files = append(m.Files[:1:1], m.Files...) }, "each once"},
		"files unsorted":      {func(m *Manifest) { m.Files[0], m.Files[1] = m.Files[1], m.Files[0] }, "sorted"},
		"one in two cases":    {func(m *Manifest) { m.Files[0].Path = "Declaration.yaml" }, "one file where case does not count"},
		"file's hash":         {func(m *Manifest) { m.Files[0].SHA256 = "" }, "no SHA-256"},
		"file's size":         {func(m *Manifest) { m.Files[0].Size = -1 }, "-1 bytes"},
		"huge file":           {func(m *Manifest) { m.Files[0].Size = MaxFile + 1 }, "at most 4294967296"},
		"certificate":         {func(m *Manifest) { m.Files[0].Path = "Certificate.json" }, "the format's own"},
		"witness":             {func(m *Manifest) { m.Files[0].Path = "witnesses/x" }, "the format's own"},
		"upwards":             {func(m *Manifest) { m.Files[0].Path = "../../etc/passwd" }, `the part ".."`},
		"upwards within":      {func(m *Manifest) { m.Files[0].Path = "cases/../../x" }, `the part ".."`},
		"absolute":            {func(m *Manifest) { m.Files[0].Path = "/etc/passwd" }, `the part ""`},
		"a folder's slash":    {func(m *Manifest) { m.Files[0].Path = "cases/" }, `the part ""`},
		"itself":              {func(m *Manifest) { m.Files[0].Path = "." }, `the part "."`},
		"hidden":              {func(m *Manifest) { m.Files[0].Path = ".ssh/id" }, "hidden"},
		"backslash":           {func(m *Manifest) { m.Files[0].Path = `cases\x` }, "the character"},
		"drive":               {func(m *Manifest) { m.Files[0].Path = "C:x" }, "the character ':'"},
		"control":             {func(m *Manifest) { m.Files[0].Path = "a\x1b[2Jb" }, `the character '\x1b'`},
		"nought":              {func(m *Manifest) { m.Files[0].Path = "a\x00b" }, "the character"},
		"umlaut":              {func(m *Manifest) { m.Files[0].Path = "ä" }, "the character"},
		"last dot":            {func(m *Manifest) { m.Files[0].Path = "a." }, "last dot"},
		"empty path":          {func(m *Manifest) { m.Files[0].Path = "" }, "0 bytes"},
		"long path":           {func(m *Manifest) { m.Files[0].Path = long }, "1201 bytes"},
		"long part":           {func(m *Manifest) { m.Files[0].Path = strings.Repeat("a", 201) }, "201 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sealed(t)
			var m Manifest
			if err := json.Unmarshal([]byte(tree(t, dir)[ManifestFile]), &m); err != nil {
				t.Fatal(err)
			}
			c.change(&m)
			manifest, err := encode(m)
			if err != nil {
				t.Fatal(err)
			}
			resign(t, dir, manifest, naming(t, dir, manifest), issuer(t))
			wantMismatch(t, dir, everyone(t), Disagreement, "manifest.json", c.text)
		})
	}
}

// A properly signed manifest in another form than the one.
func TestManifestForm(t *testing.T) {
	for name, c := range map[string]struct{ old, new, text string }{
		"key twice":     {`"schema":`, `"schema": "", "schema":`, `line 2, column 24: the key "schema" is there twice`},
		"deep twice":    {`"verdict": "pass",`, `"verdict": "pass", "verdict": "pass",`, `the key "verdict" is there twice`},
		"other case":    {`"schema":`, `"Schema":`, "line 2, column 4: not written as punchlab writes it"},
		"unknown key":   {`"schema":`, `"x": 1, "schema":`, "unknown field"},
		"spaces":        {`"schema": `, `"schema":  `, "line 2, column 13: not written as"},
		"escape":        {`punchlab/evidence/1`, `punchlab\/evidence/1`, "not written as"},
		"exponent":      {`"size": 0`, `"size": 0e1`, "cannot unmarshal"},
		"null":          {`"subjects": [`, `"subjects": null, "s": [`, "unknown field"},
		"no UTF-8":      {`"pass"`, "\"p\xffss\"", "not written as"},
		"cut":           {"  ]\n}\n", "  ]\n", "EOF"},
		"behind":        {"  ]\n}\n", "  ]\n}\n{}", "something follows"},
		"nested":        {`"schema": `, `"schema": ` + strings.Repeat("[", 100), "nested more than 32 deep"},
		"not an object": {`{`, `[{`, "line"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sealed(t)
			text := tree(t, dir)[ManifestFile]
			changed := strings.Replace(text, c.old, c.new, 1)
			if changed == text {
				t.Fatalf("the manifest has no %s", c.old)
			}
			resign(t, dir, []byte(changed), naming(t, dir, []byte(changed)), issuer(t))
			wantMismatch(t, dir, everyone(t), Malformed, "manifest.json", c.text)
		})
	}
}

// An envelope in another form, or with signatures that do not count.
func TestEnvelope(t *testing.T) {
	dir := sealed(t, issuer(t), second(t))
	trust := Trust{Issuers: []PublicKey{issuer(t).Public(), second(t).Public()}}
	files := tree(t, dir)
	text := files[CertificateFile]
	var e dsse.Envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(e *dsse.Envelope)
		kind   Kind
		text   string
	}{
		"none":            {func(e *dsse.Envelope) { e.Signatures = nil }, Signature, "it has 0 signatures"},
		"one lacks":       {func(e *dsse.Envelope) { e.Signatures = e.Signatures[:1] }, Signature, "has not signed it"},
		"one twice":       {func(e *dsse.Envelope) { e.Signatures[1] = e.Signatures[0] }, Signature, "has signed twice"},
		"another's":       {func(e *dsse.Envelope) { e.Signatures[0].Sig = e.Signatures[1].Sig }, Signature, "signatures[0]: it is not by key"},
		"empty":           {func(e *dsse.Envelope) { e.Signatures[1].Sig = "" }, Signature, "signatures[1]: it is not by key"},
		"unordered":       {func(e *dsse.Envelope) { slices.Reverse(e.Signatures) }, Malformed, "order"},
		"anonymous":       {func(e *dsse.Envelope) { e.Signatures[0].KeyID = "" }, Malformed, "no key ID"},
		"no base64":       {func(e *dsse.Envelope) { e.Signatures[0].Sig = "?" }, Malformed, "signatures[0] is not base64"},
		"payload":         {func(e *dsse.Envelope) { e.Payload = "?" }, Malformed, "its payload is not base64"},
		"URL's base64":    {func(e *dsse.Envelope) { e.Payload = "_-==" }, Malformed, "its payload is not base64"},
		"unpadded":        {func(e *dsse.Envelope) { e.Payload = strings.TrimRight(e.Payload+"AA==", "=") }, Malformed, "its payload is not base64"},
		"line break":      {func(e *dsse.Envelope) { e.Payload += "\n" }, Malformed, "its payload is not base64"},
		"broken line":     {func(e *dsse.Envelope) { e.Signatures[1].Sig += "\r\n" }, Malformed, "signatures[1] is not base64"},
		"another payload": {func(e *dsse.Envelope) { e.Payload = "e30=" }, Signature, "over this statement"},
		"another type":    {func(e *dsse.Envelope) { e.PayloadType = "application/json" }, Malformed, "its payload is"},
		"stranger too":    {func(e *dsse.Envelope) { cosign(t, e, stranger(t)) }, Untrusted, "its witness " + stranger(t).Public().ID()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, files)
			changed := e
			changed.Signatures = append([]dsse.Signature(nil), e.Signatures...)
			c.change(&changed)
			b, err := encode(changed)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{CertificateFile: string(b)})
			wantMismatch(t, dir, trust, c.kind, "certificate.json", c.text)
		})
	}
}

// Limits hold before anything is read.
func TestLimits(t *testing.T) {
	for want, files := range map[string][]File{
		"more than 68719476736 bytes by f000016": many(17, MaxFile),
		"100001, at most 100000":                 many(MaxFiles+1, 0),
	} {
		if err := (&Manifest{Files: files}).checkFiles(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func cosign(t *testing.T, e *dsse.Envelope, k *Key) {
	t.Helper()
	payload, _ := decode64(e.Payload)
	more, err := sign(context.Background(), payload, k)
	if err != nil {
		t.Fatal(err)
	}
	e.Signatures = append(e.Signatures, more.Signatures...)
	sortSignatures(e)
}

// naming returns dir's statement, naming another manifest.
func naming(t testing.TB, dir string, manifest []byte) []byte {
	t.Helper()
	payload := payloadOf(t, dir)
	return []byte(strings.Replace(payload, manifestDigest([]byte(payload)), digest(manifest), 1))
}

func without(files []File, prefix string) (kept []File) {
	for _, f := range files {
		if !strings.HasPrefix(f.Path, prefix) {
			kept = append(kept, f)
		}
	}
	return kept
}

func many(n int, size int64) []File {
	files := make([]File, n)
	for i := range files {
		files[i] = File{Path: fmt.Sprintf("f%06d", i), Size: size, SHA256: digest(nil)}
	}
	return files
}
