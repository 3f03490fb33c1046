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
}}
