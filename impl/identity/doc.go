// Package identity names devices: their keys, the UID derived from a key, the
// label that a maker prints as a QR code, and what others sign of a key: the maker
// that a camera is his, or no longer; the operator that a viewer has an account.
//
//	X25519 key ──► public key (32 bytes) ──► UID (130 bits of BLAKE2s-256)
//	                    │
//	maker key ─────► certificate (153 bytes)      maker key ─► list of revoked UIDs
//	account key ───► account token (105 bytes)
//
//	UID    7ZK3-Q2MD-90XV-5R1T-HC8E-WB4N-6YGA      26 symbols of hash, 2 of check
//	label  PL1/<camera key>/<rendezvous key>/<pairing secret>/HOST:PORT+HOST:PORT/<check>
//	invitation PI1/…                               the same, with a guest's secret
//
// A UID cannot be claimed without its key, because the session proves possession,
// and cannot be guessed, because it is a hash. Symbols are Crockford's base32:
// no I, L, O or U; I and L are read as 1, O as 0, letters in either case.
//
// Only file.go touches the file system.
package identity
