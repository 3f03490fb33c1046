package certify_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
)

// block returns the only fenced block of a language in CONTRACT.md.
func block(t *testing.T, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(certify.Contract, -1)
	if len(found) != 1 {
		t.Fatalf("CONTRACT.md has %d blocks of %s, want 1", len(found), language)
	}
	return found[0][1]
}

func TestContractNamesEverySetting(t *testing.T) {
	for _, s := range certify.Settings() {
		if !strings.Contains(certify.Contract, "\n| `"+s.Name+"` |") {
			t.Errorf("CONTRACT.md's table lacks %s (%s)", s.Name, s.What)
		}
	}
	for _, name := range regexp.MustCompile(`PUNCHLAB_[A-Z]+`).FindAllString(certify.Contract, -1) {
		known := false
		for _, s := range certify.Settings() {
			known = known || s.Name == name
		}
		if !known {
			t.Errorf("CONTRACT.md speaks of %s, which no program finds", name)
		}
	}
}

func TestContractNamesEveryActionRoleVerdictAndFeature(t *testing.T) {
	want := []string{}
	for _, a := range certify.Actions {
		want = append(want, "`"+string(a)+"`")
	}
	for _, r := range certify.Roles {
		want = append(want, "`"+string(r)+"`")
	}
	for _, v := range certify.Verdicts {
		want = append(want, "`"+string(v)+"`")
	}
	for _, f := range certify.Features() {
		want = append(want, "\n  "+string(f.Feature)+": ")
	}
	for _, l := range certify.Limits() {
		want = append(want, "\n  "+string(l.Bound)+": ")
	}
	for _, w := range want {
		if !strings.Contains(strings.ReplaceAll(certify.Contract, "=run`", "`run`"), w) {
			t.Errorf("CONTRACT.md does not have %q", w)
		}
	}
}

func TestContractsDeclarationIsOne(t *testing.T) {
	d, err := certify.Parse("CONTRACT.md", []byte(block(t, "yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if d.Device.Model != "Cam 1" || d.Bounds.Ports[0].String() != "udp/5000" || len(d.Servers) != 2 {
		t.Errorf("read %+v", d)
	}
}

// The adapter that vendors will copy answers every case that there is, and none that there is not.
func TestContractsAdapter(t *testing.T) {
	dir := t.TempDir()
	adapter := filepath.Join(dir, "adapter")
	write(t, adapter, block(t, "sh"))
	for _, program := range []string{"acme-cam", "acme-ctl", "acme-server", "acme-viewer"} {
		write(t, filepath.Join(dir, program), "#!/bin/sh\nexit 42\n")
	}
	run := func(id, role, action string) int {
		c := exec.Command(adapter)
		c.Dir = dir
		c.Env = append(os.Environ(), "PUNCHLAB_CASE="+id, "PUNCHLAB_ROLE="+role, "PUNCHLAB_ACTION="+action)
		err := c.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0
	}
	for _, c := range certify.Catalogue() {
		if got := run(c.ID, "camera", "run"); got != 42 {
			t.Errorf("%s: exit code %d, want the camera's 42", c.ID, got)
		}
	}
	for seed := range uint64(20) {
		if id := certify.UnknownCase(seed); run(id, "camera", "run") != certify.ExitUnsupported {
			t.Errorf("it takes up %s, a case that there is not", id)
		}
	}
	for _, id := range []string{"", "NAT-11", "NAT-0", "NAT-1 ", "SEC-13", "STD-4", "nat-1"} {
		if run(id, "camera", "run") != certify.ExitUnsupported {
			t.Errorf("it takes up %q", id)
		}
	}
	if run("NAT-1", "camera", "dance") != certify.ExitUnsupported || run("NAT-1", "cook", "run") != certify.ExitUnsupported {
		t.Error("it takes up a role or an action that there is not")
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownCase(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(1000) {
		id := certify.UnknownCase(seed)
		if _, known := certify.Lookup(id); known {
			t.Errorf("%s is a case", id)
		}
		if id != certify.UnknownCase(seed) {
			t.Errorf("seed %d gives two names", seed)
		}
		seen[id] = true
	}
	if len(seen) < 990 {
		t.Errorf("1,000 seeds give %d names: a list of them would do", len(seen))
	}
}
