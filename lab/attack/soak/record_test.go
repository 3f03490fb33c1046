package soak

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/reports"
)

// soaked is what the tests of this run have come to so far.
var soaked keeping

// keeping is a record that is written again whenever something is added: a soak that fails leaves its page too.
type keeping struct {
	mu     sync.Mutex
	record Record
}

// keep adds to the record; it is written into the folder PUNCHLAB_SOAK_OUT, if that is set, with its page.
func (k *keeping) keep(t testing.TB, add func(*Record)) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	add(&k.record)
	dir := os.Getenv("PUNCHLAB_SOAK_OUT")
	if dir == "" {
		return
	}
	page, err := k.record.write(dir)
	if err != nil {
		t.Error(err)
	}
	t.Logf("the page of the soak so far is %s", page)
}

// write writes attacks.json and attacks.html, and the table of reflection for a README.
func (m Record) write(dir string) (page string, err error) {
	b, err := m.JSON()
	if err != nil {
		return "", err
	}
	record := filepath.Join(dir, "attacks.json")
	err = errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(record, b, 0o644))
	if m.Reflection != nil {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "reflection.md"), []byte(m.Reflection.Markdown()), 0o644))
	}
	if err != nil {
		return "", err
	}
	return reports.WritePage(record)
}

// What a page is made of is what the soak has written down.
func TestRecord(t *testing.T) {
	var m Record
	for _, a := range []Attack{Enumeration, Hijack, Capture, Hijack} {
		m.add(Result{Attack: a, Seed: 3, Claim: certify.Claim{Tries: 299, Failures: 1}, Shapes: []Shape{{"forged", 299, 1}},
			Gained: []string{"by forged: a viewer is sent to an impostor"}, Seen: map[string]int64{"questions": 7},
			Timing: &Timing{Offline: 1, Unknown: 2, Chance: 0.5, Low: 0.4, High: 0.6, P: 0.7}, Took: time.Minute})
	}
	m.Reflection = &Table{Seed: 4, Waited: time.Second, Rows: []Row{{"relay", "STUN", "cut", 3, 100, 2, 90, 0.9}}}
	b, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	read, err := reports.ReadAttacks(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	one := reports.AttackResult{Seed: 3, Claim: certify.Claim{Tries: 299, Failures: 1}, Shapes: []reports.AttackShape{{Name: "forged", Tries: 299, Successes: 1}},
		Gained: m.Attacks[0].Gained, Seen: m.Attacks[0].Seen, Took: time.Minute,
		Timing: &reports.AttackTiming{Offline: 1, Unknown: 2, Chance: 0.5, Low: 0.4, High: 0.6, P: 0.7}}
	want := reports.AttackRecord{Schema: Schema, Reflection: &reports.ReflectionTable{Seed: 4, Waited: time.Second, Rows: []reports.ReflectionRow{{
		Target: "relay", Message: "STUN", Variant: "cut", In: 3, BytesIn: 100, Out: 2, BytesOut: 90, Reflection: 0.9}}}}
	for _, a := range []Attack{Hijack, Capture, Enumeration} {
		one.Attack = string(a)
		want.Attacks = append(want.Attacks, one)
	}
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("the page is made of something else: %s", diff)
	}
	dir := t.TempDir()
	page, err := m.write(filepath.Join(dir, "soak"))
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "a viewer is sent to an impostor") {
		t.Errorf("%s: %v: %s", page, err, html)
	}
}
