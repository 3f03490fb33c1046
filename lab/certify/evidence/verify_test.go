package evidence

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	dir := sealed(t, issuer(t), second(t))
	trust := Trust{Issuers: []PublicKey{second(t).Public(), stranger(t).Public(), issuer(t).Public()}}
	r, err := Verify(context.Background(), dir, trust)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, text := range testFiles {
		size += int64(len(text))
	}
	if r.Manifest.Result() != Warned || len(r.Manifest.Files) != len(testFiles) ||
		r.Bytes != size || len(r.Manifest.Issuers) != 2 || len(r.Statement) != 64 {
		t.Errorf("%+v", r)
	}
	if c, ok := r.Manifest.Case("NAT-1"); !ok || c != testManifest().Cases[0] {
		t.Errorf("NAT-1: %+v", c)
	}
}

// What anybody can do to a folder, and what Verify says first.
func TestTampering(t *testing.T) {
	clean := witnessed(t)
	files := tree(t, clean)
	w := "witnesses/" + witness(t).Public().ID() + "/"
	for name, c := range map[string]struct {
		do   func(dir string) error
		kind Kind
		path string
		text string
	}{
		"no certificate":  {remove("certificate.json"), Missing, "certificate.json", "folder has one"},
		"no manifest":     {remove("manifest.json"), Missing, "manifest.json", ""},
		"no declaration":  {remove("declaration.yaml"), Missing, "declaration.yaml", "29 bytes"},
		"no capture":      {remove("cases/NAT-1/capture.pcapng"), Missing, "cases/NAT-1/capture.pcapng", ""},
		"no folder":       {removeAll("cases"), Missing, "cases/BW-1/camera.log", ""},
		"a file more":     {add("cases/NAT-1/more.txt", "x"), Extra, "cases/NAT-1/more.txt", "does not know"},
		"hidden":          {add("cases/.DS_Store", "x"), Extra, "cases/.DS_Store", ""},
		"half written":    {add(".manifest.json.partial", "x"), Extra, ".manifest.json.partial", ""},
		"other manifest":  {add("manifest.json", "{}"), Hash, "manifest.json", "was signed"},
		"changed":         {upper("declaration.yaml"), Hash, "declaration.yaml", "SHA-256"},
		"longer":          {add("cases/SEC-12/camera.log", "update: yes\n"), Size, "cases/SEC-12/camera.log", "12 bytes; the manifest says 11"},
		"emptied":         {add("cases/SEC-12/camera.log", ""), Size, "cases/SEC-12/camera.log", "0 bytes"},
		"two things":      {both(add("scenarios/nat.yaml", "x"), remove("cases/NAT-1/timeline.txt")), Missing, "cases/NAT-1/timeline.txt", ""},
		"renamed":         {rename("cases/NAT-1/timeline.txt", "cases/NAT-1/Timeline.txt"), Extra, "cases/NAT-1/Timeline.txt", ""},
		"link to itself":  {link("cases/NAT-1/copy.pcapng", "cases/NAT-1/capture.pcapng"), Forbidden, "cases/NAT-1/capture.pcapng", "symbolic link"},
		"link outside":    {link("/etc/passwd", "cases/NAT-1/timeline.txt"), Forbidden, "cases/NAT-1/timeline.txt", "symbolic link"},
		"folder's link":   {link("/etc", "cases"), Forbidden, "cases", "symbolic link"},
		"manifest's link": {link("/etc/passwd", "manifest.json"), Forbidden, "manifest.json", "symbolic link"},
		"statement's":     {link("/dev/zero", "certificate.json"), Forbidden, "certificate.json", "symbolic link"},
		"pipe":            {pipe("cases/BW-1/camera.log"), Forbidden, "cases/BW-1/camera.log", "named pipe"},
		"manifest a pipe": {pipe("manifest.json"), Forbidden, "manifest.json", "named pipe"},
		"a folder":        {folderAt("manifest.json"), Forbidden, "manifest.json", "a folder"},
		"a file's folder": {folderAt("declaration.yaml"), Missing, "declaration.yaml", ""},
		"a folder's file": {both(removeAll("cases"), add("cases", "x")), Extra, "cases", ""},
		"huge file":       {sparse("cases/NAT-1/capture.pcapng", 1<<40), Size, "cases/NAT-1/capture.pcapng", "1099511627776 bytes"},
		"huge manifest":   {sparse("manifest.json", 1<<40), TooLarge, "manifest.json", "1099511627776 bytes"},
		"huge statement":  {sparse("certificate.json", 1<<40), TooLarge, "certificate.json", "1099511627776 bytes"},
		"deep folders":    {folderAt("cases/" + strings.Repeat("a/", 80)), TooLarge, "cases/" + strings.Repeat("a/", 63) + "a", "folders 65 deep"},

		"no witness":          {removeAll("witnesses"), Missing, strings.TrimSuffix(w, "/"), "no statement of what it ran"},
		"witnesses a file":    {both(removeAll("witnesses"), add("witnesses", "x")), Extra, "witnesses", ""},
		"witnesses a link":    {link("cases", "witnesses"), Forbidden, "witnesses", "symbolic link"},
		"witness a file":      {add("witnesses/readme.txt", "x"), Extra, "witnesses/readme.txt", ""},
		"witness a link":      {link("/etc", strings.TrimSuffix(w, "/")), Extra, strings.TrimSuffix(w, "/"), ""},
		"witness misnamed":    {folderAt("witnesses/me"), Extra, "witnesses/me", "named by its key"},
		"witness changed":     {add(w+"scenarios/nat.yaml", "scenario: NAT\n"), Hash, w + "scenarios/nat.yaml", ""},
		"witness's capture":   {remove(w + "cases/BW-1/capture.pcapng"), Missing, w + "cases/BW-1/capture.pcapng", ""},
		"witness's manifest":  {remove(w + "manifest.json"), Missing, w + "manifest.json", ""},
		"witness's witnesses": {folderAt(w + "witnesses"), Extra, w + "witnesses", "no witnesses of its own"},
		"stranger's folder":   {folderAt("witnesses/" + stranger(t).Public().ID()), Untrusted, "witnesses/" + stranger(t).Public().ID(), "not trusted"},
		"issuer's folder":     {folderAt("witnesses/" + issuer(t).Public().ID()), Disagreement, "witnesses/" + issuer(t).Public().ID(), "second party"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, files)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			wantMismatch(t, dir, everyone(t), c.kind, c.path, c.text)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v: it read what it need not", took)
			}
		})
	}
}

