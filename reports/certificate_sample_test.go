package reports

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// acme declares all but a few features.
func acme(without ...certify.Feature) *certify.Declaration {
	d := &certify.Declaration{
		Device: certify.Device{Vendor: "ACME", Model: "Cam 1", Firmware: certify.Firmware{Name: "acme-cam1-4.2.bin", Version: "4.2",
			SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}},
		Features: map[certify.Feature]bool{},
		Bounds: certify.Bounds{Keepalive: 25 * time.Second, Idle: 60_000, FirstFrame: 2 * time.Second, RelayFrame: 4 * time.Second,
			Ports: []certify.Port{{Protocol: "udp", Number: 5000}}, FrameOverhead: 0.15, Floor: 200_000, Bitrate: 2_000_000,
			Recovery: 10 * time.Second},
		Servers: []certify.Server{{Name: "p2p.acme.example", Role: "rendezvous"}, {Name: "relay.acme.example", Role: "relay"}},
		Digest:  "sha256:" + strings.Repeat("ab", 32),
	}
	for _, f := range certify.Features() {
		d.Features[f.Feature] = !slices.Contains(without, f.Feature)
	}
	return d
}

// rightResult is one that passes its case: as much as it has to see, and no failure.
func rightResult(c certify.Case) certify.Result {
	r := certify.Result{Case: c.ID, Verdict: certify.Pass, Observed: map[string]int{}}
	for _, n := range c.Observed {
		r.Observed[n.Name] = n.Min
	}
	if c.Rate > 0 {
		r.Claim = &certify.Claim{Tries: c.Tries()}
	}
	return r
}

// begunTwice is a pass of a case that was cut short once.
func begunTwice(id string) certify.Result {
	c, _ := certify.Lookup(id)
	r := rightResult(c)
	r.Starts = 2
	return r
}

const sampleTimeline = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 130" width="900" height="130" font-family="sans-serif" font-size="12">` +
	`<g stroke="#888"><path d="M90 30H880M90 70H880M90 110H880"/></g><text x="4" y="34">viewer</text><text x="4" y="74">rendezvous</text>` +
	`<text x="4" y="114">camera</text><g stroke="#0072b2" stroke-width="1.5" fill="none"><path d="M120 30L150 70L180 110L230 30"/></g></svg>`

// certification is a run of the cases (all, if none are named) by a declaration, in which some came out otherwise.
func certification(d *certify.Declaration, cases []string, otherwise map[string]certify.Result) Certification {
	var selected []certify.Selected
	var results []certify.Result
	c := Certification{Declaration: d, Complete: true, Seed: 4711, Way: "executable", Command: "punchlab certify --profile acme.yaml -- ./acme-cam",
		Versions: []Fact{{"punchlab", "abc1234"}, {"Go", "go1.26"}, {"kernel", "6.12.0"}},
		Machine:  []Fact{{"CPU", "2 × Xeon"}, {"memory", "8 GB"}},
		Started:  time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), Finished: time.Date(2026, 11, 23, 11, 42, 7, 0, time.UTC),
		Probe: &Probe{Case: "QXZ-17", Role: certify.RoleCamera, Exit: 127},
		Roles: []Part{{certify.RoleCamera, "vendor", "./acme-cam"}, {certify.RoleViewer, "vendor", "./acme-cam"},
			{certify.RoleRendezvous, "bundled", "punchlab adapter"}, {certify.RoleRelay, "bundled", "punchlab adapter"}},
		Subjects: []Subject{{d.Device.Firmware.Name, d.Device.Firmware.SHA256, true, 8_412_160}, {"acme-cam", strings.Repeat("cd", 32), true, 18_112}},
		Signers:  []Signer{{Key: strings.Repeat("0123456789abcdef", 4), Name: "ACME lab"}}, Verify: "punchlab verify . --issuer lab.pub",
		Runs: map[string]CaseRun{}}
	for i, sel := range certify.Select(d) {
		id := sel.Case.ID
		if len(cases) > 0 && !slices.Contains(cases, id) {
			continue
		}
		selected = append(selected, sel)
		r, ok := otherwise[id]
		if !ok {
			r = rightResult(sel.Case)
		}
		if !sel.Applicable || r.Reason == "not run" {
			continue
		}
		r.Case = id
		results = append(results, r)
		run := CaseRun{Seed: 4711 + uint64(i), Took: time.Duration(i%7+1) * 1370 * time.Millisecond,
			Replay: fmt.Sprintf("punchlab certify --profile acme.yaml --case %s --seed %d -- ./acme-cam", id, 4711+i)}
		for k, name := range sel.Case.Evidence {
			run.Files = append(run.Files, EvidenceFile{name, "cases/" + id + "/" + name, int64(1+k) * 48_211, strings.Repeat(fmt.Sprintf("%02x", i), 32)})
		}
		if i%10 == 0 {
			run.Timeline = []byte(sampleTimeline)
		}
		c.Runs[id] = run
	}
	c.Suite = certify.Judge(selected, results)
	return c
}

