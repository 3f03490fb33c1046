// Package stage runs the labs of one certification case with everything watched, and the cast in them: a vendor's programs in
// their cages or a box on its cable, and the bundled programs in the roles that the vendor does not bring.
//
//	a case's procedure ─► Stage ─ Set ─► lab of a topology, proved │ every host's packets ─► Tape (live)
//	                        │      │                               │ every tap ──────────► capture.pcapng
//	                        │      ├─ Serve ──► rendezvous, relay ─┐
//	                        │      ├─ Camera ─► unit 1, 2, …       ├─ contain.Run: CONTRACT.md's variables in, result folder out
//	                        │      └─ View ───► viewers            ┘  (a box: plug.Attach, and the vendor's hook)
//	                        ├─ Saw, Try, Note, Record ─► counts.json, timeline.txt, records.jsonl
//	                        └─ Pass, Fail, Judge … ────► certify.Result ─ Finish ─► with what became of the programs
//
// A Stage is one case's, in one go: Open, Set as often as the case needs, a verdict, Finish or Close. After Close nothing is left:
// no process, namespace or file but the evidence. That holds too if the procedure panics, provided that Close is deferred.
//
// Who plays what: in way Executable the vendor's program is asked for each role first; one that it answers 127 to before it is
// ready is the bundled program's from then on, but for the camera's. In way Endpoint only the camera is the vendor's. In way
// Box the camera is what hangs on the cable, and its actions are done by the hook.
//
// What a program writes is a claim: Frames are what both ends say, the Tape is what passed.
package stage
