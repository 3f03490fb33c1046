package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parser reads lines of trials.jsonl. A line as Writer writes it is read in one pass (see quick); any other line, and any that is
// wrong, by encoding/json, which knows what is to be said about it.
type parser struct {
	words    map[string]string            // by itself: the few texts that repeat from line to line
	params   map[string]map[string]string // by its JSON
	possible map[string]*Possible         // by its JSON
}

func newParser() *parser {
	return &parser{words: map[string]string{}, params: map[string]map[string]string{}, possible: map[string]*Possible{}}
}

// parse reads and checks one line.
func (p *parser) parse(line []byte) (Trial, error) {
	if t, ok := p.quick(line); ok {
		return t, t.Validate()
	}
	return parseTrial(line)
}

// trialLine finds out which of the fields that every trial must have are there: its own shadow those of Trial.
type trialLine struct {
	Schema  *string            `json:"schema"`
	Cell    *int               `json:"cell"`
	Trial   *int               `json:"trial"`
	Seed    *uint64            `json:"seed"`
	Params  *map[string]string `json:"params"`
	Outcome *Outcome           `json:"outcome"`
	Oracle  *string            `json:"oracle"`
	trialRest
}

type trialRest Trial

// parseTrial reads and checks one line of any form.
func parseTrial(line []byte) (Trial, error) {
	var l trialLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return Trial{}, fmt.Errorf("%w: written by another version of punchlab", err)
		}
		return Trial{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Trial{}, errors.New("more than one value on the line")
	}
	switch {
	case l.Schema == nil:
		return Trial{}, errors.New("field schema is missing")
	case l.Cell == nil:
		return Trial{}, errors.New("field cell is missing")
	case l.Trial == nil:
		return Trial{}, errors.New("field trial is missing")
	case l.Seed == nil:
		return Trial{}, errors.New("field seed is missing")
	case l.Params == nil:
		return Trial{}, errors.New("field params is missing")
	case l.Outcome == nil:
		return Trial{}, errors.New("field outcome is missing")
	case l.Oracle == nil:
		return Trial{}, errors.New("field oracle is missing")
	}
	t := Trial(l.trialRest)
	t.Schema, t.Cell, t.Trial, t.Seed = *l.Schema, *l.Cell, *l.Trial, *l.Seed
	t.Params, t.Outcome, t.Oracle = *l.Params, *l.Outcome, *l.Oracle
	return t, t.Validate()
}
