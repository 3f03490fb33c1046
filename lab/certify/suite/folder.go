package suite

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/reports"
)

// Names in a run's folder.
const (
	RunFile         = "run.json"
	SuiteFile       = "suite.json"
	PageFile        = "report.html"
	JUnitFile       = "junit.xml"
	DeclarationFile = "declaration.yaml"

	scenarioFolder = "scenarios"
	probeFolder    = "probe"
	probeFile      = "probe.json"
	resultFile     = "result.json"
	timelineFile   = "timeline.svg"
)

const (
	runSchema    = "punchlab/certification/1"
	resultSchema = "punchlab/case-result/1"
)

// header is run.json.
type header struct {
	Schema      string              `json:"schema"`
	Suite       string              `json:"suite"` // the catalogue's digest
	Declaration string              `json:"declaration"`
	Seed        uint64              `json:"seed,string"`
	Brief       bool                `json:"brief"`
	Named       bool                `json:"named,omitempty"`
	Only        []string            `json:"only,omitempty"`
	Way         string              `json:"way"`
	Subjects    []evidence.Artifact `json:"subjects"`
	WitnessOf   string              `json:"witness_of,omitempty"`
	Command     string              `json:"command"`
	Started     time.Time           `json:"started"`
}

// record is result.json: a case that is done.
type record struct {
	Schema   string         `json:"schema"`
	Result   certify.Result `json:"result"`
	Run      string         `json:"run"`         // header.digest of the run that it is of
	Seed     uint64         `json:"seed,string"` // the case's own
	Started  time.Time      `json:"started"`
	Finished time.Time      `json:"finished"`
}

// probed is probe.json, and what suite.json has of it.
type probed struct {
	Case string       `json:"case"`
	Role certify.Role `json:"role"`
	Exit int          `json:"exit"`
	Note string       `json:"note,omitempty"`
	// Undeclared is a feature that it showed though it declares that it has it not, in words.
	Undeclared string `json:"undeclared,omitempty"`
	// Starts is how often it was asked until it answered.
	Starts int `json:"starts,omitempty"`
}

// folder is a run's.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

// write writes a file, whole or not at all.
func (f folder) write(name string, b []byte) error {
	to := f.path(name)
	partial := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".partial")
	err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(partial, b, 0o644))
	if err == nil {
		err = os.Rename(partial, to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write evidence: %w", err), ignoreMissing(os.Remove(partial)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f folder) writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write evidence: %s: %w", name, err)
	}
	return f.write(name, append(b, '\n'))
}

func (f folder) readJSON(name string, v any) error {
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", f.path(name), err)
	}
	return nil
}

// renew makes a folder below, empty.
func (f folder) renew(name string) error {
	if err := os.RemoveAll(f.path(name)); err != nil {
		return fmt.Errorf("clear what an earlier run left: %w", err)
	}
	return os.MkdirAll(f.path(name), 0o755)
}

// header is what these options are to be recorded as.
func (o *Options) header() header {
	return header{
		Schema: runSchema, Suite: certify.Digest(), Declaration: o.Declaration.Digest, Seed: o.Seed, Brief: o.Brief, Named: o.Named, Only: o.Only,
		Way: string(o.Device.Way), Subjects: o.subjects(), WitnessOf: o.WitnessOf, Command: o.Command,
	}
}

// checkFolder refuses a folder that is not for this run.
func (o *Options) checkFolder() error {
	if !o.Resume {
		if entries, err := os.ReadDir(o.Out); err == nil && len(entries) > 0 {
			return refuse("%s is there and not empty: give another folder with --out, or go on with it by --resume", o.Out)
		}
		return nil
	}
	var h header
	switch err := folder(o.Out).readJSON(RunFile, &h); {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("--resume: %s holds no run to go on with", o.Out)
	case err != nil:
		return refuse("--resume: %w", err)
	}
	if err := h.same(o.header()); err != nil {
		return refuse("--resume: %s holds another run: %w", o.Out, err)
	}
	if _, err := os.Lstat(folder(o.Out).path(evidence.CertificateFile)); err == nil {
		return refuse("--resume: %s is sealed: nothing is added to a certificate", o.Out)
	}
	return nil
}

// prepare makes the folder of a new run, or takes up that of an earlier one.
func (r *run) prepare() error {
	if r.o.Resume {
		return r.resume()
	}
	if err := os.MkdirAll(r.o.Out, 0o755); err != nil {
		return refuse("make the folder for the evidence: %w: give another with --out", err)
	}
	if err := r.openStarts(); err != nil {
		return err
	}
	if err := errors.Join(r.dir.write(DeclarationFile, []byte(r.o.Declaration.Text)), r.scenarios()); err != nil {
		return err
	}
	h := r.o.header()
	h.Started = r.o.Now().UTC()
	r.started = h.Started
	return r.dir.writeJSON(RunFile, h)
}

