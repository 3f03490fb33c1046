package certify

import (
	"slices"
	"time"
)

// Level is how much a case weighs.
type Level string

// Levels. A conditional case is a must for a camera that declares the features it needs, and nothing to any other.
const (
	Must        Level = "must"
	Should      Level = "should"
	Conditional Level = "conditional"
)

// Clause is where a case comes from: a sentence of a standard, or the record of a vulnerability.
type Clause struct {
	Document string `json:"document"`         // RFC 9000, EN 303 645 V2.1.1, CVE-2021-28372
	Clause   string `json:"clause,omitempty"` // §8.1, 5.1-1; of a CVE nothing
	Quote    string `json:"quote"`            // words of the clause; where Verified is false, what it is said to say
	Verified bool   `json:"verified"`         // the words were read in the document's text
}

// String is: RFC 9000 §8.1 “words of it”, with a remark if they were not read at their source.
func (c Clause) String() string {
	s := c.Name()
	switch {
	case c.Document == thisSuite:
		return s + ": " + c.Quote
	case c.Verified:
		return s + " “" + c.Quote + "”"
	case c.Quote == "":
		return s + " (not verified)"
	}
	return s + ": " + c.Quote + " (not verified)"
}

// Name is the document and the clause's number.
func (c Clause) Name() string {
	if c.Clause == "" {
		return c.Document
	}
	return c.Document + " " + c.Clause
}

// Need is something that must have been observed for a result to mean anything.
type Need struct {
	Name string `json:"name"` // key in Result.Observed: connects-tried
	What string `json:"what"` // connects that the viewer asked for
	Min  int    `json:"min"`  // least number; at least 1
}

// Case is one entry of the catalogue.
type Case struct {
	ID    string `json:"id"` // group and number, never used again for another case: NAT-1
	Title string `json:"title"`
	Level Level  `json:"level"`
	// Needs are the features of the declaration that make the case applicable, all of them; a must-case has none.
	Needs []Feature `json:"needs,omitempty"`
	// Bounds are those of the declaration that the case holds the camera to.
	Bounds    []Bound  `json:"bounds,omitempty"`
	Origin    []Clause `json:"origin"`
	Since     string   `json:"since"` // SuiteVersion that has it first
	Procedure string   `json:"procedure"`
	Criterion string   `json:"criterion"`
	// Nonstrict says what passes without being all that is asked for: verdict pass-nonstrict. Empty: there is no such thing.
	Nonstrict string `json:"nonstrict,omitempty"`
	Observed  []Need `json:"observed"`
	// Rate, where not zero, is the success rate that a pass claims at Confidence: Tries are needed at least.
	Rate float64 `json:"rate,omitempty"`
	// Absolute: a single failure among the tries is a fail, whatever the rate. Of an attack each is one that got through.
	Absolute bool     `json:"absolute,omitempty"`
	Evidence []string `json:"evidence"` // what its evidence folder has besides the log of the case
	Actions  []Action `json:"actions,omitempty"`
	// Units is how many cameras are needed; 0 is 1.
	Units int `json:"units,omitempty"`
	// Takes is about how long the case runs, of real time.
	Takes time.Duration `json:"takes"`
}

// Group is the part of the ID before its number: NAT.
func (c Case) Group() string {
	group, _, _ := cutID(c.ID)
	return group
}

// Binding reports whether a failure of the case, where it is applicable, fails the suite.
func (c Case) Binding() bool { return c.Level != Should }

// Tries is how many tries without a failure the case's claim needs; 0 if it claims no rate.
func (c Case) Tries() int {
	if c.Rate == 0 {
		return 0
	}
	return NeededTries(c.Rate)
}

// Catalogue is every case, in the order of the groups. The caller may change what it gets.
func Catalogue() []Case {
	return slices.Concat(identity(), registration(), traversal(), media(), pull(), security(), resilience(), standards())
}

// Lookup finds a case by its ID.
func Lookup(id string) (Case, bool) {
	all := Catalogue()
	i := slices.IndexFunc(all, func(c Case) bool { return c.ID == id })
	if i < 0 {
		return Case{}, false
	}
	return all[i], true
}
