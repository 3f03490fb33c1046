// Package store keeps a rendezvous' records in a bbolt database, so that a restart forgets nobody.
//
//	core ─ Save ─► pending ─ every 50 ms ─► bbolt (one transaction, synced)
//	     ◄ Load ── pending, else bbolt                    │ torn, cut short, not a database
//	                                                      ▼
//	                              FILE.damaged-TIME, and every record in it whose checksum is right
//
// A record is small and whole in itself: key, value and a CRC-32C over both. So a damaged file can be read without its
// structure, page by page, and what is found can be believed. Opening takes the same time whatever the number of records.
//
// When the disk is full or fails, the store keeps serving from memory and tries again; the owner is told when that begins
// and when it ends. What has not been written is lost only if the process dies before it has been.
package store
