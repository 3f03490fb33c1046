package soak

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// What anybody can send in somebody's name draws no more bytes than it has, from whomever, whatever is sent again.
func TestNothingIsReflected(t *testing.T) {
	t.Parallel()
	n, wait := 2, 3*time.Second
	if os.Getenv("PUNCHLAB_SOAK") != "" {
		n, wait = 20, 30*time.Second
	}
	table, err := Reflect(t.Context(), Setup{Fabric: fabric(t), Seed: 1, Tries: n}, wait)
	if err != nil {
		t.Fatal(err)
	}
	soaked.keep(t, func(m *Record) { m.Reflection = &table })
	t.Log("\n" + table.Text())
	answered := map[string]int{}
	for _, r := range table.Rows {
		if r.Reflection > 1 {
			t.Errorf("%s: %s, %s: %d bytes in %d packets draw %d in %d", r.Target, r.Message, r.Variant, r.BytesIn, r.In, r.BytesOut, r.Out)
		}
		if r.Out > 0 {
			answered[r.Target]++
		}
	}
	for target, least := range map[string]int{"rendezvous": 3, "relay": 4, "camera": 2} {
		if answered[target] < least {
			t.Errorf("%d sorts were answered by the %s, so that what was not tried would look the same: at least %d are", answered[target], target, least)
		}
	}
}

// The record's columns, and the table's, are what others read.
func TestTable(t *testing.T) {
	table := Table{Seed: 1, Waited: time.Second, Rows: []Row{
		{"relay", "STUN", "plain", 3, 444, 3, 252, 252. / 444}, {"relay", "STUN", "cut", 3, 100, 3, 90, .9}, {"camera", "punch", "plain", 1, 220, 0, 0, 0},
	}}
	b, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	const record = `{"seed":1,"waited":1000000000,"rows":[` +
		`{"target":"relay","message":"STUN","variant":"plain","in":3,"bytes_in":444,"out":3,"bytes_out":252,"reflection":0.5675675675675675},` +
		`{"target":"relay","message":"STUN","variant":"cut","in":3,"bytes_in":100,"out":3,"bytes_out":90,"reflection":0.9},` +
		`{"target":"camera","message":"punch","variant":"plain","in":1,"bytes_in":220,"out":0,"bytes_out":0,"reflection":0}]}`
	if string(b) != record {
		t.Errorf("the record is\n%s\nwant\n%s", b, record)
	}
	const markdown = "| target | unauthenticated message | bytes in | bytes out | out ÷ in |\n|---|---|---:|---:|---:|\n" +
		"| relay | STUN | 100 | 90 | 0.90 |\n| camera | punch | 220 | 0 | 0.00 |\n"
	if table.Markdown() != markdown {
		t.Errorf("the table is\n%s\nwant\n%s", table.Markdown(), markdown)
	}
	const text = "target  message  in  bytes in  out  bytes out  bytes out ÷ in  worst\n" +
		"relay   STUN     3   100       3    90         0.90            cut\ncamera  punch    1   220       0    0          0.00            plain\n"
	if table.Text() != text {
		t.Errorf("the table is\n%s\nwant\n%s", table.Text(), text)
	}
	if w := table.Worst(); w.Variant != "cut" {
		t.Errorf("the worst is %+v", w)
	}
}
