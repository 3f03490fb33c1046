package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sheets are the records that are one page each, by their schemas.
var sheets = map[string]func(w io.Writer, record io.Reader) error{
	faultsSchema: func(w io.Writer, record io.Reader) error {
		t, err := ReadFaults(record)
		return errors.Join(err, FaultsPage(w, t))
	},
	attacksSchema: func(w io.Writer, record io.Reader) error {
		a, err := ReadAttacks(record)
		return errors.Join(err, AttacksPage(w, a))
	},
}

// WritePage writes the page of a record, such as faults.json or attacks.json, beside it, and returns the page's name. The record says
// by its schema what it is.
func WritePage(record string) (page string, err error) {
	b, err := os.ReadFile(record)
	if err != nil {
		return "", fmt.Errorf("write page: %w", err)
	}
	var of struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &of); err != nil {
		return "", fmt.Errorf("write page of %s: it is no record: %w", record, err)
	}
	write, ok := sheets[of.Schema]
	if !ok {
		return "", fmt.Errorf("write page of %s: its schema is %q: give a %s or a %s", record, of.Schema, faultsSchema, attacksSchema)
	}
	var out bytes.Buffer
	if err := write(&out, bytes.NewReader(b)); err != nil {
		return "", fmt.Errorf("write page of %s: %w", record, err)
	}
	page = strings.TrimSuffix(record, filepath.Ext(record)) + ".html"
	return page, os.WriteFile(page, out.Bytes(), 0o644)
}
