// Package ddns is a dynamic DNS provider, and its two customers: what people used before cameras could be reached by a QR
// code, and what the strategy port-forward measures.
//
//	camera ── GET /nic/update?hostname=N (dyndns2, HTTP) ──► Provider    N is at the address the request came from
//	viewer ── A, AAAA of N (RFC 1035, UDP) ────────────────► Provider    a minute to live
//
// The provider knows its customers by user and password, as dyndns2 does, in the clear. It is authoritative for one zone and
// for nothing else: other names are refused, so that it resolves for nobody.
package ddns
