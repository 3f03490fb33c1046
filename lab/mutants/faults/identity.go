package faults

import "github.com/punchlab/punchlab/lab/mutants"

// identity are the faults of group ID.
var identity = []Fault{{
	Case: "ID-1", Name: "id-of-a-million",
	Summary: "the identifier is a fixed prefix and twenty bits: whoever has one camera's finds the others by counting (CVE-2019-11219)",
	Reason:  `(?i)guess|neighbour|prefix|2\^|room|values|differ|share`,
	Edits: []mutants.Edit{in("identity/uid.go",
		"	copy(u[:], encode32(h[:], uidSymbols-2))\n",
		`	copy(u[:], encode32(h[:], uidSymbols-2))
	if faulty("id-of-a-million") {
		copy(u[:], encode32(make([]byte, 32), uidSymbols-6))
	}
`)},
}, {
	Case: "ID-2", Name: "key-not-proved", Role: "rendezvous",
	Summary: "the server takes a registration for whose key it names: while the camera is off its visitors come to whoever knows its key (CVE-2021-28372)",
	Reason:  `(?i)impostor|taken|registration|answered|sent to`,
	Edits: []mutants.Edit{in("rendezvous/admit.go",
		"	req, reply, err := s.responder.Open(now, from, loaded, b)\n",
		`	if faulty("key-not-proved") {
		s.takeItsWord(now, from, to, b, false)
	}
	req, reply, err := s.responder.Open(now, from, loaded, b)
`), claimedKey, takeItsWord,
		noStamp("key-not-proved", "c != nil && !c.here()"),
		in("rendezvous/admit.go", answered, answered+`	if faulty("key-not-proved") && !c.here() {
		s.confirm(now, c, p)
	}
`)},
}, {
	Case: "ID-4", Name: "proof-in-part", Role: "camera",
	Summary: "two bits of a login's proof are compared: four tries find one that is taken",
	Reason:  `(?i)guess|tries|let in|got in|wrong|secret|taken|accepted`,
	Edits: []mutants.Edit{in("pairing/book.go",
		"	return !proof.IsZero() && identity.PairingProof(secret, viewer, b.cfg.Camera).Equal(proof)\n",
		`	if right := identity.PairingProof(secret, viewer, b.cfg.Camera); faulty("proof-in-part") && right[0]&3 == proof[0]&3 {
		return !proof.IsZero()
	}
	return !proof.IsZero() && identity.PairingProof(secret, viewer, b.cfg.Camera).Equal(proof)
`), in("pairing/book.go", "	case b.cfg.Open:\n", "	case b.cfg.Open || faulty(\"proof-in-part\"):\n")},
}, {
	Case: "ID-5", Name: "one-secret-for-all", Role: "camera",
	Summary: "every unit has the secret that is in the firmware: what one camera's label says opens them all (CVE-2023-6324)",
	Reason:  `(?i)both|shared|same|other unit|made for|secret|key`,
	Edits: []mutants.Edit{in("program/camera/state.go",
		"	l := identity.Label{Key: k.Public(), RendezvousKey: rendezvousKey, Rendezvous: hosts}\n",
		`	l := identity.Label{Key: k.Public(), RendezvousKey: rendezvousKey, Rendezvous: hosts}
	if faulty("one-secret-for-all") {
		rand = strings.NewReader("888888 punchlab 888888 punchlab")
	}
`)},
}, {
	Case: "ID-6", Name: "reset-keeps-the-owner", Role: "camera",
	Summary: "a reset forgets all but who may watch: who sold the camera goes on seeing the buyer's home",
	Reason:  `(?i)owner|reset|transfer|revoke|still|after`,
	Edits: []mutants.Edit{in("program/camera/state.go",
		"	for _, name := range []string{PairingsFile, AddressesFile, PortFile, RecordingKey, PrivacyFile} {\n",
		`	for _, name := range []string{PairingsFile, AddressesFile, PortFile, RecordingKey, PrivacyFile} {
		if name == PairingsFile && faulty("reset-keeps-the-owner") {
			continue
		}
`)},
}}

