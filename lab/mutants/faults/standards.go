package faults

import "github.com/punchlab/punchlab/lab/mutants"

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
}}
