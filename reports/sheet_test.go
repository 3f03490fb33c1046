package reports

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/certify"
)

// faultTable has a fault for each case of the catalogue, all found.
func faultTable() (t FaultTable) {
	t.Schema = faultsSchema
	for i, c := range certify.Catalogue() {
		t.Rows = append(t.Rows, FaultRow{Case: c.ID, Fault: "does-it-not", Role: []string{"camera", "", "relay"}[i%3], Summary: "leaves out it all",
			Control: certify.Pass, Faulty: certify.Fail, Reason: "in 3 of 12 tries it was not so", Seconds: float64(i) * 0.37, OK: true})
	}
	return t
}

// attackRecord is a soak in which all went well.
func attackRecord() AttackRecord {
	return AttackRecord{Attacks: []AttackResult{
		{Attack: "hijack", Seed: 7, Claim: certify.Claim{Tries: 10_000}, Shapes: []AttackShape{{"forged", 5000, 0}, {"replayed", 5000, 0}},
			Seen: map[string]int64{"honest questions": 10_000, "registrations": 412}, Took: 3 * time.Minute},
		{Attack: "enumeration", Seed: 7, Claim: certify.Claim{Tries: 10_000}, Shapes: []AttackShape{{"by connect", 10_000, 0}},
			Seen: map[string]int64{"answers": 10_000}, Took: time.Minute,
			Timing: &AttackTiming{Offline: 5000, Unknown: 5000, Chance: 0.503, Low: 0.492, High: 0.514, P: 0.59}},
	}, Reflection: &ReflectionTable{Seed: 7, Waited: 30 * time.Second, Rows: []ReflectionRow{
		{"rendezvous", "register", "plain", 200, 24_000, 200, 11_200, 0.467}, {"camera", "probe", "padded", 200, 60_000, 200, 60_000, 1},
		{"relay", "allocate", "cut", 200, 9_000, 0, 0, 0}}}}
}

func sheetPages(t *testing.T) map[string]string {
	t.Helper()
	missed, odd := faultTable(), FaultTable{Schema: faultsSchema}
	missed.Rows[3].OK, missed.Rows[3].Faulty, missed.Rows[3].Why, missed.Rows[3].Reason = false, certify.Pass, "the fault was not found", ""
	odd.Rows = []FaultRow{{Case: wicked, Fault: wicked, Role: wicked, Summary: wicked,
		Control: wicked, Faulty: wicked, Reason: wicked, Why: wicked, Seconds: -1}}
	won := attackRecord()
	won.Attacks[0].Claim.Failures, won.Attacks[0].Gained = 1, []string{"a viewer was told the impostor's endpoint"}
	won.Reflection.Rows[0].BytesOut, won.Reflection.Rows[0].Reflection = 48_000, 2
	hostile := AttackRecord{Attacks: []AttackResult{{Attack: wicked, Claim: certify.Claim{Tries: -1, Failures: 3}, Gained: []string{wicked},
		Shapes: []AttackShape{{wicked, 1, 1}}, Seen: map[string]int64{wicked: 0}}},
		Reflection: &ReflectionTable{Rows: []ReflectionRow{{Target: wicked, Message: wicked, Variant: wicked, In: 1, BytesIn: 1, Reflection: math.NaN()}}}}
	pages := map[string]string{}
	put := func(name string, err error, b *bytes.Buffer) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pages[name] = b.String()
	}
	for name, table := range map[string]FaultTable{"faults": faultTable(), "faults-missed": missed, "faults-odd": odd, "faults-none": {}} {
		var b bytes.Buffer
		put(name, FaultsPage(&b, table), &b)
	}
	for name, record := range map[string]AttackRecord{"attacks": attackRecord(), "attacks-won": won, "attacks-odd": hostile, "attacks-none": {},
		"reflection": {Reflection: attackRecord().Reflection}} {
		var b bytes.Buffer
		put(name, AttacksPage(&b, record), &b)
	}
	return pages
}