// scenarios writes what each case is, as the catalogue has it: the same for everybody who runs it.
func (r *run) scenarios() error {
	for _, s := range r.asked {
		if err := r.dir.writeJSON(scenarioOf(s.Case.ID), s.Case); err != nil {
			return err
		}
	}
	return nil
}

func scenarioOf(id string) string { return path.Join(scenarioFolder, id+".json") }

// resume reads what an earlier run of the same has done.
func (r *run) resume() error {
	var h header
	if err := r.dir.readJSON(RunFile, &h); err != nil {
		return err
	}
	r.started = h.Started
	if err := r.openStarts(); err != nil {
		return err
	}
	run := r.o.header().digest()
	for _, s := range r.asked {
		var rec record
		err := r.dir.readJSON(path.Join(evidence.CaseFolder(s.Case.ID), resultFile), &rec)
		starts, done := r.finished(s.Case.ID)
		rec.Result.Starts = starts
		// A fault of the lab says nothing of the camera: such a case is run again. So is one of another run (a brief one, another device's), or
		// whose evidence is gone, or that was not begun.
		if err == nil && done && rec.Schema == resultSchema && rec.Result.Case == s.Case.ID && rec.Result.Verdict != certify.HarnessError &&
			rec.Run == run && rec.Seed == CaseSeed(r.o.Seed, s.Case.ID) && r.proven(s.Case, rec.Result).Verdict == rec.Result.Verdict {
			r.records[s.Case.ID] = rec
		}
	}
	var p probed
	starts, done := r.finished(certify.UnknownCase(r.o.Seed))
	if err := r.dir.readJSON(path.Join(probeFolder, probeFile), &p); err == nil && done && p.Case == certify.UnknownCase(r.o.Seed) {
		p.Starts = starts
		r.probe = (*reports.Probe)(&p)
	}
	return r.scenarios()
}

// RecordedSeed is the seed of the run in a folder.
func RecordedSeed(dir string) (uint64, error) {
	var h header
	if err := folder(dir).readJSON(RunFile, &h); err != nil {
		return 0, fmt.Errorf("no run to go on with: %w", err)
	}
	return h.Seed, nil
}

// digest is what all of one run have in common: what same compares.
func (h header) digest() string {
	h.Command, h.Started = "", time.Time{}
	b, err := json.Marshal(h)
	if err != nil {
		panic("suite: " + err.Error()) // strings and numbers
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(b))
}

// same says in what an earlier run was another one.
func (h header) same(want header) error {
	h.Command, h.Started = want.Command, want.Started
	a, b := reflect.ValueOf(h), reflect.ValueOf(want)
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		if x, y := fmt.Sprint(a.Field(i)), fmt.Sprint(b.Field(i)); x != y {
			return fmt.Errorf("its %s is %s, not %s", name, x, y)
		}
	}
	return nil
}

// files lists a case's evidence, with its hashes.
func (f folder) files(id string) (all []reports.EvidenceFile, timeline []byte, err error) {
	root := f.path(evidence.CaseFolder(id))
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return ignoreMissing(err)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		one := reports.EvidenceFile{Name: filepath.ToSlash(rel), Link: path.Join(evidence.CaseFolder(id), filepath.ToSlash(rel))}
		one.Size, one.SHA256, err = sum(name)
		all = append(all, one)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list evidence of %s: %w", id, err)
	}
	slices.SortFunc(all, func(a, b reports.EvidenceFile) int { return strings.Compare(a.Name, b.Name) })
	timeline, err = os.ReadFile(filepath.Join(root, timelineFile))
	return all, timeline, ignoreMissing(err)
}

// sum is a file's size and SHA-256.
func sum(name string) (int64, string, error) {
	in, err := os.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, in)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// Artifact measures a program or an image. The name is its file's.
func Artifact(file string) (evidence.Artifact, error) {
	size, digest, err := sum(file)
	return evidence.Artifact{Name: filepath.Base(file), SHA256: digest, Basis: evidence.Measured, Size: size}, err
}

// subjects are what is certified: the firmware, as it was measured or, where nobody has, as it was declared, and the programs beside it.
func (o *Options) subjects() []evidence.Artifact {
	declared := o.Declaration.Device.Firmware
	firmware := evidence.Artifact{Name: declared.Name, SHA256: declared.SHA256, Basis: evidence.Declared}
	if o.Firmware != nil {
		firmware.Basis, firmware.Size = evidence.Measured, o.Firmware.Size
	}
	return append([]evidence.Artifact{firmware}, o.Programs...)
}
