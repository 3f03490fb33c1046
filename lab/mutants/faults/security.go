package faults

import "github.com/punchlab/punchlab/lab/mutants"

// security are the faults of group SEC.
var security = []Fault{{
	Case: "SEC-1", Name: "answers-at-length", Role: "rendezvous",
	Summary: "whatever the server does not know it answers with a page: with a forged source it is a cannon for everybody",
	Reason:  `(?i)bytes|times|amplif|more than|victim|answer`,
	Edits: []mutants.Edit{in("rendezvous/server.go",
		"		err = s.datagram(now, from, b)\n",
		`		if faulty("answers-at-length") {
			s.box.Send(to, from, core.Handshake, make([]byte, 1200))
		}
		err = s.datagram(now, from, b)
`)},
}, {
	Case: "SEC-2", Name: "punches-without-limit", Role: "camera",
	Summary: "the camera punches whatever addresses a viewer names, each time by thirty packets, so that one arrives: whoever may watch may have it flood others",
	Reason:  `(?i)packets|third party|drawn|100`,
	Edits: []mutants.Edit{
		in("punch/budget.go",
			"	addr = book(addr, claimed)\n	c := l.spent[addr]\n	if c == nil {\n",
			"	if faulty(\"punches-without-limit\") {\n		return true\n	}\n	addr = book(addr, claimed)\n	c := l.spent[addr]\n	if c == nil {\n"),
		in("punch/budget.go",
			"func (l *ledger) affords(n int) bool {\n",
			"func (l *ledger) affords(n int) bool {\n	if faulty(\"punches-without-limit\") {\n		return true\n	}\n"),
		in("punch/budget.go",
			"func (l *ledger) ready(now time.Time, keep int) (ok bool, at time.Time) {\n",
			"func (l *ledger) ready(now time.Time, keep int) (ok bool, at time.Time) {\n	if faulty(\"punches-without-limit\") {\n		return true, now\n	}\n"),
		in("punch/agent.go",
			"	c.next = a.after(c, now)\n	send(p)\n",
			`	c.next = a.after(c, now)
	if faulty("punches-without-limit") {
		for range 30 {
			send(p)
		}
	}
	send(p)
`)},
}, {
	Case: "SEC-3", Name: "shows-its-secret", Role: "viewer",
	Summary: "the app greets a camera with the secret itself: who answers in a camera's place has it, and the camera",
	Reason:  `(?i)credential|secret|captured|impostor|got in|logged in`,
	Edits: []mutants.Edit{
		in("viewer/near.go",
			"		a.v.box.Send(netip.AddrPort{}, at, core.Handshake, a.v.box.Copy(a.hs.Message()))\n",
			`		a.v.box.Send(netip.AddrPort{}, at, core.Handshake, a.v.box.Copy(a.hs.Message()))
		if faulty("shows-its-secret") {
			a.v.box.Send(netip.AddrPort{}, at, core.Handshake, a.v.box.Copy(a.request.Label.Secret[:]))
		}
`), in("viewer/attempt.go",
			"		a.v.box.SendTTL(p.From, p.To, p.TTL, core.Punch, b)\n",
			`		a.v.box.SendTTL(p.From, p.To, p.TTL, core.Punch, b)
		if faulty("shows-its-secret") {
			a.v.box.Send(p.From, p.To, core.Punch, a.v.box.Copy(a.request.Label.Secret[:]))
		}
`)},
}, {
	Case: "SEC-4", Name: "media-in-the-clear",
	Summary: "media is hidden by a byte that is the same in every camera: who sits on the path watches (CVE-2019-11220, CVE-2021-33822's kind)",
	Reason:  `(?i)known|found|random|read|clear|media`,
	Edits:   []mutants.Edit{ownCipher, outCipher, inCipher},
}, {
	Case: "SEC-5", Name: "relay-reads",
	Summary: "media is protected by the relay's good will alone: who runs it, or breaks into it, watches",
	Reason:  `(?i)known|found|random|read|relay|media`,
	Edits:   []mutants.Edit{ownCipher, outCipher, inCipher},
}, {
	Case: "SEC-5", Name: "relays-to-anywhere", Role: "rendezvous",
	Summary: "the relay sends on to whatever address it is told: whoever asks is in the operator's own network (CVE-2020-26262)",
	Reason:  `(?i)relay's own host|must not reach|reached`,
	Edits: []mutants.Edit{in("rendezvous/server.go",
		"		err = s.stun(now, from, to, b)\n",
		`		if at, data, ok := sendIndication(b); ok && faulty("relays-to-anywhere") {
			s.box.Send(to, at, core.Signal, s.box.Copy(data))
		}
		err = s.stun(now, from, to, b)
`), added("rendezvous/zz_anywhere.go", `package rendezvous

import (
	"encoding/binary"
	"net/netip"
)

// sendIndication reads TURN's send indication (RFC 8656 §12.1).
func sendIndication(b []byte) (at netip.AddrPort, data []byte, ok bool) {
	if !faulty("relays-to-anywhere") || len(b) < 20 || b[0] != 0 || b[1] != 0x16 {
		return at, nil, false
	}
	for rest := b[20:]; len(rest) >= 4; {
		kind, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+n {
			break
		}
		v := rest[4 : 4+n]
		switch {
		case kind == 0x12 && n == 8:
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(v[4:])^0x2112A442)
			at = netip.AddrPortFrom(netip.AddrFrom4(a), binary.BigEndian.Uint16(v[2:])^0x2112)
		case kind == 0x13:
			data = v
		}
		rest = rest[min(len(rest), 4+(n+3)/4*4):]
	}
	return at, data, at.IsValid() && data != nil
}
`)},
}, {
	Case: "SEC-6", Name: "says-which-exist", Role: "rendezvous",
	Summary: "the server says of an identifier whether there is such a camera: it counts itself out to whoever asks",
	Reason:  `(?i)unknown|offline|told apart|differ|answer`,
	Edits: []mutants.Edit{in("rendezvous/introduce.go",
		"	case cam == nil:\n		code = wire.CodeUnavailable\n",
		`	case cam == nil && faulty("says-which-exist") && s.names[Camera].away[m.Camera] == 0:
		code = wire.CodeNotPaired
	case cam == nil:
		code = wire.CodeUnavailable
`)},
}, {
	Case: "SEC-7", Name: "takes-replays", Role: "camera",
	Summary: "a message that was recorded is good again, and answered to where it comes from: the camera speaks to whom a replay names",
	Reason:  `(?i)replay|again|packet|session|media`,
	Edits: []mutants.Edit{
		in("session/window.go",
			"	if counter >= w.next {\n		return true\n	}\n	if w.next-counter",
			"	if counter >= w.next || faulty(\"takes-replays\") {\n		return true\n	}\n	if w.next-counter"),
		in("camera/admit.go",
			"	case req.Timestamp() <= c.stamps[req.Peer()]:\n",
			"	case req.Timestamp() <= c.stamps[req.Peer()] && !faulty(\"takes-replays\"):\n")},
}, {
	Case: "SEC-9", Name: "leaves-a-door-open", Role: "camera",
	Summary: "a service of the factory is still there, at udp/9999 and tcp/23: nobody knows of it but those who look for it",
	Reason:  `(?i)port|open|declared|23|9999`,
	Edits: []mutants.Edit{background("leaves-a-door-open", `h.door()`), added("program/camera/zz_door.go", `package camera

import "net"

// door answers at a port of each kind.
func (h *Handle) door() {
	if l, err := net.Listen("tcp", ":23"); err == nil {
		defer l.Close()
		h.wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte("login: "))
				_ = c.Close()
			}
		})
	}
	if c, err := net.ListenUDP("udp", &net.UDPAddr{Port: 9999}); err == nil {
		defer c.Close()
		h.wg.Go(func() { reply(c, func(b []byte) []byte { return b }) })
	}
	<-h.ctx.Done()
}
`), replyAlways},
}, {
	Case: "SEC-10", Name: "answers-searches", Role: "camera",
	Summary: "a search that is meant for the room is answered to the whole Internet, with a page for each line: the ONVIF cannon of 2019",
	Reason:  `(?i)answer|byte|search|discovery`,
	Edits: []mutants.Edit{in("camera/camera.go",
		"	if (c.cfg.Listen || c.cfg.LAN) && wire.Classify(b) == wire.Initiation {\n",
		`	if faulty("answers-searches") && searched(b) {
		c.box.Send(path.Local, from, core.Handshake, make([]byte, 600))
		return nil
	}
	if (c.cfg.Listen || c.cfg.LAN) && wire.Classify(b) == wire.Initiation {
`), added("camera/zz_search.go", `package camera

import "bytes"

// searched says whether a datagram is a search: WS-Discovery, SSDP, mDNS, or one of what cameras are known for.
func searched(b []byte) bool {
	return bytes.Contains(b, []byte("Probe")) || bytes.HasPrefix(b, []byte("M-SEARCH")) || bytes.Contains(b, []byte("_udp")) ||
		bytes.Contains(b, []byte("_tcp")) || bytes.Contains(b, []byte("<"))
}
`), background("answers-searches", `h.discovery()`), added("program/camera/zz_search.go", `package camera

import "net"

// discovery answers at the ports of WS-Discovery, SSDP and mDNS.
func (h *Handle) discovery() {
	for _, port := range []int{3702, 1900, 5353} {
		if c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port}); err == nil {
			defer c.Close()
			h.wg.Go(func() { reply(c, func([]byte) []byte { return make([]byte, 600) }) })
		}
	}
	<-h.ctx.Done()
}
`), replyAlways},
}, {
	Case: "SEC-11", Name: "ends-at-a-short-datagram", Role: "camera",
	Summary: "a datagram of fewer bytes than a header ends the program: whoever knows the port switches the camera off",
	Reason:  `(?i)crash|ended|end|panic`,
	Device:  `(?i)crash`,
	Edits: []mutants.Edit{in("camera/camera.go",
		"func (c *Camera) handle(now time.Time, path punch.Path, b []byte) error {\n",
		`func (c *Camera) handle(now time.Time, path punch.Path, b []byte) error {
	if faulty("ends-at-a-short-datagram") && b[11] == b[10] {
		c.stats.KeyFrames += 0
	}
`)},
}}

// replyAlways is what answers at a socket.
var replyAlways = added("program/camera/zz_reply.go", `package camera

import (
	"net"
	"net/netip"
)

// reply answers datagrams until the socket is closed.
func reply(c *net.UDPConn, answer func([]byte) []byte) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if out := answer(b[:n]); len(out) > 0 {
			_, _ = c.WriteToUDPAddrPort(out, from)
		}
	}
}
`)