func TestTrust(t *testing.T) {
	dir := witnessed(t)
	one, wit, other := issuer(t).Public(), witness(t).Public(), stranger(t).Public()
	for name, c := range map[string]struct {
		trust Trust
		text  string
	}{
		"nobody":                  {Trust{}, "not among the 0 trusted issuers"},
		"another":                 {Trust{Issuers: []PublicKey{other}, Witnesses: []PublicKey{wit}}, "not among the 1 trusted issuers"},
		"a witness issues":        {Trust{Issuers: []PublicKey{wit}, Witnesses: []PublicKey{one}}, "its issuer " + one.ID() + " is not trusted"},
		"an unknown witness":      {Trust{Issuers: []PublicKey{one}}, "its witness " + wit.ID() + " is not trusted"},
		"an issuer as witness":    {Trust{Issuers: []PublicKey{one, wit}}, "its witness " + wit.ID() + " is not trusted"},
		"nobody, no witnesses":    {Trust{IgnoreWitnesses: true}, "not among the 0"},
		"only a witness, ignored": {Trust{Witnesses: []PublicKey{wit, one}, IgnoreWitnesses: true}, "not among the 0"},
	} {
		t.Run(name, func(t *testing.T) { wantMismatch(t, dir, c.trust, Untrusted, "certificate.json", c.text) })
	}
	r, err := Verify(context.Background(), dir, Trust{Issuers: []PublicKey{one}, IgnoreWitnesses: true})
	if err != nil || len(r.Witnesses) != 0 {
		t.Errorf("without witnesses: %+v, %v", r, err)
	}
}

// A reader who gives up, and a folder that cannot be read, are not mismatches.
func TestOtherErrors(t *testing.T) {
	dir := sealed(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var m *Mismatch
	if _, err := Verify(ctx, dir, everyone(t)); !errors.Is(err, context.Canceled) || errors.As(err, &m) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Verify(context.Background(), filepath.Join(dir, "nowhere"), everyone(t)); !errors.Is(err, os.ErrNotExist) || errors.As(err, &m) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Verify(context.Background(), filepath.Join(dir, "manifest.json"), everyone(t)); err == nil || errors.As(err, &m) {
		t.Errorf("a file: %v", err)
	}
}

// A file that has more than its size, as one that is still written to, is not hashed as if it were whole.
func TestGrowingFile(t *testing.T) {
	f, err := openFolder("/proc/self")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	_, err = f.sum(context.Background(), "status", -1, nil) // its size is 0, its content is not
	wantError(t, err, Size, "status", "changed from 0 to 1 bytes or more")
}

// What is done to a folder in a test.

type deed = func(dir string) error

func remove(p string) deed { return func(dir string) error { return os.Remove(filepath.Join(dir, p)) } }
func removeAll(p string) deed {
	return func(dir string) error { return os.RemoveAll(filepath.Join(dir, p)) }
}
func add(p, text string) deed {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, p), []byte(text), 0o644) }
}
func upper(p string) deed { return add(p, strings.ToUpper(testFiles[p])) }
func rename(from, to string) deed {
	return func(dir string) error { return os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)) }
}
func both(a, b deed) deed {
	return func(dir string) error { return errors.Join(a(dir), b(dir)) }
}
func link(to, p string) deed {
	return both(removeAll(p), func(dir string) error {
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		return os.Symlink(to, filepath.Join(dir, p))
	})
}
func pipe(p string) deed {
	return both(removeAll(p), func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, p), 0o644) })
}
func folderAt(p string) deed {
	return both(removeAll(p), func(dir string) error { return os.MkdirAll(filepath.Join(dir, p), 0o755) })
}
func sparse(p string, size int64) deed {
	return func(dir string) error { return os.Truncate(filepath.Join(dir, p), size) }
}
