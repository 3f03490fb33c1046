// Package evidence keeps what a certification saw so that a stranger can check it years later without the lab: a folder of
// files, a manifest of their hashes, and a signed statement about both. It runs nothing and judges no camera.
//
//	CERTIFICATE/
//	├── certificate.json      DSSE envelope: the statement, signed by its issuers and by witnesses who agree
//	├── manifest.json         every file's size and SHA-256; every case's verdict, seed, scenario and replay command
//	├── declaration.yaml      what the vendor declared
//	├── scenarios/…           what was run
//	├── cases/NAT-1/…         what was seen: capture.pcapng, timeline.txt, timeline.svg, records, logs
//	└── witnesses/KEY/…       a second party's run of the same seeds: the same kind of folder, signed with its own key
//
// The statement is an in-toto Statement v1 with a test-result predicate: who reads those reads this.
//
//	subject ─────────── the firmware (name, SHA-256), and a server and viewer if the vendor brought them
//	predicate.result ── PASSED | WARNED | FAILED; passedTests, warnedTests, failedTests name cases
//	predicate.configuration
//	  ├── the suite ─── its digest; annotations: version, command, issuers, times, whose run it repeats
//	  ├── manifest ──── its digest; annotations: the suite's and each case's verdict, every file's SHA-256
//	  ├── declaration, scenarios (digests of files in the folder)
//	  └── seeds ─────── a line a case, as content, with its digest
//
// It is a pure function of the manifest; Verify derives it again and compares, so neither can say what the other does not.
//
// A certificate without its issuers' signatures is none; a witness adds a signature to the same statement only if its own
// run came to the same verdicts, and adds its own statement whether it did or not. Both JSON files have one permitted form,
// so a byte changed anywhere is found.
//
// https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
package evidence
