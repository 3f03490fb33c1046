// Package work spreads a run over machines: cells on a NATS JetStream work queue.
//
//	coordinator                     NATS JetStream                            worker, any number
//	  job ───────────▶ KV   punchlab-jobs       RUN: manifest, texts ───▶ builds the plan; refuses what is another
//	  units ─────────▶ queue punchlab-RUN-units   cell, trials       ───▶ takes one, holds it with InProgress, runs it
//	  record.Writer ◀─ log  punchlab-RUN-records  cell.trial: record ◀─── stores each record, then acknowledges the unit
//
// A unit is acknowledged only after the server has confirmed each of its records. A worker that dies is silent, so after AckWait
// its unit goes to another one, which first looks up what is stored and goes on from there. Records are stored once: a record of a
// trial is accepted only as the successor of the one before it (expected last sequence of its subject), which holds after the
// window for duplicates as well, and the coordinator keeps a ledger of what its folder has. The coordinator holds no other state:
// begun again, it reads the log from the start, drops what it has, and asks for what is missing.
//
// A unit that kills who runs it must not take others with it. So one that was delivered before is a suspect: a worker runs it alone,
// with nothing else in hand, and says so in the log before it begins and when it is told to stop. What dies alone is what killed.
// When all but one of MaxDeliver workers have begun that and none has come to an end, the next one that is given the unit gives it
// up: harness errors. A unit that has only been near is never given up, and one that has not been lost before is run beside others.
//
// The set of records is that of a run in one process, whoever ran what, since a trial's seed is of its cell and number alone.
package work
