package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/reports"
)

// summary is suite.json.
type summary struct {
	Schema   string          `json:"schema"`
	Complete bool            `json:"complete"`
	Brief    bool            `json:"brief"`
	Only     []string        `json:"only,omitempty"`
	Seed     uint64          `json:"seed,string"`
	Ran      certify.Verdict `json:"ran"` // of the cases that were run, by themselves
	Probe    *probed         `json:"probe,omitempty"`
	// Subjects are what is certified, the firmware first, and whether each digest was measured or is the vendor's word.
	Subjects []evidence.Artifact `json:"subjects"`
	Suite    certify.Suite       `json:"suite"`
}

// finish judges what is done, writes the reports and seals what certifies.
func (r *run) finish(ctx context.Context) (*Outcome, error) {
	out := &Outcome{Folder: r.o.Out}
	complete := len(r.waiting()) == 0 && (r.probe != nil || !r.o.seam.asks(r.o.Device))
	out.Certification = r.certification(complete)
	out.Certification.Suite, out.Ran = r.judge(complete)
	if out.Unsealed = r.unsealed(complete); out.Unsealed == "" && r.o.Still != nil {
		if err := r.o.Still(); err != nil {
			out.Unsealed = err.Error()
		}
	}
	if out.Unsealed == "" {
		for _, k := range r.o.Keys {
			out.Certification.Signers = append(out.Certification.Signers, reports.Signer{Key: k.Public().ID()})
		}
		out.Certification.Verify = r.o.Verify
	}
	if err := r.report(out); err != nil {
		return out, err
	}
	if out.Unsealed == "" {
		m := r.manifest(out)
		sealed, err := evidence.Seal(ctx, r.o.Out, m, r.o.Keys...)
		if err != nil {
			return out, errors.Join(err, r.disown(out))
		}
		out.Certificate = sealed
	}
	s := out.Certification.Suite
	r.tell(Event{Kind: Ended, Verdict: s.Verdict, Text: strings.Join(s.Reasons, "\n"), Seconds: r.o.Now().Sub(r.begun).Seconds()})
	return out, nil
}

// disown takes a certificate that could not be sealed out of the reports again.
func (r *run) disown(out *Outcome) error {
	out.Unsealed, out.Certification.Signers, out.Certification.Verify = "the evidence could not be sealed", nil, ""
	return r.report(out)
}

// unsealed says why no certificate is issued; "" if one is.
func (r *run) unsealed(complete bool) string {
	switch {
	case r.probe != nil && !r.probe.Passed():
		if r.probe.Undeclared != "" {
			return "the camera " + r.probe.Undeclared
		}
		return "the camera's program did not say that it does not know a case that there is not"
	case r.lesser(complete) != "":
		return r.lesser(complete)
	case len(r.o.Keys) == 0:
		return "there is no key to sign it with"
	}
	return ""
}

func (r *run) certification(complete bool) reports.Certification {
	c := reports.Certification{
		Declaration: r.o.Declaration, Complete: complete, Only: r.o.Only, Brief: r.o.Brief, Named: r.o.Named, Seed: r.o.Seed, Way: string(r.o.Device.Way),
		Command: r.o.Command, Versions: r.o.Versions, Machine: r.o.Machine, Roles: r.o.Roles, Probe: r.probe,
		Started: r.started, Finished: r.o.Now().UTC(), Runs: map[string]reports.CaseRun{},
	}
	for _, s := range r.o.subjects() {
		c.Subjects = append(c.Subjects, reports.Subject{Name: s.Name, SHA256: s.SHA256, Size: s.Size, Measured: s.Basis == evidence.Measured})
	}
	for id, rec := range r.records {
		c.Runs[id] = reports.CaseRun{Seed: r.o.Seed, Took: rec.Finished.Sub(rec.Started), Replay: r.o.Replay(id), Starts: r.toldStarts(id)}
	}
	return c
}

// report writes suite.json, the page and JUnit's file.
func (r *run) report(out *Outcome) error {
	c := &out.Certification
	for id, one := range c.Runs {
		var err error
		if one.Files, one.Timeline, err = r.dir.files(id); err != nil {
			return err
		}
		c.Runs[id] = one
	}
	if err := r.dir.writeJSON(SuiteFile, summary{runSchema, c.Complete, c.Brief, c.Only, c.Seed, out.Ran, (*probed)(c.Probe), r.o.subjects(), c.Suite}); err != nil {
		return err
	}
	for name, render := range map[string]func(io.Writer, reports.Certification) error{
		PageFile: reports.CertificatePage, JUnitFile: reports.JUnit,
	} {
		var b bytes.Buffer
		if err := render(&b, *c); err != nil {
			return fmt.Errorf("report the certification: %s: %w", name, err)
		}
		if err := r.dir.write(name, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// manifest is what the certificate says.
func (r *run) manifest(out *Outcome) evidence.Manifest {
	c := &out.Certification
	m := evidence.Manifest{
		Subjects: r.o.subjects(),
		Suite: evidence.Suite{Name: SuiteName, Version: certify.SuiteVersion, SHA256: strings.TrimPrefix(certify.Digest(), "sha256:"),
			Command: strings.ToValidUTF8(r.o.Command, "�")},
		Declaration: DeclarationFile, WitnessOf: r.o.WitnessOf, Verdict: string(c.Suite.Verdict), Started: c.Started, Finished: c.Finished,
	}
	for _, j := range c.Suite.Cases {
		one := evidence.Case{ID: j.Case.ID, Verdict: string(j.Result.Verdict), Outcome: evidence.Outcome(j.TestResult()),
			Why: strings.ToValidUTF8(j.Result.Reason, "�"), Seed: r.o.Seed, Starts: j.Result.Starts}
		if j.Applicable {
			one.Scenario, one.Replay = scenarioOf(j.Case.ID), strings.ToValidUTF8(r.o.Replay(j.Case.ID), "�")
		}
		m.Cases = append(m.Cases, one)
	}
	return m
}

// SuiteName is what certificates call it.
const SuiteName = "punchlab certify"

// readDeclaration reads what was declared, from a certificate's folder.
func readDeclaration(dir folder) (*certify.Declaration, error) {
	b, err := os.ReadFile(dir.path(DeclarationFile))
	if err != nil {
		return nil, err
	}
	return certify.Parse(dir.path(DeclarationFile), b)
}
