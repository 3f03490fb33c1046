// Package web shows cameras in a browser.
//
//	browser                          Server                                    Backend (impl/program/viewer)
//	GET /            ──────────────► page: list of cameras, the picture
//	GET /api/events  ◄── state ───── snapshot, again whenever it changes ◄──── Cameras, Changed
//	POST /whep/NAME  ── SDP offer ─► session ── H.264, RTP (RFC 6184) ◄─────── Watch: frames
//	                 ◄─ SDP answer ─    │  ◄── PLI, FIR: a key frame ────────► RequestKeyFrame
//	                 ◄═ DTLS-SRTP ═════╡
//	DELETE Location  ──────────────────┘
//
// The picture goes by WHEP (draft-ietf-wish-whep), so that any WHEP client can play it: one POST of an offer, with the whole
// answer and its candidates in the response. Nothing is decoded or coded anew: what the camera sent is what the browser gets,
// with the same timestamps.
//
// Who may look is decided by a token, as a bearer token (RFC 6750) or, for browsers, once as ?token= and then as a cookie. A server
// without one answers requests alone that name this host by an IP address or as localhost, so that no web page elsewhere
// can reach it by a name of its own (DNS rebinding).
package web
