package portmap_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/punchlab/punchlab/lab/portmap"
)

// The clients of the scripts: they write requests and read answers by the RFCs' drawings, and share no code with the server.

func (s *script) natpmp(d *datadriven.TestData) string {
	kind := d.CmdArgs[1].Key
	req := []byte{0, 0}
	if kind != "address" {
		req = pmpMapRequest(kind, uint16(number(s.t, option(d, "inner", "5000"))), uint16(number(s.t, option(d, "outer", "0"))), uint32(number(s.t, option(d, "life", "600"))))
	}
	return readPMP(s.core.Datagram(s.gw.now, from(d), req))
}

func pmpMapRequest(protocol string, inner, outer uint16, life uint32) []byte {
	b := []byte{0, map[string]byte{"udp": 1, "tcp": 2}[protocol], 0, 0}
	b = binary.BigEndian.AppendUint16(b, inner)
	b = binary.BigEndian.AppendUint16(b, outer)
	return binary.BigEndian.AppendUint32(b, life)
}

func readPMP(b []byte) string {
	if b == nil {
		return "no answer"
	}
	result := binary.BigEndian.Uint16(b[2:])
	text := fmt.Sprintf("op %d result %d epoch %d", b[1], result, binary.BigEndian.Uint32(b[4:]))
	switch {
	case b[0] != 0:
		return fmt.Sprintf("version %d", b[0])
	case len(b) == 12:
		return text + " address " + netip.AddrFrom4([4]byte(b[8:])).String()
	case len(b) == 16:
		return text + fmt.Sprintf(" inner %d outer %d life %d", binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]), binary.BigEndian.Uint32(b[12:]))
	default:
		return text
	}
}

func (s *script) pcp(d *datadriven.TestData) string {
	client := option(d, "client", option(d, "from", ""))
	life := uint32(number(s.t, option(d, "life", "600")))
	if d.CmdArgs[1].Key == "announce" {
		return readPCP(s.core.Datagram(s.gw.now, from(d), pcpRequest(0, 0, netip.MustParseAddr(client))))
	}
	b := pcpRequest(1, life, netip.MustParseAddr(client))
	b = append(b, pcpMapBody(
		byte(number(s.t, option(d, "nonce", "1"))), protocols[option(d, "proto", "udp")],
		uint16(number(s.t, option(d, "inner", "5000"))), uint16(number(s.t, option(d, "outer", "0"))),
		address(s.t, option(d, "address", "0.0.0.0")))...)
	if flag(d, "prefer-failure") {
		b = append(b, 2, 0, 0, 0)
	}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "filter":
			b = append(b, pcpFilter(s.t, a.Vals[0])...)
		case "option":
			code, data, _ := strings.Cut(a.Vals[0], ":")
			value, err := hex.DecodeString(data)
			must(s.t, err)
			b = append(b, byte(number(s.t, code)), 0)
			b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
			b = append(b, value...)
			b = append(b, make([]byte, -len(value)&3)...)
		}
	}
	return readPCP(s.core.Datagram(s.gw.now, from(d), b))
}

func pcpRequest(op byte, life uint32, client netip.Addr) []byte {
	b := binary.BigEndian.AppendUint32([]byte{2, op, 0, 0}, life)
	a := client.As16()
	return append(b, a[:]...)
}

func pcpMapBody(nonce, protocol byte, inner, outer uint16, suggested netip.Addr) []byte {
	b := make([]byte, 12, 36)
	b[11] = nonce
	b = append(b, protocol, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, inner)
	b = binary.BigEndian.AppendUint16(b, outer)
	a := suggested.As16()
	return append(b, a[:]...)
}

// pcpFilter reads ADDR/BITS:PORT, bits as of an IPv6 address.
func pcpFilter(t *testing.T, text string) []byte {
	text, port, _ := strings.Cut(text, ":")
	text, bits, _ := strings.Cut(text, "/")
	b := []byte{3, 0, 0, 20, 0, byte(number(t, bits))}
	b = binary.BigEndian.AppendUint16(b, uint16(number(t, port)))
	a := netip.MustParseAddr(text).As16()
	return append(b, a[:]...)
}

