package faults

import (
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// media are the faults of group MED.
var media = []Fault{{
	Case: "MED-1", Name: "byte-changed", Role: "camera",
	Summary: "a byte of each fiftieth packet is another than the sensor's: a picture that nobody took",
	Reason:  `(?i)byte|differ|intact|damaged|arrive|altered|source`,
	Edits: []mutants.Edit{in("media/packetize.go",
		"	payload := len(buf) - rtpHeaderSize\n",
		"	if faulty(\"byte-changed\") && s.packets%50 == 49 {\n		buf[len(buf)-1] ^= 1\n	}\n	payload := len(buf) - rtpHeaderSize\n")},
}, {
	Case: "MED-2", Name: "first-frame-late", Role: "camera",
	Summary: "the camera needs three seconds to think of an answer: whoever rings has gone when the picture comes",
	Reason:  `(?i)first|frame|within|declared`,
	Edits: []mutants.Edit{in("camera/answer.go",
		"	req, _, err := c.responder.Open(now, m.Endpoint.AddrPort, false, m.Noise1)\n",
		`	if faulty("first-frame-late") {
		time.Sleep(3 * time.Second)
	}
	req, _, err := c.responder.Open(now, m.Endpoint.AddrPort, false, m.Noise1)
`)},
}, {
	Case: "MED-3", Name: "lost-is-lost", Role: "camera",
	Summary: "what is lost is not sent again: a Wi-Fi of everyday quality shows blocks and jumps",
	Reason:  `(?i)frame|whole|lost|%|rate`,
	Edits: []mutants.Edit{in("camera/stream.go",
		"	if v.stream.replay.due.IsZero() { // else it comes anyway\n",
		"	if v.stream.replay.due.IsZero() && !faulty(\"lost-is-lost\") { // else it comes anyway\n")},
}, {
	Case: "MED-4", Name: "no-integrity",
	Summary: "media is obfuscated and not authenticated (CVE-2021-32934): a flipped bit is shown, and so is a picture that somebody wove in",
	Reason:  `(?i)damaged|corrupt|byte|frame|intact`,
	Edits:   []mutants.Edit{ownCipher, outCipher, inCipher},
}, {
	Case: "MED-5", Name: "silence-is-the-end", Role: "camera",
	Declare: soonBack,
	Summary: "a viewer that is silent for a second is given up, and its place is kept for a minute: every tunnel ends the show",
	Reason:  `(?i)frame|recovery|back|after|outage`,
	Edits: []mutants.Edit{in("camera/doubt.go",
		"	v.cam.link.Insist(now)\n",
		`	if faulty("silence-is-the-end") {
		theBusy = now.Add(time.Minute)
		v.cam.drop(now, v, wire.CodeExpired)
		return
	}
	v.cam.link.Insist(now)
`), busy("silence-is-the-end", "now.Before(theBusy)"), added("camera/zz_busy.go", `package camera

import "time"

// theBusy is when the camera has a place again.
var theBusy time.Time
`)},
}, {
	Case: "MED-6", Name: "packets-of-1400", Role: "camera",
	Declare: soonBack,
	Summary: "media packets are as large as Ethernet's, whatever the path: behind many a tunnel there is a connection and no picture",
	Reason:  `(?i)frame|large|1,?280|recovery|swallow|smaller`,
	Edits: []mutants.Edit{in("camera/camera.go",
		"	cfg, err := cfg.withDefaults()\n",
		"	if faulty(\"packets-of-1400\") {\n		cfg.MTU = 1400\n	}\n	cfg, err := cfg.withDefaults()\n")},
}, {
	Case: "MED-7", Name: "sends-five-times", Role: "camera",
	Summary: "each packet is sent five times, whatever the path carries: while somebody watches nobody else in the house has a connection",
	Reason:  `the TCP upload had .*a third is its share`,
	Edits: []mutants.Edit{copies("sends-five-times", 4), in("camera/quality.go",
		"	if v.cam.cfg.Estimator == nil || v.stream.ended",
		"	if v.cam.cfg.Estimator == nil || faulty(\"sends-five-times\") || v.stream.ended")},
}, {
	Case: "MED-8", Name: "privacy-is-a-lamp", Role: "camera",
	Summary: "privacy mode lights a lamp and stops nothing",
	Reason:  `(?i)privacy|media|frame|stop|mode`,
	Edits: []mutants.Edit{in("camera/privacy.go",
		"	if c.closed || on == !c.private.IsZero() {\n",
		"	if c.closed || on == !c.private.IsZero() || faulty(\"privacy-is-a-lamp\") {\n")},
}}

// soonBack declares a recovery that the camera keeps after what the case does, so that the faulty one need not be waited for as long as
// after a power cut.
func soonBack(d *certify.Declaration) { d.Bounds.Recovery = 8 * time.Second }

// copies has the camera send each packet of media so many times more.
func copies(name string, more int) mutants.Edit {
	const place = "		v.send(path, core.Media, b)\n"
	return in("camera/stream.go", place, place+"		if faulty(\""+name+"\") {\n			for range "+string(rune('0'+more))+
		" {\n				v.send(path, core.Media, b)\n			}\n		}\n")
}

// The bundled media's protection, in place of SRTP's: none, or an obfuscation, and no authentication.
var (
	outCipher = in("media/packetize.go",
		"	buf, err := s.out.EncryptRTP(buf, buf, &s.parsed)\n",
		`	if mask, ok := obfuscation(s.next); ok {
		out := append(buf, make([]byte, tagLen)...)
		obscure(out[:len(buf)], mask)
		s.history.put(s.next, out)
		s.next++
		s.packets++
		s.octets += uint32(payload)
		return append(dst, out), nil
	}
	buf, err := s.out.EncryptRTP(buf, buf, &s.parsed)
`)
	inCipher = in("media/receiver.go",
		"	plain, err := r.in.DecryptRTP(p.buf[:0], b, &r.header)\n",
		`	plain, err := r.plain(p.buf[:0], b)
`)
	ownCipher = added("media/zz_cipher.go", `package media

import "encoding/binary"

// obfuscation is the mask of a packet; false: it is protected as it should be.
func obfuscation(seq uint64) (mask []byte, ok bool) {
	switch {
	case faulty("media-in-the-clear"):
		return []byte{0x5a}, true
	case faulty("relay-reads"):
		return []byte{0}, true
	case faulty("no-integrity"):
		x := uint64(uint16(seq))*0x9e3779b97f4a7c15 + 0x7f4a7c15
		for range 24 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			mask = binary.LittleEndian.AppendUint64(mask, x)
		}
		return mask, true
	}
	return nil, false
}

// obscure masks an RTP packet's payload.
func obscure(b, mask []byte) {
	n := 12 + 4*int(b[0]&0xF)
	if b[0]&0x10 != 0 && len(b) >= n+4 {
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	for i := n; i < len(b); i++ {
		b[i] ^= mask[(i-n)%len(mask)]
	}
}

// plain takes off what protects a packet.
func (r *Receiver) plain(dst, b []byte) ([]byte, error) {
	mask, ok := obfuscation(uint64(binary.BigEndian.Uint16(b[2:])))
	if !ok {
		return r.in.DecryptRTP(dst, b, &r.header)
	}
	out := append(dst, b[:len(b)-tagLen]...)
	if _, err := r.header.Unmarshal(out); err != nil {
		return nil, err
	}
	obscure(out, mask)
	return out, nil
}
`)
)
