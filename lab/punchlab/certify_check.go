package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/cases"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/suite"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/reports"
	"github.com/spf13/pflag"
)

// contradictions refuses flags that do not go together.
func (f *certifyFlags) contradictions(fl *pflag.FlagSet) error {
	for _, group := range []struct {
		is    bool
		why   string
		names []string
	}{
		{f.attach == "", "goes with --attach: it does actions on a box", []string{"hook"}},
		{f.attach == "", "goes with --attach: a box's owner opens a port to it", []string{"forward"}},
		{f.attach != "", "goes without --attach: a box is no program", []string{"endpoint"}},
		{f.witness == "", "goes with --witness: whose certificate it is", []string{"issuer"}},
		{f.witness != "", "goes without --witness: a certificate is run again as it was", []string{"profile", "case", "brief", "seed", "no-blind"}},
		{f.brief, "goes without --brief, which certifies nothing", []string{"key"}},
		{f.named, "goes without --no-blind, which certifies nothing", []string{"key"}},
		{len(f.cases) > 0, "goes without --case, which certifies nothing", []string{"key"}},
		{f.dryRun, "goes without --dry-run, which runs nothing", []string{"out", "key", "resume", "seed"}},
	} {
		if group.is {
			if err := without(fl, group.why, group.names...); err != nil {
				return err
			}
		}
	}
	switch {
	case fl.Changed("jobs") && f.jobs < 1:
		return usagef("--jobs %d: give at least 1", f.jobs)
	case f.attach != "" && f.jobs > 1:
		return usagef("--jobs %d: a box is on one cable: one case has it at a time", f.jobs)
	case f.endpoint && len(f.program) == 0:
		return usagef("--endpoint: name the camera's program after --")
	case f.resume && f.out == "":
		return usagef("--resume needs --out: the folder of the run to go on with")
	case f.witness != "" && len(f.issuers) == 0:
		return usagef("--witness needs --issuer: the public key of who issued the certificate, from their own hands")
	case f.witness != "":
		return nil
	case f.profile == "" && (len(f.program) > 0 || f.attach != ""):
		return usagef("--profile: give the camera's declaration (lab/certify/CONTRACT.md); only the bundled camera comes with its own")
	case f.firmware != "" && f.profile == "":
		return usagef("--firmware goes with --profile, which declares it: the bundled camera's image is this executable")
	case f.profile != "" && len(f.program) == 0 && f.attach == "" && !f.dryRun:
		return usagef("--profile %s: what is it of? Name the program after --, or the interface with --attach", f.profile)
	}
	return nil
}

// certification is everything that a run needs, checked.
type certification struct {
	suite.Options
	witness *suite.Certified // of which the run is to be one; nil: none
	key     *evidence.Key
}

// prepare loads and checks everything; nothing runs yet. It may be called twice, by the process that isolates itself and the isolated one.
func (f *certifyFlags) prepare() (*certification, error) {
	c := &certification{Options: suite.Options{
		Procedures: cases.All(), Only: f.cases, Brief: f.brief, Named: f.named, Jobs: f.jobs, Out: f.out, Resume: f.resume,
		Command: shellWords(append([]string{"punchlab"}, os.Args[1:]...)), Replay: f.replay, Versions: certifyVersions(), Machine: certifyMachine(),
	}}
	for _, step := range []func(*certification) error{f.device, f.declaration, f.choose, f.signingKey} {
		if err := step(c); err != nil {
			return nil, err
		}
	}
	if c.witness != nil {
		if err := c.witness.Check(c.Options); err != nil {
			return nil, usage(err)
		}
	}
	return c, nil
}

// device says how the camera is plugged in.
func (f *certifyFlags) device(c *certification) error {
	self, err := os.Executable()
	if err != nil {
		return labError(err)
	}
	d := &c.Device
	d.Way, d.Bundled = stage.Executable, []string{self, adapterName}
	switch {
	case f.attach != "":
		d.Way, d.Interface = stage.Box, f.attach
		for _, port := range f.forward {
			if port < 1 || port > 65535 {
				return usagef("--forward %d: a port is 1 to 65535", port)
			}
			d.Forward = append(d.Forward, uint16(port))
		}
	case f.endpoint:
		d.Way = stage.Endpoint
	case len(f.program) == 0:
		d.Program = d.Bundled
	}
	if len(f.program) > 0 {
		if d.Program, err = located(f.program); err != nil {
			return err
		}
	}
	if f.hook != "" {
		argv, err := words(f.hook)
		if err != nil || len(argv) == 0 {
			return usagef("--hook %s: %w", f.hook, errors.Join(err, errors.New("write a command")))
		}
		if d.Hook, err = located(argv); err != nil {
			return fmt.Errorf("--hook: %w", err)
		}
	}
	if c.Programs, err = artifacts(f.brought(d)); err != nil {
		return usage(err)
	}
	files, were := f.brought(d), c.Programs
	c.Still = func() error { return still(files, were) }
	c.Roles = players(d)
	return f.checkInterface()
}

