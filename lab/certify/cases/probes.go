package cases

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// probe is a datagram that is answered by what listens at a port: a search, a question, or the first packet of a protocol.
type probe struct {
	name string
	port uint16 // its protocol's
	b    []byte
}

// searches are how devices are looked for: WS-Discovery, SSDP and mDNS, and what cameras of several makers answer. Each has been
// abused for reflection, or to count cameras.
func searches() []probe {
	return []probe{
		{"WS-Discovery", 3702, []byte(wsDiscovery)},
		{"SSDP", 1900, []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n")},
		{"mDNS", 5353, dnsQuestion("_services._dns-sd._udp.local", 12, 0x8001)}, // PTR, to be answered to who asks (RFC 6762 §5.4)
		{"PPPP (CS2, Yunni) LAN search", 32108, []byte{0xf1, 0x30, 0, 0}},
		{"PPPP extended LAN search", 32108, []byte{0xf1, 0x32, 0, 0}},
		{"Dahua DHIP", 37810, dhip(`{"method":"DHDiscover.search","params":{"mac":"","uni":1}}`)},
		{"Hikvision SADP", 37020, []byte(`<?xml version="1.0" encoding="utf-8"?><Probe><Uuid>13A888A9-F1B1-4020-AE9F-05607682D23B</Uuid>` +
			`<Types>inquiry</Types></Probe>`)},
		{"XMEye (DVRIP)", 34569, append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfa, 5}, 0, 0, 0, 0)},
		{"Foscam", 10000, append([]byte("MO_I"), make([]byte, 19)...)},
		{"TP-Link Kasa", 9999, autokey(`{"system":{"get_sysinfo":{}}}`)},
		{"TP-Link Tapo", 20002, []byte{2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x46, 0x3c, 0xb5, 0xd3}},
		{"Ubiquiti", 10001, []byte{1, 0, 0, 0}},
		{"GigE Vision", 3956, []byte{0x42, 0x11, 0, 2, 0, 0, 0, 1}},
	}
}

// questions are the first packets of other protocols that a camera may speak by UDP.
func questions() []probe {
	ntp := append([]byte{0x23}, make([]byte, 47)...)
	return []probe{
		{"DNS", 53, dnsQuestion("version.bind", 16, 3)},
		{"TFTP", 69, []byte("\x00\x01config\x00octet\x00")},
		{"portmap", 111, append([]byte{0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0x86, 0xa0, 0, 0, 0, 2, 0, 0, 0, 4}, make([]byte, 16)...)},
		{"NTP", 123, ntp},
		{"NTP monlist", 123, append([]byte{0x17, 0, 3, 0x2a}, make([]byte, 4)...)},
		{"NetBIOS", 137, []byte("\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00 CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01")},
		{"SNMP", 161, []byte("0&\x02\x01\x01\x04\x06public" +
			"\xa0\x19\x02\x04\x12\x34\x56\x78\x02\x01\x00\x02\x01\x000\x0b0\x09\x06\x05+\x06\x01\x02\x01\x05\x00")},
		{"RTSP", 554, []byte("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")},
		{"STUN", 3478, []byte("\x00\x01\x00\x00\x21\x12\xa4\x42punchlabscan")},
		{"SIP", 5060, []byte("OPTIONS sip:camera SIP/2.0\r\nVia: SIP/2.0/UDP scan;branch=z9hG4bK1\r\nFrom: <sip:s@scan>;tag=1\r\nTo: <sip:camera>\r\n" +
			"Call-ID: 1@scan\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")},
		{"CoAP", 5683, []byte("\x40\x01\x00\x01\xbb.well-known\x04core")},
		{"lines", 0, []byte("\r\n\r\n")},
	}
}

// probes are all of both.
func probes() []probe { return append(searches(), questions()...) }

// cameraPorts are where cameras are known to listen, by TCP or UDP, beside the probes' ports.
var cameraPorts = []uint16{
	21, 22, 23, 80, 81, 88, 443, 554, 1935, 2323, 3478, 4477, 4478, 5000, 5683, 6000, 6666, 6667, 7070, 7681, 8000, 8080, 8081, 8089, 8090,
	8200, 8443, 8554, 8600, 8800, 8888, 8899, 9000, 9001, 9527, 9530, 9898, 9999, 10080, 10554, 15000, 18004, 20000, 23456, 32100, 34567, 34568,
	37215, 37777, 37778, 49152, 50000, 55443, 60001, 65000, 65535,
}

const wsDiscovery = `<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" ` +
	`xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" ` +
	`xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header><w:MessageID>uuid:84ede3de-7dec-11d0-c360-f01234567890</w:MessageID>` +
	`<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To><w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action>` +
	`</e:Header><e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>`

// dnsQuestion asks a name server (RFC 1035 §4.1).
func dnsQuestion(name string, kind, class uint16) []byte {
	b := []byte{0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, kind), class)
}

// dhip frames a message as Dahua's cameras do.
func dhip(text string) []byte {
	b := append([]byte{0x20, 0, 0, 0}, "DHIP"...)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(text)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(text)))
	return append(b, text...)
}

// autokey is what TP-Link's devices hide their messages by.
func autokey(text string) []byte {
	b, key := make([]byte, len(text)), byte(171)
	for i := range b {
		b[i] = text[i] ^ key
		key = b[i]
	}
	return b
}

// String names a probe and its protocol's port.
func (p probe) String() string { return fmt.Sprintf("%s (udp/%d)", p.name, p.port) }
