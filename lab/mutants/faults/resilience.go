package faults

import (
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// resilience are the faults of group RES.
var resilience = []Fault{{
	Case: "RES-1", Name: "home-needs-the-cloud", Role: "camera",
	Summary: "without the maker's server the camera sends everybody away: with the line down one does not see one's own door",
	Reason:  `(?i)stream|frame|outage|uplink|connect`,
	Edits: []mutants.Edit{nextPing("home-needs-the-cloud", "time.Second"),
		in("camera/camera.go",
			"		Down: func(now time.Time) { c.box.Emit(Unregistered{At: now}) },\n",
			`		Down: func(now time.Time) {
			for _, v := range append([]*viewer(nil), c.viewers...) {
				if faulty("home-needs-the-cloud") {
					c.drop(now, v, wire.CodeShuttingDown)
				}
			}
			c.box.Emit(Unregistered{At: now})
		},
`), in("camera/camera.go",
			"	cfg, err := cfg.withDefaults()\n",
			"	if faulty(\"home-needs-the-cloud\") {\n		cfg.LAN = false\n	}\n	cfg, err := cfg.withDefaults()\n")},
}, {
	Case: "RES-2", Name: "another-after-a-power-cut", Role: "camera",
	Summary: "the key is drawn at each start: after a power cut it is another camera, and nobody's",
	Reason:  `(?i)identity|same|power|connect|owner|cut`,
	Edits:   []mutants.Edit{forgetful},
}, {
	Case: "RES-2", Name: "nobodys-after-a-power-cut", Role: "camera",
	Summary: "who its owner is stands in memory: after a power cut the first who has read the label has the camera",
	Reason:  `forgotten its owner`,
	Edits:   []mutants.Edit{forgetful},
}, {
	Case: "RES-3", Name: "registers-once", Role: "camera",
	Summary: "the camera registers when it starts and never again: after the server's restart somebody has to climb the ladder",
	Reason:  `(?i)connect|recovery|after|restart|kill`,
	Edits: []mutants.Edit{in("uplink/greet.go",
		"	l.drop(now)\n	w := l.begin(now)\n",
		"	l.drop(now)\n	if faulty(\"registers-once\") {\n		return\n	}\n	w := l.begin(now)\n")},
}, {
	Case: "RES-3", Name: "trusts-any-clock", Role: "camera", Control: "asks-ntp",
	Summary: "the camera takes the time from whoever answers NTP, which nobody signs: a year too late, all its viewers are strangers to it",
	Reason:  `clock was set`,
	Declare: func(d *certify.Declaration) {
		d.Servers = append(d.Servers, certify.Server{Name: "ntp.punchlab.example", Role: "ntp"})
	},
	Edits: []mutants.Edit{in("camera/camera.go",
		"	sc.Prologue = []byte(core.PrologueCamera)\n",
		`	if faulty("asks-ntp") || faulty("trusts-any-clock") {
		go askClock()
	}
	sc.Prologue = []byte(core.PrologueCamera)
`), in("camera/admit.go",
		"	case !ok:\n		return refused(wire.CodeMalformed, errUnasked)\n",
		`	case !ok:
		return refused(wire.CodeMalformed, errUnasked)
	case faulty("trusts-any-clock") && clockAhead.Load() > 3600:
		return refused(wire.CodeNotPaired, wire.CodeNotPaired)
`), added("camera/zz_clock.go", `package camera

import (
	"encoding/binary"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

var clockAhead atomic.Int64 // seconds, of the NTP server

// askClock asks the time once (RFC 5905).
func askClock() {
	host, _, _ := strings.Cut(os.Getenv("PUNCHLAB_RENDEZVOUS"), ",")
	c, err := net.Dial("udp", net.JoinHostPort(host, "123"))
	if err != nil {
		return
	}
	defer c.Close()
	for range 5 {
		b := make([]byte, 48)
		b[0] = 4<<3 | 3
		_, _ = c.Write(b)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(b); err == nil && n == 48 {
			clockAhead.Store(int64(binary.BigEndian.Uint32(b[40:])) - 2208988800 - time.Now().Unix())
			return
		}
	}
}
`)},
}, {
	Case: "RES-4", Name: "keeps-every-handshake", Role: "camera",
	Summary: "each handshake that somebody began is kept for ever, forged or not: an hour of them, and the camera is out of memory",
	Reason:  `(?i)memory|grow|flood|%`,
	Edits: []mutants.Edit{in("camera/knock.go",
		"	req, cookie, err := c.responder.Open(now, path.Addr, c.knocks.crowded(now), b)\n",
		`	if faulty("keeps-every-handshake") {
		keep(b, 64)
	}
	req, cookie, err := c.responder.Open(now, path.Addr, c.knocks.crowded(now), b)
`), kept},
}, {
	Case: "RES-5", Name: "forgets-to-give-back", Role: "camera",
	Summary: "each viewer leaves eight megabytes behind: once a week the camera does not answer",
	Reason:  `(?i)memory|grow|file|process`,
	Edits:   leaking,
}, {
	Case: "RES-5", Name: "forgets-to-close", Role: "camera",
	Summary: "each viewer leaves a socket open: after a thousand visits the camera can open none, and answers nobody",
	Reason:  `(?i)open files`,
	Edits:   leaking,
}}

// leaking is a camera that keeps something of each viewer.
var leaking = []mutants.Edit{in("camera/answer.go",
	"	c.box.Quiet(false)\n",
	`	if faulty("forgets-to-give-back") {
		keep([]byte{1}, 8<<20)
	}
	if faulty("forgets-to-close") {
		keepOpen()
	}
	c.box.Quiet(false)
`), kept}

// forgetful is a camera that starts without what it knew.
var forgetful = in("program/camera/state.go",
	"	if _, err := os.Stat(s.path(LabelFile)); err == nil {\n		return nil\n",
	`	if faulty("another-after-a-power-cut") {
		_, _, _ = os.Remove(s.path(LabelFile)), os.Remove(s.path(KeyFile)), os.Remove(s.path(PairingsFile))
	}
	if faulty("nobodys-after-a-power-cut") {
		_ = os.Remove(s.path(PairingsFile))
	}
	if _, err := os.Stat(s.path(LabelFile)); err == nil {
		return nil
`)

// kept is what is never given back.
var kept = added("camera/zz_kept.go", `package camera

import (
	"bytes"
	"net"
)

var (
	theKept [][]byte
	theOpen []net.PacketConn
)

// keepOpen opens a socket for good.
func keepOpen() {
	if c, err := net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
		theOpen = append(theOpen, c)
	}
}

// keep keeps n copies.
func keep(b []byte, n int) { theKept = append(theKept, bytes.Repeat(b, n)) }
`)
