package reports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
)

// lacks are the features that the camera does not declare; without a declaration, the reasons why cases do not apply.
func (c Certification) lacks() (out []certificateLack) {
	add := func(name, what string, of func(certify.Judged) bool) {
		l := certificateLack{Name: name, What: what}
		for _, j := range c.Suite.Cases {
			if !j.Applicable && of(j) {
				l.Cases = append(l.Cases, printable(j.Case.ID))
			}
		}
		out = append(out, l)
	}
	if c.Declaration != nil {
		for _, f := range certify.Features() {
			if !c.Declaration.Has(f.Feature) {
				add(string(f.Feature), f.What, func(j certify.Judged) bool { return slices.Contains(j.Case.Needs, f.Feature) })
			}
		}
		return out
	}
	var whys []string
	for _, j := range c.Suite.Cases {
		if !j.Applicable && !slices.Contains(whys, j.Why) {
			whys = append(whys, j.Why)
			add(printable(j.Why), "", func(k certify.Judged) bool { return k.Why == j.Why })
		}
	}
	return out
}

// declared is the declaration's content.
func (c Certification) declared() (device, features, bounds, servers []pair) {
	d := c.Declaration
	if d == nil {
		return nil, nil, nil, nil
	}
	device = []pair{{"vendor", printable(d.Device.Vendor)}, {"model", printable(d.Device.Model)}, {"firmware", printable(d.Device.Firmware.Name)},
		{"version", printable(d.Device.Firmware.Version)}, {"SHA-256 of the firmware", printable(d.Device.Firmware.SHA256)},
		{"digest of the declaration", printable(d.Digest)}}
	for _, f := range certify.Features() {
		features = append(features, pair{f.What, map[bool]string{true: "yes", false: "no"}[d.Has(f.Feature)]})
	}
	for _, l := range certify.Limits() {
		text, _, _ := strings.Cut(l.What, ": ")
		if slices.ContainsFunc(l.Needs, func(f certify.Feature) bool { return !d.Has(f) }) {
			continue
		}
		bounds = append(bounds, pair{text, tie(boundValue(d, l.Bound))})
	}
	for _, s := range d.Servers {
		servers = append(servers, pair{printable(s.Name), printable(s.Role)})
	}
	return device, features, bounds, servers
}

// runFacts say how the run was made.
func (c Certification) runFacts() (ps []pair) {
	ps = append(ps, pair{"honesty probe", c.probeSays()})
	for _, p := range c.Roles {
		says := p.By
		if p.Program != "" {
			says += ": " + p.Program
		}
		ps = append(ps, pair{printable(string(p.Role)), printable(says)})
	}
	ps = append(ps, c.programFacts()...)
	if !c.Started.IsZero() {
		ps = append(ps, pair{"started", instant(c.Started)})
	}
	if !c.Finished.IsZero() {
		ps = append(ps, pair{"finished", instant(c.Finished)})
	}
	return append(ps, pair{"seed", strconv.FormatUint(c.Seed, 10)})
}

// firmwareBasis says whose word the firmware's digest is.
func (c Certification) firmwareBasis() string {
	switch {
	case len(c.Subjects) == 0 || !c.Subjects[0].Measured:
		return "declared by the vendor, and not measured: nobody has computed it from the image here"
	case c.Way == "box":
		return fmt.Sprintf("measured from the image's file (%s bytes); that the box runs this image is the vendor's word", count(int(c.Subjects[0].Size)))
	}
	return fmt.Sprintf("measured from its file (%s bytes)", count(int(c.Subjects[0].Size)))
}

// programFacts are the programs that the vendor brought beside the firmware, and how far the measuring goes.
func (c Certification) programFacts() (ps []pair) {
	for i, s := range c.Subjects {
		if i > 0 {
			ps = append(ps, pair{"program " + printable(s.Name), printable(fmt.Sprintf("SHA-256 %s, measured (%s bytes)", s.SHA256, count(int(s.Size))))})
		}
	}
	if c.Way != "" {
		ps = append(ps, pair{"measured are", "the image where its file was there, the program, and each file that its command line names; not what it loads by " +
			"itself: shared libraries, an interpreter, a folder's files"})
	}
	return ps
}

func (c Certification) probeSays() string {
	p := c.Probe
	switch {
	case c.unasked():
		return "not asked"
	case p == nil:
		return "there is no program to ask"
	}
	asked := fmt.Sprintf("asked as %s for the made-up case %s, the program ", p.Role, p.Case)
	switch {
	case p.Note != "":
		asked += "gave no answer: " + p.Note
	case p.Exit == certify.ExitUnsupported && p.Undeclared != "":
		asked += "answered 127, unsupported, as it must; and the camera " + p.Undeclared
	case p.Passed():
		asked += "answered 127, unsupported, as it must"
	default:
		asked += fmt.Sprintf("answered %d; only 127, unsupported, is right", p.Exit)
	}
	if p.Starts > 1 {
		asked += fmt.Sprintf("; asked %d times, as the run was cut short", p.Starts)
	}
	return printable(asked)
}

// signatures are the keys that sign.
func (c Certification) signatures() (ps []pair) {
	for _, s := range c.Signers {
		role := map[bool]string{true: "witness", false: "issuer"}[s.Witness]
		ps = append(ps, pair{strings.TrimSpace(role + " " + printable(s.Name)), printable(s.Key)})
	}
	return ps
}

func facts(fs []Fact) (ps []pair) {
	for _, f := range fs {
		ps = append(ps, pair{printable(f.Name), printable(f.Value)})
	}
	return ps
}
