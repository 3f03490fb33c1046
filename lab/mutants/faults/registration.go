package faults

import (
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// registration are the faults of group REG.
var registration = []Fault{{
	Case: "REG-1", Name: "last-word-wins", Role: "rendezvous",
	Summary: "who registers last under a key is believed, with or without it: a camera that is online loses its visitors to an impostor",
	Reason:  `(?i)impostor|displace|reach|taken|told|holder`,
	Edits: []mutants.Edit{in("rendezvous/admit.go",
		"	req, reply, err := s.responder.Open(now, from, loaded, b)\n",
		`	if faulty("last-word-wins") {
		s.takeItsWord(now, from, to, b, true)
	}
	req, reply, err := s.responder.Open(now, from, loaded, b)
`), claimedKey, takeItsWord},
}, {
	Case: "REG-2", Name: "old-registration-taken", Role: "rendezvous",
	Summary: "a registration that was recorded is good again: whoever heard it once has the camera's visitors when he likes",
	Reason:  `(?i)replay|recorded|again|sent to|online`,
	Edits: []mutants.Edit{
		noStamp("old-registration-taken", "true"),
		in("rendezvous/admit.go", "	p := c.pending()\n	return p != nil && (stamp", "	p := c.pending()\n	return !faulty(\"old-registration-taken\") && p != nil && (stamp"),
		in("rendezvous/admit.go", answered, answered+`	if faulty("old-registration-taken") {
		s.confirm(now, c, p)
	}
`)},
}, {
	Case: "REG-3", Name: "registers-where-it-was", Role: "camera",
	Summary: "the camera neither answers where it appears from now nor registers anew: after the router's restart it is lost until its own",
	Reason:  `(?i)connect|reach|rebind|after|recovery|frame`,
	Edits: []mutants.Edit{in("uplink/keep.go",
		"		l.sendTo(from, core.Keepalive, &wire.Pong{Sequence: m.Sequence})\n",
		`		if faulty("registers-where-it-was") {
			return nil
		}
		l.sendTo(from, core.Keepalive, &wire.Pong{Sequence: m.Sequence})
`), in("uplink/keep.go",
		"	case l.unanswer >= l.most():\n		l.lost(now)\n",
		"	case l.unanswer >= l.most() && !faulty(\"registers-where-it-was\"):\n		l.lost(now)\n")},
	Declare: func(d *certify.Declaration) { d.Bounds.Recovery = 15 * time.Second }, // the case waits so much less
}, {
	Case: "REG-4", Name: "never-offline", Role: "rendezvous",
	Summary: "a camera that is gone stays online, and who asks for it is left to wait",
	Reason:  `(?i)offline|told|known|keepalive|answer`,
	Edits: []mutants.Edit{in("rendezvous/client.go",
		"	case c.pings >= serverPings:\n",
		"	case c.pings >= serverPings && !faulty(\"never-offline\"):\n"),
		in("rendezvous/introduce.go",
			"		s.refuse(in.viewer, in.viewerID, wire.CodeUnavailable)\n		s.end(in)\n	default:\n",
			`		if faulty("never-offline") {
			s.end(in)
			return
		}
		s.refuse(in.viewer, in.viewerID, wire.CodeUnavailable)
		s.end(in)
	default:
`)},
}, {
	Case: "REG-5", Name: "keepalive-every-2s", Role: "camera",
	Summary: "the camera sends a keepalive every two seconds, day and night: its mobile link is never quiet, a million of them are a flood",
	Reason:  `(?i)keepalive`,
	Edits:   []mutants.Edit{nextPing("keepalive-every-2s", "2*time.Second")},
}, {
	Case: "REG-6", Name: "all-come-back-at-once", Role: "camera",
	Summary: "every camera asks four times a second until the server is back: a million come in its first second, and it is gone again",
	Reason:  `(?i)second|spread|quarter|apart|at once`,
	Edits: []mutants.Edit{in("uplink/greet.go",
		"	w.retry = now.Add(gap + l.jitter(gap/4))\n}\n",
		`	w.retry = now.Add(gap + l.jitter(gap/4))
	if faulty("all-come-back-at-once") {
		w.retry = now.Truncate(firstRetry).Add(firstRetry)
	}
}
`)},
}}

// nextPing has the next keepalive go after a while, as a Go expression.
func nextPing(name, after string) mutants.Edit {
	const place = "	l.next = now.Add(l.rhythm.every - l.jitter(l.rhythm.every/5) - l.lead())\n"
	return in("uplink/keep.go", place, place+"	if faulty(\""+name+"\") {\n		l.next = now.Add("+after+")\n	}\n")
}
