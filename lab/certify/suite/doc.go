// Package suite runs the cases that a camera is held to, and makes the certificate.
//
//	declaration ─ certify.Select ─► cases, longest first ──┬─ worker ─ stage.Open ─ procedure ─► cases/ID/result.json, evidence
//	a case that there is not, at a random place among them ┤  …        a panic or over-time is that case's harness-error
//	(its answer has to be 127: the honesty probe)          └─ worker
//	                                                              │ all done, or cut short: Resume goes on
//	                                                              ▼
//	                       certify.Judge ─► suite.json, report.html, junit.xml ─ evidence.Seal ─► certificate.json
//
// OUT is the folder of a certification, and at its end the certificate's:
//
//	run.json           what is run: seed, declaration's digest, cases, command. Two runs with one of these ask the same
//	declaration.yaml   as it was given
//	scenarios/ID.json  each case as the catalogue has it
//	cases/ID/…         evidence, and result.json when the case is done
//	starts.jsonl       every start of every case, written before it begins, and how it ended; each line with the digest of those before
//	earlier/ID/start-N what a start left that came to nothing
//	suite.json, report.html, junit.xml
//	certificate.json, manifest.json
//
// Only a whole run in full certifies: one of single cases, a brief one, one that was cut short and one whose programs claim to know
// what they cannot know are reported and never sealed, and their verdict is at best inconclusive.
package suite