// TestSheets holds the pages of faults and attacks to what every page must have, and to what was looked at.
func TestSheets(t *testing.T) {
	for name, page := range sheetPages(t) {
		checkCertificate(t, parseHTML(t, page))
		for _, bad := range []string{"%!", "ZgotmplZ", "<no value>", "http://", "https://", "<nil>", "NaN", "\x1b", "\u202e"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
		if *look != "" {
			if err := os.WriteFile(filepath.Join(*look, name+".html"), []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(name, "-odd") {
			continue
		}
		path := filepath.Join("testdata", "certificate", name+".html.golden")
		if *update {
			if err := os.WriteFile(path, []byte(withoutStyle(page)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), withoutStyle(page)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// TestSheetsSayWhatIsWrong: in the headline's standing and in words.
func TestSheetsSayWhatIsWrong(t *testing.T) {
	for name, want := range map[string]struct {
		stands standing
		says   []string
	}{
		"faults":        {good, []string{"56 of 56 faults found"}},
		"faults-missed": {bad, []string{"55 of 56 faults found", "ID-4 does-it-not: the fault was not found"}},
		"faults-none":   {bad, []string{"0 of 0 faults found", "nothing here shows that it can fail: ID-1,"}},
		"faults-odd":    {bad, []string{"0 of 1 fault found"}},
		"attacks": {good, []string{"0 of 20,000 tries succeeded; reflection is 1× at most",
			"≤ 0.03 % at 95 % confidence (0 of 10000)"}},
		"attacks-won": {bad, []string{"1 of 20,000 tries succeeded", "a viewer was told the impostor's endpoint",
			"rendezvous, register (plain): 48,000 bytes out for 24,000 in"}},
		"attacks-odd":  {bad, []string{"such counts cannot be", "so that its tries show nothing"}},
		"attacks-none": {doubt, []string{"nothing was tried"}},
		"reflection":   {good, []string{"Reflection is 1× at most"}},
	} {
		page := strings.NewReplacer("\u00a0", " ", "&#39;", "'").Replace(sheetPages(t)[name])
		if !strings.Contains(page, `<h1 class="`+string(want.stands)+`">`) {
			t.Errorf("%s does not stand as %s", name, want.stands)
		}
		for _, s := range want.says {
			if !strings.Contains(page, s) {
				t.Errorf("%s lacks %q", name, s)
			}
		}
	}
}

// TestReadFaults: its own schema and no other.
func TestReadFaults(t *testing.T) {
	got, err := ReadFaults(strings.NewReader(
		`{"schema":"punchlab/faults/1","faults":[{"case":"SEC-9","fault":"a","summary":"b","control":"pass","faulty":"fail","seconds":1,"ok":true}]}`))
	if err != nil || len(got.Rows) != 1 || got.Rows[0].Case != "SEC-9" || !got.Rows[0].OK {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "[]", `{"schema":"punchlab/mutants/1"}`} {
		if _, err := ReadFaults(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// TestReadAttacks: its own schema and no other.
func TestReadAttacks(t *testing.T) {
	got, err := ReadAttacks(strings.NewReader(
		`{"schema":"punchlab/attacks/1","attacks":[{"attack":"hijack","claim":{"tries":3,"failures":0}}],"reflection":{"rows":[{"in":2}]}}`))
	if err != nil || len(got.Attacks) != 1 || got.Attacks[0].Claim.Tries != 3 || got.Reflection.Rows[0].In != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "[]", `{"schema":"punchlab/faults/1"}`} {
		if _, err := ReadAttacks(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// TestWritePage: beside its record, by what that says it is.
func TestWritePage(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ record, want string }{
		"faults.json":  {`{"schema":"punchlab/faults/1"}`, "0 of 0 faults found"},
		"attacks.json": {`{"schema":"punchlab/attacks/1"}`, "nothing was tried"},
		"other.json":   {`{"schema":"punchlab/mutants/1"}`, ""},
		"none.json":    {"", ""},
	} {
		record := filepath.Join(dir, name)
		if err := os.WriteFile(record, []byte(c.record), 0o644); err != nil {
			t.Fatal(err)
		}
		page, err := WritePage(record)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), record) {
				t.Errorf("%s: a page of it is %q, error %v", name, page, err)
			}
			continue
		}
		b, readErr := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(name, ".json")+".html"))
		if err != nil || readErr != nil || !strings.Contains(string(b), c.want) {
			t.Errorf("%s: %v, %v, and its page %s lacks %q", name, err, readErr, page, c.want)
		}
	}
}
