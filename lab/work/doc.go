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
// The set of records is that of a run in one process, whoever ran what, since a trial's seed is of its cell and number alone.
package work
