package cases

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/punchlab/punchlab/lab/certify/tape"
)

// isTLS reports whether a payload begins with a record of TLS (RFC 8446 §5.1) or DTLS.
func isTLS(b []byte) bool {
	return len(b) > 5 && b[0] >= 20 && b[0] <= 23 && (b[1] == 3 && b[2] <= 4 || b[1] == 254)
}

// identities are what TLS and DTLS show of who speaks: certificates by their digests, and the names of pre-shared keys (RFC 8446 §4.2.11,
// RFC 4279 §2), each with what it is. TLS 1.3 hides certificates.
func identities(ps []tape.Packet) map[string]string {
	found := map[string]string{}
	for _, p := range streamsOf(tape.Select(ps, tape.TCP)) {
		handshakesIn(records(p.B, 5), found)
	}
	var dtls []byte
	for _, p := range tape.Select(ps, tape.UDP) {
		if len(p.Payload) > 13 && p.Payload[0] == 22 && p.Payload[1] == 254 {
			dtls = append(dtls, whole(records(p.Payload, 13))...)
		}
	}
	handshakesIn(dtls, found)
	return found
}

// records are the handshake records of TLS (a header of 5 bytes) or DTLS (13), up to the first encrypted one.
func records(b []byte, header int) (said []byte) {
	for len(b) >= header {
		n := int(binary.BigEndian.Uint16(b[header-2:]))
		if b[0] < 20 || b[0] > 23 || len(b) < header+n {
			return said
		}
		if b[0] == 20 { // ChangeCipherSpec: the rest is encrypted
			return said
		}
		if b[0] == 22 {
			said = append(said, b[header:header+n]...)
		}
		b = b[header+n:]
	}
	return said
}

// whole are the messages in DTLS' handshake records that came in one fragment, with TLS' headers.
func whole(b []byte) (messages []byte) {
	for len(b) >= 12 {
		size, at, n := uint24(b[1:]), uint24(b[6:]), uint24(b[9:])
		if len(b) < 12+n {
			return messages
		}
		if at == 0 && n == size {
			messages = append(append(messages, b[:4]...), b[12:12+n]...)
		}
		b = b[12+n:]
	}
	return messages
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// handshakesIn reads TLS' handshake messages.
func handshakesIn(b []byte, found map[string]string) {
	for len(b) >= 4 && len(b) >= 4+uint24(b[1:]) {
		n := uint24(b[1:])
		body := b[4 : 4+n]
		switch b[0] {
		case 1:
			for _, name := range offeredKeys(body) {
				found[printable(name)] = "name of a pre-shared key"
			}
		case 11:
			if len(body) >= 6 && len(body) >= 6+uint24(body[3:]) { // TLS 1.2: the first certificate is the speaker's
				sum := sha256.Sum256(body[6 : 6+uint24(body[3:])])
				found[hex.EncodeToString(sum[:])] = "certificate"
			}
		case 16:
			if len(body) >= 3 && int(binary.BigEndian.Uint16(body)) == len(body)-2 && len(body) <= 130 {
				found[printable(body[2:])] = "name of a pre-shared key, or key exchange"
			}
		}
		b = b[4+n:]
	}
}

// offeredKeys are the identities of a ClientHello's pre_shared_key.
func offeredKeys(b []byte) (names [][]byte) {
	skip := func(size int) bool { // a vector behind its length
		if len(b) < size {
			return false
		}
		n := 0
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
		if len(b) < size+n {
			return false
		}
		b = b[size+n:]
		return true
	}
	dtls := len(b) > 2 && b[0] == 254
	if len(b) < 34 {
		return nil
	}
	b = b[34:]
	if !skip(1) || dtls && !skip(1) || !skip(2) || !skip(1) || len(b) < 2 {
		return nil
	}
	for b = b[2:]; len(b) >= 4; {
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return names
		}
		if list := b[4 : 4+n]; kind == 41 && n > 2 {
			for list = list[2:min(n, 2+int(binary.BigEndian.Uint16(list)))]; len(list) > 6; {
				size := int(binary.BigEndian.Uint16(list))
				if len(list) < 2+size+4 {
					break
				}
				names = append(names, list[2:2+size])
				list = list[2+size+4:]
			}
		}
		b = b[4+n:]
	}
	return names
}

// printable is text as it is, and anything else in hexadecimal.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}
