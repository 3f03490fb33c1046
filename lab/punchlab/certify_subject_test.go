package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/suite"
)

// files writes files of these names into a folder of their own, each with its name as content, and returns their paths.
func files(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// What the vendor's command line names is measured, each file of its own, and one that changes is found.
func TestMeasuredFiles(t *testing.T) {
	p := files(t, "sh", "a/run.sh", "b/run.sh", "lib.so", "hook", "image.bin")
	f := certifyFlags{program: []string{"sh"}, firmware: p[5]}
	d := &stage.Device{Program: []string{p[0], p[1], p[2], "--preload=" + p[3], "--verbose=yes", "/nowhere", filepath.Dir(p[1])}, Hook: []string{p[4]}}
	brought := f.brought(d)
	all, err := artifacts(brought)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range all {
		names = append(names, a.Name)
		if a.Basis != evidence.Measured || a.Size == 0 {
			t.Errorf("%+v is not measured", a)
		}
	}
	if got, want := strings.Join(names, " "), "sh run.sh b/run.sh lib.so hook image.bin"; got != want {
		t.Errorf("measured %s, want %s", got, want)
	}
	if err := still(brought, all); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(p[2], []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := still(brought, all); err == nil || !strings.Contains(err.Error(), "b/run.sh was changed") {
		t.Errorf("a script that was changed meanwhile: %v", err)
	}
}

// A firmware is measured only where its file was read: one that is declared alone stays the vendor's word.
func TestFirmwareIsMeasured(t *testing.T) {
	p := files(t, "image.bin", "adapter")
	image, err := suite.Artifact(p[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags    certifyFlags
		declared string // SHA-256
		measured bool
		says     string
	}{
		"box, no image":       {certifyFlags{attach: "eth1"}, image.SHA256, false, ""},
		"box, image":          {certifyFlags{attach: "eth1", firmware: p[0]}, image.SHA256, true, ""},
		"box, other image":    {certifyFlags{attach: "eth1", firmware: p[1]}, image.SHA256, false, "certify the one that is declared"},
		"endpoint, no image":  {certifyFlags{endpoint: true, program: p[1:]}, image.SHA256, false, ""},
		"endpoint, image":     {certifyFlags{endpoint: true, program: p[1:], firmware: p[0]}, image.SHA256, true, ""},
		"the program is it":   {certifyFlags{program: p[:1]}, image.SHA256, true, ""},
		"another of its name": {certifyFlags{program: p[:1]}, strings.Repeat("0", 64), false, "certify the one that is declared"},
		"bundled, another":    {certifyFlags{}, strings.Repeat("0", 64), false, "this executable, which would be run, has"},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := &certification{Options: suite.Options{Declaration: &certify.Declaration{}}}
			c2.Declaration.Device.Firmware = certify.Firmware{Name: "image.bin", SHA256: c.declared}
			c2.Device = stage.Device{Program: c.flags.program, Bundled: p[1:]}
			if c2.Programs, err = artifacts(c.flags.brought(&c2.Device)); err != nil {
				t.Fatal(err)
			}
			err := c.flags.checkFirmware(c2)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("got %v, want %q", err, c.says)
			}
			if (c2.Firmware != nil) != c.measured {
				t.Errorf("measured: %v, want %v", c2.Firmware != nil, c.measured)
			}
			for _, a := range c2.Programs {
				if err == nil && c.measured && a.SHA256 == image.SHA256 {
					t.Error("the image is among the programs too")
				}
			}
		})
	}
}
