// Package certify says what a camera is held to, and what a suite of results comes to.
//
//	declaration (YAML) ── Load ──► ICS: what the camera has ─┐
//	                               IXIT: the bounds it keeps ─┤ a fault: line and column
//	                                                         ▼
//	Catalogue ─────────── Select(declaration) ─► every case, applicable or not, and why
//	                                                         │  no case can be left out
//	a lab runs them (elsewhere) ─► Result: verdict, what was seen, tries
//	                                                         ▼
//	                       Settle(case, result)   too little seen, too few tries: inconclusive, whatever it says
//	                       Judge(selected, results) ─► Suite: pass, pass-nonstrict, inconclusive or fail
//
// A case states before it is run what has to have been observed for its result to mean anything, so that nothing passes
// because nothing happened. It is traced to clauses of standards and to records of vulnerabilities; a clause that was not read
// at its source says so wherever it is shown. The package is pure: it runs nothing and reads no clock. How a camera is plugged
// in is CONTRACT.md's.
package certify

// SuiteVersion is the version of the catalogue: what a certificate says it was judged by. A case's Since is one of these.
const SuiteVersion = "1.0"