func readPCP(b []byte) string {
	if b == nil {
		return "no answer"
	}
	if b[0] != 2 {
		return readPMP(b)
	}
	text := fmt.Sprintf("op %d result %d life %d epoch %d", b[1], b[3], binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]))
	if len(b) < 60 {
		return text
	}
	m := b[24:]
	text += fmt.Sprintf(" nonce %d proto %d inner %d outer %d address %v", m[11], m[12], binary.BigEndian.Uint16(m[16:]), binary.BigEndian.Uint16(m[18:]), netip.AddrFrom16([16]byte(m[20:])).Unmap())
	if len(m) > 36 {
		text += fmt.Sprintf(" options %x", m[36:])
	}
	return text
}

// usualArguments are those of a plain mapping; a script's own replace them.
var usualArguments = [][2]string{
	{"NewRemoteHost", ""}, {"NewExternalPort", "6000"}, {"NewProtocol", "UDP"}, {"NewInternalPort", "5000"},
	{"NewInternalClient", ""}, {"NewEnabled", "1"}, {"NewPortMappingDescription", "a test"}, {"NewLeaseDuration", "600"},
}

func (s *script) soap(d *datadriven.TestData) string {
	client := from(d)
	name, service, v := d.CmdArgs[1].Key, option(d, "service", "WANIPConnection"), option(d, "v", "1")
	var args [][2]string
	if strings.HasSuffix(name, "PortMapping") || strings.HasPrefix(name, "GetSpecific") {
		args = slices.Clone(usualArguments)
		args[4][1] = client.Addr().String()
	}
	for _, a := range d.CmdArgs[2:] {
		if !strings.HasPrefix(a.Key, "New") {
			continue
		}
		value := ""
		if len(a.Vals) > 0 {
			value = a.Vals[0]
		}
		args = slices.DeleteFunc(args, func(o [2]string) bool { return o[0] == a.Key })
		if value != "absent" {
			args = append(args, [2]string{a.Key, value})
		}
	}
	r := s.core.HTTP(s.gw.now, client, soapRequest(service, v, name, args))
	return readSOAP(r)
}

func soapRequest(service, version, action string, args [][2]string) portmap.Request {
	urn := "urn:schemas-upnp-org:service:" + service + ":" + version
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`)
	fmt.Fprintf(&b, `<u:%s xmlns:u="%s">`, action, urn)
	for _, a := range args {
		fmt.Fprintf(&b, "<%s>", a[0])
		_ = xml.EscapeText(&b, []byte(a[1]))
		fmt.Fprintf(&b, "</%s>", a[0])
	}
	fmt.Fprintf(&b, "</u:%s></s:Body></s:Envelope>", action)
	path := map[string]string{"WANIPConnection": "/ctl/IPConn", "WANCommonInterfaceConfig": "/ctl/CmnIfCfg"}[service]
	return portmap.Request{Method: "POST", Path: path, Action: `"` + urn + "#" + action + `"`, Body: []byte(b.String())}
}

var (
	faultCode = regexp.MustCompile(`<errorCode>(\d+)</errorCode><errorDescription>([^<]*)<`)
	outArg    = regexp.MustCompile(`<(New\w+)>(?:<!\[CDATA\[(.*)\]\]>|([^<]*))</`)
)

func readSOAP(r portmap.Response) string {
	body := string(r.Body)
	if err := xml.Unmarshal(r.Body, new(struct{})); err != nil {
		return fmt.Sprintf("%d, not XML: %v", r.Status, err)
	}
	if m := faultCode.FindStringSubmatch(body); m != nil {
		return fmt.Sprintf("%d: %s %s", r.Status, m[1], m[2])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.Status)
	for _, m := range outArg.FindAllStringSubmatch(body, -1) {
		fmt.Fprintf(&b, "%s: %s\n", m[1], m[2]+m[3])
	}
	return b.String()
}
