package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/suite"
)

// brought are the files that the vendor brought, as the command line names them: the program, the hook, and what their arguments name.
func (f *certifyFlags) brought(d *stage.Device) (files []string) {
	programs := [][]string{d.Hook}
	if len(f.program) > 0 {
		programs = [][]string{d.Program, d.Hook}
	}
	for _, argv := range programs {
		for i, arg := range argv {
			_, value, isOption := strings.Cut(arg, "=")
			for _, name := range []string{arg, value} {
				if st, err := os.Stat(name); i == 0 && name == arg || err == nil && st.Mode().IsRegular() && (name == arg || isOption) {
					files = append(files, name)
				}
			}
		}
	}
	if f.firmware != "" {
		files = append(files, f.firmware)
	}
	return files
}

// artifacts measures files, each content once. Where two have one name, each is called by as much of its path as tells them apart.
func artifacts(files []string) (all []evidence.Artifact, err error) {
	for _, file := range files {
		one, err := suite.Artifact(file)
		if err != nil {
			return nil, fmt.Errorf("measure what is certified: %w", err)
		}
		if slices.ContainsFunc(all, func(a evidence.Artifact) bool { return a.SHA256 == one.SHA256 }) {
			continue
		}
		for dir := filepath.Dir(file); slices.ContainsFunc(all, func(a evidence.Artifact) bool { return a.Name == one.Name }); dir = filepath.Dir(dir) {
			one.Name = filepath.Join(filepath.Base(dir), one.Name)
		}
		all = append(all, one)
	}
	return all, nil
}

// still says that a file is no more what it was.
func still(files []string, were []evidence.Artifact) error {
	are, err := artifacts(files)
	if err != nil {
		return err
	}
	for _, a := range were {
		if !slices.Contains(are, a) {
			return fmt.Errorf("%s was changed while it was certified", a.Name)
		}
	}
	return nil
}

// checkFirmware finds the firmware among the files that were brought, by its digest: it is measured then, and no program beside itself. One
// that only has its name is refused.
func (f *certifyFlags) checkFirmware(c *certification) error {
	firmware := c.Declaration.Device.Firmware
	if f.firmware != "" {
		image, err := suite.Artifact(f.firmware)
		switch {
		case err != nil:
			return usagef("--firmware: %w", err)
		case image.SHA256 != firmware.SHA256:
			return usagef("--firmware %s: its SHA-256 is %s, and the profile declares %s with %s: certify the one that is declared",
				f.firmware, image.SHA256, firmware.Name, firmware.SHA256)
		}
	}
	if len(f.program) == 0 && f.attach == "" && !(f.dryRun && f.profile != "") {
		return bundledFirmware(c)
	}
	for i, one := range c.Programs {
		switch {
		case one.SHA256 == firmware.SHA256:
			c.Firmware, c.Programs = &one, slices.Delete(slices.Clone(c.Programs), i, i+1)
			return nil
		case one.Name == firmware.Name:
			return usagef("the profile declares firmware %s with SHA-256 %s, and the program of that name has %s: "+
				"certify the one that is declared", one.Name, firmware.SHA256, one.SHA256)
		}
	}
	return nil
}

// bundledFirmware holds the bundled camera, which is this executable, to what is declared: by a certificate that is run again, too.
func bundledFirmware(c *certification) error {
	self, err := suite.Artifact(c.Device.Bundled[0])
	if err != nil {
		return labError(err)
	}
	if want := c.Declaration.Device.Firmware; self.SHA256 != want.SHA256 {
		return usagef("certified is %s with SHA-256 %s, and this executable, which would be run, has %s: use that one, or name a program after --",
			want.Name, want.SHA256, self.SHA256)
	}
	c.Firmware = &self
	return nil
}
