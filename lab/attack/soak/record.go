package soak

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Schema is what a record says it is.
const Schema = "punchlab/attacks/1"

// Record is a soak for machines, attacks.json: reports.AttacksPage makes a page of it.
type Record struct {
	Schema     string   `json:"schema"`
	Attacks    []Result `json:"attacks"` // in the order of Attacks
	Reflection *Table   `json:"reflection,omitempty"`
}

// add puts a result in, in place of an older one of the same attack.
func (m *Record) add(r Result) {
	m.Attacks = append(slices.DeleteFunc(m.Attacks, func(o Result) bool { return o.Attack == r.Attack }), r)
	slices.SortFunc(m.Attacks, func(a, b Result) int {
		return cmp.Compare(slices.Index(Attacks(), a.Attack), slices.Index(Attacks(), b.Attack))
	})
}

// JSON is the record as it is kept.
func (m Record) JSON() ([]byte, error) {
	m.Schema = Schema
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}
