// Package cloud records a camera's video to an S3-compatible store that cannot watch it.
//
//	Write ─► pre-roll ─► segment, MPEG-TS ─► AES-128-CBC, HMAC ─► spool ─► PUT segment ─► PUT playlist
//	          (memory)    (4 s, from a key       (on the camera)   (disk,    in order, again until it
//	                       frame to the next)                       bounded)  is stored, then forgotten
//
// The bucket holds, below PREFIX/UID/, a folder for each part of at most ten minutes or one motion:
//
//	20261123T022000Z-1f3a9c02-00000150/                        start, series, first sequence number
//	    index.m3u8                                             HLS playlist (RFC 8216)
//	    00000150-20261123T022000040Z-4000-c-<64 hex digits>.ts sequence number, start, ms, flag, HMAC
//	    00000151-20261123T022004040Z-4000-c-<64 hex digits>.ts
//
// The series is drawn when a spool is made; sequence numbers grow by one in a series and never start again, so a hole in
// them is a segment that is missing. The flag is d where timestamps do not go on from the segment before, else c.
//
// # Keys
//
// Of the master key (Key) each part derives two by HKDF-SHA-256, bound to the camera's UID and the part's name: one of AES,
// one of HMAC. The store has neither. With a part's AES key any HLS player plays that part and no other (METHOD=AES-128).
//
// A segment is encrypted with its sequence number as the IV, as RFC 8216 §5.2 has it where a playlist names no IV. Its first
// block of plaintext, the head of the PAT, is the same in all segments but for four bits that a sequence number leaves
// alone; so the first ciphertext block is the block cipher of a nonce, which is how NIST SP 800-38A appendix C makes an
// unpredictable IV for what follows.
//
// A segment's HMAC covers its name and ciphertext and stands in its name: each object can be checked alone, and a playlist can
// be made again from a listing. A playlist ends in a comment with the HMAC of all before it. What a store can still do is to
// hide the newest objects; Verify says up to where a recording reaches.
//
// # Outages
//
// What is not yet stored lies in the spool, encrypted, each segment a file that was synced before it got its name. After an
// outage, a crash or a restart it goes up in order, under the names it has, so that an upload that was done twice is one object.
// Past its bound the spool drops its oldest segments; the playlist keeps their places as EXT-X-GAP. Where the disk cannot be
// written, segments wait in memory.
package cloud
