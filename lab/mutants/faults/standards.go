package faults

import (
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// standards are the faults of group STD.
var standards = []Fault{{
	Case: "STD-1", Name: "fingerprint-of-nothing", Role: "camera",
	Summary: "its STUN messages end in a checksum that is not theirs (RFC 8489 §14.7): servers that look at it answer nothing",
	Reason:  `(?i)STUN|FINGERPRINT|attribute|verif|RFC`,
	Edits: []mutants.Edit{in("classify/stun.go",
		"	m.Add(stun.AttrSoftware, text)\n	return m.Raw\n",
		`	m.Add(stun.AttrSoftware, text)
	if faulty("fingerprint-of-nothing") {
		out := append(append([]byte(nil), m.Raw...), 0x80, 0x28, 0, 4, 1, 2, 3, 4) // FINGERPRINT, of nothing
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)-headerSize))
		return out
	}
	return m.Raw
`)},
}, {
	Case: "STD-1", Name: "answers-any-stun", Role: "camera",
	Summary: "whoever asks its port by STUN gets an answer, whatever is wrong with the checksum or the password: it is there for every scanner",
	Reason:  `with success`,
	Edits: []mutants.Edit{in("camera/camera.go",
		"	if c.dev.Handle(now, from, to, b) {\n",
		`	if answer := answerSTUN(from, b); answer != nil && faulty("answers-any-stun") {
		c.box.Send(c.dev.Local(to), from, core.Signal, answer)
		return
	}
	if c.dev.Handle(now, from, to, b) {
`), added("camera/zz_stun_answer.go", `package camera

import (
	"net"
	"net/netip"

	"github.com/pion/stun/v3"
)

// answerSTUN answers a binding request; nil: it is none.
func answerSTUN(from netip.AddrPort, b []byte) []byte {
	if !stun.IsMessage(b) {
		return nil
	}
	m := &stun.Message{Raw: b}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return nil
	}
	a, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IP(from.Addr().Unmap().AsSlice()), Port: int(from.Port())}, stun.Fingerprint)
	if err != nil {
		return nil
	}
	return a.Raw
}
`)},
}, {
	Case: "STD-2", Name: "consent-like-clockwork", Role: "camera", Control: "consent-by-stun", Declare: declareConsent,
	Summary: "a million cameras ask for consent every five seconds to the millisecond: those that began together stay together (RFC 7675 §5.1)",
	Reason:  `not randomized`,
	Edits:   consentChecks,
}, {
	Case: "STD-2", Name: "consent-every-two-seconds", Role: "camera", Control: "consent-by-stun", Declare: declareConsent,
	Summary: "it asks for consent every two seconds, as a widespread library does: for as long as somebody watches",
	Reason:  `4s are the least`,
	Edits:   consentChecks,
}, {
	Case: "STD-3", Name: "checks-without-a-cap", Role: "camera", Control: "checks-by-ice", Declare: declareICE,
	Summary: "it checks every candidate that it is offered: who offers two hundred addresses has it hammer them (RFC 8445 §19.5.1)",
	Reason:  `tried [12][0-9][0-9] pairs, and 100 may be`,
	Edits:   iceChecks,
}, {
	Case: "STD-3", Name: "checks-all-at-once", Role: "camera", Control: "checks-by-ice", Declare: declareICE,
	Summary: "at each tick it checks all pairs, as a widespread library does: NATs that map a few a millisecond lose them (RFC 8445 §14.2)",
	Reason:  `came less than 5ms after the one before`,
	Edits:   iceChecks,
}}

func declareConsent(d *certify.Declaration) { d.Features[certify.FeatureConsent] = true }

func declareICE(d *certify.Declaration) { d.Features[certify.FeatureICE] = true }

// consentChecks has the camera ask its viewers by STUN whether they consent still, beside what it does by itself. What they answer it
// does not look at.
var consentChecks = []mutants.Edit{in("camera/viewer.go",
	"	v.agent.Due(now, func(p punch.Probe) { v.probe(now, p) })\n	v.streamTimeout(now)\n",
	"	v.agent.Due(now, func(p punch.Probe) { v.probe(now, p) })\n	v.askByConsent(now, faulty(\"consent-by-stun\"), faulty(\"consent-like-clockwork\"), faulty(\"consent-every-two-seconds\"))\n	v.streamTimeout(now)\n"),
	consentDeadline, stunChecks}

// iceChecks has it check pairs of candidates when a viewer comes: those that the viewer has offered, and as many beside them as if it had
// offered two hundred.
var iceChecks = []mutants.Edit{in("camera/viewer.go",
	"	if core.Due(now, v.doubt()) {\n		v.doubtful(now)\n	}\n	v.agent.Due",
	"	if core.Due(now, v.doubt()) {\n		v.doubtful(now)\n	}\n	v.checkByICE(now, faulty(\"checks-by-ice\"), faulty(\"checks-without-a-cap\"), faulty(\"checks-all-at-once\"))\n	v.agent.Due"),
	consentDeadline, stunChecks}

var consentDeadline = in("camera/viewer.go",
	"	d = core.Earliest(d, v.agent.Deadline())\n	return core.Earliest(d, v.streamDeadline())\n",
	`	d = core.Earliest(d, v.agent.Deadline())
	if faulty("consent-by-stun") || faulty("consent-like-clockwork") || faulty("consent-every-two-seconds") ||
		faulty("checks-by-ice") || faulty("checks-without-a-cap") || faulty("checks-all-at-once") {
		d = core.Earliest(d, v.nextCheck())
	}
	return core.Earliest(d, v.streamDeadline())
`)

var stunChecks = added("camera/zz_stun_checks.go", `package camera

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
)

// theChecks are what viewers are asked.
var theChecks = map[*viewer]*byStun{}

type byStun struct {
	next  time.Time
	pairs []netip.AddrPort
	begun bool
}

func (v *viewer) byStun() *byStun {
	s := theChecks[v]
	if s == nil {
		for old := range theChecks {
			if old.gone {
				delete(theChecks, old)
			}
		}
		s = &byStun{}
		theChecks[v] = s
	}
	return s
}

// nextCheck is when one is due.
func (v *viewer) nextCheck() time.Time {
	if s := theChecks[v]; s != nil {
		return s.next
	}
	return time.Time{}
}

// sendCheck sends a binding request as ICE's are (RFC 8445 §7.2.2).
func (v *viewer) sendCheck(path punch.Path, to netip.AddrPort) {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername("theirs:ours"), stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x6e, 0, 1, 0xff}},
		stun.RawAttribute{Type: stun.AttrICEControlled, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, stun.NewShortTermIntegrity("a password of theirs"), stun.Fingerprint)
	if err == nil {
		v.cam.box.Send(path.Local, to, core.Keepalive, m.Raw)
	}
}

// askByConsent asks for consent on the way of the media.
func (v *viewer) askByConsent(now time.Time, right, fixed, fast bool) {
	if !(right || fixed || fast) || !v.confirmed || v.path.Route != punch.Direct {
		return
	}
	s := v.byStun()
	if !s.next.IsZero() && now.Before(s.next) {
		return
	}
	wait := 5 * time.Second
	switch {
	case right:
		wait = time.Duration((0.8 + 0.4*rand.Float64()) * float64(wait))
	case fast:
		wait = time.Duration((0.8 + 0.4*rand.Float64()) * float64(2*time.Second))
	}
	s.next = now.Add(wait)
	v.sendCheck(v.path, v.path.Addr)
}

// checkByICE checks a pair, or what else is due.
func (v *viewer) checkByICE(now time.Time, right, many, burst bool) {
	if !(right || many || burst) {
		return
	}
	s := v.byStun()
	if !s.begun {
		s.begun, s.next = true, now
		most := 100
		if many {
			most = 200
		}
		for n := 0; n < 200 && len(s.pairs) < most; n++ {
			for _, c := range v.candidates {
				if at := c.AddrPort.Addr(); at.Is4() && len(s.pairs) < most {
					b := at.As4()
					b[3] += byte(n)
					s.pairs = append(s.pairs, netip.AddrPortFrom(netip.AddrFrom4(b), c.AddrPort.Port()))
				}
			}
		}
	}
	for len(s.pairs) > 0 && !now.Before(s.next) {
		v.sendCheck(punch.Path{}, s.pairs[0])
		s.pairs = s.pairs[1:]
		if !burst || len(s.pairs)%50 == 0 {
			s.next = now.Add(20 * time.Millisecond)
		}
	}
	if len(s.pairs) == 0 {
		s.next = time.Time{}
	}
}
`)