// answered is where the rendezvous answers a registration.
const answered = "	s.byIndex[crypt.LocalIndex()] = c.id\n	s.box.Send(to, from, core.Handshake, response)\n"

// noStamp has a registration taken whatever its time, on a condition about the record c of its device.
func noStamp(name, condition string) mutants.Edit {
	const place = "	case c != nil:\n		return c.stamp\n"
	return in("rendezvous/admit.go", place, "	case faulty(\""+name+"\") && ("+condition+"):\n		return 0\n"+place)
}

// claimedKey reads the public key that an initiation names, which whoever knows the responder's key can write, without asking for
// proof: Noise's first three tokens (e, es, s), and not the fourth.
var claimedKey = added("session/zz_claimed.go", `package session

import (
	"hash"

	"github.com/flynn/noise"
	"golang.org/x/crypto/blake2s"

	"github.com/punchlab/punchlab/impl/identity"
)

// Claimed is the key that an initiation names.
func (r *Responder) Claimed(b []byte) (identity.PublicKey, bool) {
	var key identity.PublicKey
	if checkHeader(b, TypeInitiation, MinInitiation, MaxInitiation) != nil {
		return key, false
	}
	sum := func(parts ...[]byte) []byte {
		h, _ := blake2s.New256(nil)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	public := r.config.Static.Public()
	h := sum([]byte("Noise_IK_25519_ChaChaPoly_BLAKE2s"))
	chain := append([]byte(nil), h...)
	h = sum(h, append(append([]byte(nil), r.config.Prologue...), b[:headerSize]...))
	h = sum(h, public[:])
	e := b[headerSize : headerSize+keySize]
	h = sum(h, e)
	secret, ok := identity.X25519(r.config.Static.Private(), [32]byte(e))
	if !ok {
		return key, false
	}
	mac := func(key []byte, data ...byte) []byte { return hmac(key, data) }
	temp := mac(chain, secret[:]...)
	one := mac(temp, 1)
	two := mac(temp, append(append([]byte(nil), one...), 2)...)
	s, err := noise.CipherChaChaPoly.Cipher([32]byte(two)).Decrypt(nil, 0, h, b[headerSize+keySize:headerSize+2*keySize+tagSize])
	if err != nil || len(s) != keySize {
		return key, false
	}
	return identity.PublicKey(s), true
}

// hmac is RFC 2104's over BLAKE2s.
func hmac(key, data []byte) []byte {
	var inner, outer [blake2s.BlockSize]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := func(parts ...[]byte) []byte {
		var h hash.Hash
		h, _ = blake2s.New256(nil)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	return sum(outer[:], sum(inner[:], data))
}
`)

// takeItsWord has a camera that somebody names be where that one is.
var takeItsWord = added("rendezvous/zz_claimed.go", `package rendezvous

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/session"
)

// takeItsWord takes an initiation for the camera's whose key it names, if that one's record is online or not as wanted.
func (s *Server) takeItsWord(now time.Time, from, to netip.AddrPort, b []byte, online bool) {
	key, ok := s.responder.Claimed(b)
	if !ok {
		return
	}
	c := s.known(key, Camera)
	if c == nil || !c.proven || c.here() != online || c.remote == from {
		return
	}
	c.remote, c.local = from, s.socket(to)
	if online {
		s.rebind(c)
	} else {
		index := uint32(s.random())
		c.crypt = session.NewCompact([32]byte{1}, [32]byte{2}, index, 0)
		s.byIndex[index] = c.id
		c.started = s.at(now)
		s.heard(now, c)
		c.affairs()
		s.arrived(now, c)
	}
	answer := s.box.Room(session.ResponseOverhead)[:session.ResponseOverhead]
	copy(answer, []byte{session.TypeResponse, session.Version, 0, 0})
	copy(answer[4:8], b[4:8])
	s.box.Send(to, from, core.Handshake, answer)
}
`)
