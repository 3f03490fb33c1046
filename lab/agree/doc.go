// Package agree shows that the engines agree: one script a requirement of RFC 4787, 5382, 5508 and 6888, and random
// packet sequences, run on nat.Table in virtual time, on table live and on netfilter.
package agree