// differently are results of every kind but a pass.
var differently = map[string]certify.Result{
	"NAT-2": {Verdict: certify.Fail, Reason: "in 3 of 59 connects the first whole frame came after 4 s, the latest after 6.81 s",
		Observed: map[string]int{"connects": 59, "frames": 59, "relayed": 59}, Claim: &certify.Claim{Tries: 59, Failures: 3}},
	"NAT-4": {Verdict: certify.PassNonstrict, Reason: "media was turned round by the router in 2 of 4 connects",
		Observed: map[string]int{"connects": 4, "frames": 240}},
	"NAT-6": {Verdict: certify.Unsupported, Reason: "the program answered 127"},
	"MED-3": {Verdict: certify.Fail, Reason: "the camera's program crashed: signal: segmentation fault", Device: "crashed: segmentation fault",
		Observed: map[string]int{"frames": 12}},
	"MED-7": {Verdict: certify.Fail, Reason: "the upload had 11 % of the link", Observed: map[string]int{"frames": 3600, "beside": 1 << 22}},
	"BW-2":  {Verdict: certify.HarnessError, Reason: "the lab's router was late by 212 ms"},
	"SEC-1": {Verdict: certify.Pass, Observed: map[string]int{"tries": 120, "messages": 7}},
	"SEC-3": {Verdict: certify.Pass, Observed: map[string]int{"lured": 59, "tries": 299}, Claim: &certify.Claim{Tries: 299, Failures: 1}},
	"STD-3": {Verdict: certify.Informational, Reason: "it sent 41 checks", Observed: map[string]int{"checks": 41}},
}

// few are cases enough to show one of each kind.
var few = []string{"ID-3", "REG-5", "NAT-2", "NAT-4", "NAT-6", "MED-3", "MED-7", "BW-2", "SEC-1", "SEC-3", "STD-3"}

// certifications are the kinds of run that a certificate must be good with.
func certifications() map[string]Certification {
	certified := certification(acme(certify.FeaturePrivacy, certify.FeatureICE, certify.FeatureConsent), nil, nil)
	warned := certification(acme(), nil, map[string]certify.Result{"NAT-4": differently["NAT-4"], "MED-7": differently["MED-7"],
		"MED-5": begunTwice("MED-5")})
	repeated := warned.Runs["MED-5"]
	repeated.Starts = []Start{{N: 1, Began: warned.Started, Ended: "interrupted", Why: "after 40s", Link: "earlier/MED-5/start-1"},
		{N: 2, Began: warned.Started.Add(time.Hour), Ended: "pass"}}
	warned.Runs["MED-5"] = repeated
	warned.Signers = append(warned.Signers, Signer{Key: strings.Repeat("fedcba9876543210", 4), Name: "Second Party", Witness: true})
	failed := certification(acme(certify.FeaturePassword), few, differently)
	failed.Signers, failed.Verify = nil, ""
	brief := certification(acme(), few[:4], map[string]certify.Result{"NAT-4": differently["NAT-4"]})
	brief.Suite.Cases[1].Result.Observed["keepalives"] = 3
	brief.Brief = true
	brief.Signers, brief.Verify = nil, ""
	rest := map[string]certify.Result{}
	for _, c := range certify.Catalogue() {
		if c.Group() != "ID" && c.ID != "REG-1" {
			rest[c.ID] = certify.Result{Reason: "not run"}
		}
	}
	stopped := certification(acme(), nil, rest)
	stopped.Complete = false
	single := certification(acme(), nil, rest)
	single.Only = []string{"ID-1", "ID-2", "ID-3", "ID-4", "ID-5", "ID-6", "REG-1"}
	dishonest := certification(acme(), few[:3], nil)
	dishonest.Probe = &Probe{Case: "QXZ-17", Role: certify.RoleCamera, Exit: 0}
	named := certification(acme(), few[:3], nil)
	named.Named, named.Signers, named.Verify = true, nil, ""
	belied := certification(acme(certify.FeatureUpdate), few[:3], nil)
	belied.Probe = &Probe{Case: "QXZ-17", Role: certify.RoleCamera, Exit: 127, Undeclared: "declares update: false, and did update when it was asked to"}
	box := certification(acme(certify.FeatureUpdate), few[:3], nil)
	box.Way, box.Probe, box.Roles = "box", nil, nil
	box.Subjects = []Subject{{box.Declaration.Device.Firmware.Name, box.Declaration.Device.Firmware.SHA256, false, 0}}
	bare := Certification{Suite: certify.Judge(nil, nil)}
	return map[string]Certification{"certified": certified, "warned": warned, "failed": failed, "brief": brief, "stopped": stopped, "single": single,
		"dishonest": dishonest, "belied": belied, "named": named, "box": box, "bare": bare}
}