// checkInterface holds --attach to the machine, where that can be seen: outside the lab's namespaces.
func (f *certifyFlags) checkInterface() error {
	if f.attach == "" || netns.Isolated() || f.dryRun {
		return nil
	}
	if os.Geteuid() != 0 {
		return usagef("--attach %s: an ordinary user may not move the machine's interfaces: run as root", f.attach)
	}
	if _, err := net.InterfaceByName(f.attach); err != nil {
		return usagef("--attach %s: there is no such interface: see 'ip link'", f.attach)
	}
	return nil
}

// located finds a program, whatever folder it will be started in.
func located(argv []string) ([]string, error) {
	path, err := exec.LookPath(argv[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, usagef("program: %w", err)
	}
	return append([]string{path}, argv[1:]...), nil
}

// players say whose programs play.
func players(d *stage.Device) []reports.Part {
	bundled := reports.Part{By: "bundled", Program: "punchlab " + adapterName}
	camera, others := bundled, bundled
	vendor := reports.Part{By: "vendor", Program: shellWords(d.Program)}
	switch {
	case d.Way == stage.Box:
		camera = reports.Part{By: "vendor", Program: "box on " + d.Interface}
		if len(d.Program) > 0 {
			others = vendor
		}
	case d.Way == stage.Endpoint:
		camera = vendor
	case len(d.Program) > 0 && d.Program[0] != d.Bundled[0]:
		camera, others = vendor, vendor
	}
	if others.By == "vendor" {
		others.Program += ", or the bundled one where it answers 127"
	}
	var all []reports.Part
	for _, role := range certify.Roles {
		one := others
		if role == certify.RoleCamera {
			one = camera
		}
		one.Role = role
		all = append(all, one)
	}
	return all
}

// declaration loads what is declared: a profile, a certificate's, or the bundled camera's.
func (f *certifyFlags) declaration(c *certification) (err error) {
	switch {
	case f.witness != "":
		return f.recall(c)
	case f.profile != "":
		if c.Declaration, err = certify.Load(f.profile); err != nil {
			return usage(err)
		}
	default:
		self, err := suite.Artifact(c.Device.Bundled[0])
		if err != nil {
			return labError(err)
		}
		if c.Declaration, err = certify.Parse("bundled declaration", adapter.Declaration("punchlab", version(), self.SHA256)); err != nil {
			return labError(err)
		}
	}
	return f.checkFirmware(c)
}

// choose fixes the cases and the seed.
func (f *certifyFlags) choose(c *certification) error {
	c.Seed = f.seed
	switch {
	case c.witness != nil:
		c.Seed = c.witness.Seed
	case f.resume && !f.seeded:
		seed, err := suite.RecordedSeed(f.out)
		if err != nil {
			return usage(err)
		}
		c.Seed = seed
	case !f.seeded:
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return labError(err)
		}
		c.Seed = binary.BigEndian.Uint64(b[:]) >> 1
	}
	f.seed = c.Seed
	if c.Out == "" {
		c.Out = filepath.Join("runs", "certify-"+time.Now().UTC().Format("20060102T150405Z"))
	}
	return usageOrNil(c.Check())
}

// replay is the command that runs a case again, as it is run here.
func (f *certifyFlags) replay(id string) string {
	args := []string{"punchlab", "certify"}
	profile := f.profile
	if f.witness != "" {
		profile = filepath.Join(f.witness, suite.DeclarationFile)
	}
	if profile != "" && (len(f.program) > 0 || f.attach != "") {
		args = append(args, "--profile", profile)
	}
	if f.firmware != "" {
		args = append(args, "--firmware", f.firmware)
	}
	if f.attach != "" {
		args = append(args, "--attach", f.attach)
	}
	if f.hook != "" {
		args = append(args, "--hook", f.hook)
	}
	for _, port := range f.forward {
		args = append(args, "--forward", strconv.FormatUint(uint64(port), 10))
	}
	if f.endpoint {
		args = append(args, "--endpoint")
	}
	args = append(args, "--case", id, "--seed", strconv.FormatUint(f.seed, 10))
	if f.brief {
		args = append(args, "--brief")
	}
	if f.named {
		args = append(args, "--no-blind")
	}
	if len(f.program) > 0 {
		args = append(append(args, "--"), f.program...)
	}
	return shellWords(args)
}
