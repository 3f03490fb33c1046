package suite

import (
	"errors"
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/certify/evidence"
)

// rerun runs the cases of the issuer's certificate again with the witness's key.
func rerun(t *testing.T, issued *rig, issuer, own *evidence.Key, change func(*rig)) (*Certified, *evidence.Witness) {
	t.Helper()
	c, err := Recall(t.Context(), issued.Out, issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	g := newRig(t)
	g.Declaration, g.Seed, g.WitnessOf, g.Keys = c.Declaration, c.Seed, c.Report.Statement, []*evidence.Key{own}
	if err := c.Check(g.Options); err != nil {
		t.Fatal(err)
	}
	change(g)
	if out := g.run(t); out.Certificate == nil {
		t.Fatal(out.Unsealed)
	}
	w, err := c.Countersign(t.Context(), g.Out, own)
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

func TestWitness(t *testing.T) {
	issuer, own := key(t, 1), key(t, 2)
	g := newRig(t)
	g.Keys = []*evidence.Key{issuer}
	g.run(t)
	c, w := rerun(t, g, issuer, own, func(*rig) {})
	if !w.Agrees() || c.Seed != 7 {
		t.Errorf("seed %d, differences %v", c.Seed, w.Differences)
	}
	trust := evidence.Trust{Issuers: []evidence.PublicKey{issuer.Public()}, Witnesses: []evidence.PublicKey{own.Public()}}
	if r, err := evidence.Verify(t.Context(), g.Out, trust); err != nil || len(r.Witnesses) != 1 {
		t.Error(r, err)
	}
}

func TestWitnessWhoDiffers(t *testing.T) {
	issuer, own := key(t, 1), key(t, 2)
	g := newRig(t)
	g.Keys = []*evidence.Key{issuer}
	g.run(t)
	_, w := rerun(t, g, issuer, own, func(g *rig) { g.fails("BW-1", "it sent pictures") })
	if len(w.Differences) != 1 || w.Differences[0] != (evidence.Difference{Case: "BW-1", Issued: "pass", Witnessed: "fail"}) {
		t.Errorf("%+v", w.Differences)
	}
}

// What the issuer has measured its witness has to measure too; what was only declared is said to be so in what is signed.
func TestFirmwareIsMeasuredOrDeclared(t *testing.T) {
	issuer := key(t, 1)
	measured := newRig(t)
	declared := measured.Declaration.Device.Firmware
	measured.Keys = []*evidence.Key{issuer}
	measured.Firmware = &evidence.Artifact{Name: "other.name", SHA256: declared.SHA256, Basis: evidence.Measured, Size: 4}
	want := evidence.Artifact{Name: declared.Name, SHA256: declared.SHA256, Basis: evidence.Measured, Size: 4}
	if out := measured.run(t); out.Certificate.Subjects[0] != want {
		t.Errorf("certified is %+v, want %+v", out.Certificate.Subjects[0], want)
	}
	c, err := Recall(t.Context(), measured.Out, issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	word := newRig(t)
	word.Keys = []*evidence.Key{key(t, 2)}
	if err := c.Check(word.Options); err == nil || !strings.Contains(err.Error(), "--firmware") {
		t.Errorf("a witness who takes the vendor's word for what was measured: %v", err)
	}
	if out := word.run(t); out.Certificate.Subjects[0].Basis != evidence.Declared || out.Certification.Subjects[0].Measured {
		t.Errorf("certified is %+v", out.Certificate.Subjects[0])
	}
	other := newRig(t)
	other.Firmware = &evidence.Artifact{Name: declared.Name, SHA256: "00"}
	other.refused(t, "that of acme.bin is 00")
}

func TestWitnessIsRefused(t *testing.T) {
	issuer := key(t, 1)
	g := newRig(t)
	g.Keys = []*evidence.Key{issuer}
	g.run(t)
	if _, err := Recall(t.Context(), g.Out, key(t, 3).Public()); !errors.As(err, new(*evidence.Mismatch)) {
		t.Errorf("by a key that is not the issuer's: %v", err)
	}
	c, err := Recall(t.Context(), g.Out, issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	other := newRig(t)
	for _, test := range []struct {
		keys     []*evidence.Key
		programs []evidence.Artifact
		says     string
	}{
		{[]*evidence.Key{issuer}, nil, "second party"},
		{nil, nil, "one key, not 0"},
		{[]*evidence.Key{key(t, 2)}, []evidence.Artifact{{Name: "adapter", SHA256: "00"}}, "to be run here is"},
	} {
		other.Keys, other.Programs = test.keys, test.programs
		if err := c.Check(other.Options); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("got %v, want … %s …", err, test.says)
		}
	}
}
