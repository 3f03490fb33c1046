package portmap_test

import (
	"encoding/binary"
	"encoding/xml"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/portmap"
)

var (
	host     = netip.MustParseAddrPort("192.168.1.2:40000")
	stranger = netip.MustParseAddrPort("203.0.113.9:40000")
)

// fuzzed is a core with a mapping of another host, so that there is something to break.
func fuzzed(t *testing.T) (*portmap.Core, *fakeGateway) {
	gw := &fakeGateway{external: external}
	c, err := portmap.NewCore(gw.router(), preset(t, "all"), 0)
	must(t, err)
	other := netip.MustParseAddrPort("192.168.1.3:5000")
	c.Datagram(0, other, pmpMapRequest("udp", 5000, 5000, 3600))
	return c, gw
}

// intact holds after any request of host's: one is counted, the other host keeps its mapping, and what is mapped is host's.
func intact(t *testing.T, c *portmap.Core, gw *fakeGateway, before uint64) {
	t.Helper()
	var sum uint64
	for _, n := range c.Counts() {
		sum += n
	}
	if sum != before+1 {
		t.Errorf("%d requests were counted, want %d", sum, before+1)
	}
	maps, err := gw.PortMaps()
	must(t, err)
	kept := false
	for _, m := range maps {
		switch {
		case m.Internal == netip.MustParseAddrPort("192.168.1.3:5000") && m.External == 5000:
			kept = true
		case m.Internal.Addr() != host.Addr() || m.Internal.Port() == 0 || m.Protocol != 6 && m.Protocol != 17:
			t.Errorf("a request of %v mapped %+v", host.Addr(), m)
		}
	}
	if !kept {
		t.Errorf("another host's mapping is gone: %+v", maps)
	}
}

// foreign demands that from outside the same bytes change nothing and get no answer.
func foreign(t *testing.T, ask func(*portmap.Core, netip.AddrPort) bool) {
	t.Helper()
	c, gw := fuzzed(t)
	before := snapshot(gw)
	if ask(c, stranger) {
		t.Error("a stranger was answered")
	}
	if d := cmp.Diff(before, snapshot(gw), cmp.Comparer(func(a, b nat.PortMap) bool { return a == b })); d != "" {
		t.Errorf("a stranger changed the mappings:\n%s", d)
	}
}

func snapshot(gw *fakeGateway) []nat.PortMap {
	maps, _ := gw.PortMaps()
	return maps
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add(pmpMapRequest("udp", 5000, 5000, 60))
	f.Add(pmpMapRequest("tcp", 0, 0, 0))
	f.Add(append(pcpRequest(1, 600, host.Addr()), pcpMapBody(1, 17, 5000, 5000, external)...))
	f.Add(append(append(pcpRequest(1, 600, host.Addr()), pcpMapBody(1, 6, 5000, 0, external)...), 2, 0, 0, 0, 3, 0, 0, 20))
	f.Add(pcpRequest(0, 0, host.Addr()))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, gw := fuzzed(t)
		request := append([]byte(nil), b...)
		answer := c.Datagram(time.Second, host, b)
		if string(request) != string(b) {
			t.Error("the request was written to")
		}
		intact(t, c, gw, 1)
		if answer != nil {
			checkAnswer(t, b, answer)
		}
		foreign(t, func(c *portmap.Core, from netip.AddrPort) bool { return c.Datagram(0, from, b) != nil })
	})
}

// checkAnswer holds for every answer on port 5351.
func checkAnswer(t *testing.T, req, answer []byte) {
	t.Helper()
	if answer[1] != req[1]|0x80 {
		t.Errorf("request with opcode %d was answered with %d", req[1], answer[1])
	}
	epoch := answer[4:]
	if answer[0] == 2 {
		epoch = answer[8:]
		if len(answer) < 24 || len(answer) > 1100 || len(answer)%4 != 0 {
			t.Errorf("a PCP answer of %d bytes", len(answer))
		}
	} else if n := len(answer); n != 8 && n != 12 && n != 16 {
		t.Errorf("a NAT-PMP answer of %d bytes", n)
	}
	if got := binary.BigEndian.Uint32(epoch); got != 1 {
		t.Errorf("epoch %d, want 1", got)
	}
}

func FuzzSSDP(f *testing.F) {
	f.Add([]byte(search))
	f.Add([]byte("NOTIFY * HTTP/1.1\r\n\r\n"))
	f.Add([]byte("M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, gw := fuzzed(t)
		for _, a := range c.SSDP(host, b) {
			if header(string(a), "LOCATION") != description || header(string(a), "ST") == "" || header(string(a), "USN") == "" {
				t.Errorf("an answer without what it is for: %q", a)
			}
		}
		intact(t, c, gw, 1)
		foreign(t, func(c *portmap.Core, from netip.AddrPort) bool { return c.SSDP(from, b) != nil })
	})
}

func FuzzSOAP(f *testing.F) {
	for _, action := range []string{"AddPortMapping", "DeletePortMapping", "GetSpecificPortMappingEntry", "GetExternalIPAddress"} {
		r := soapRequest("WANIPConnection", "1", action, usualArguments)
		f.Add(r.Path, r.Action, r.Body)
	}
	f.Add("/ctl/IPConn", "", []byte(`<Envelope><Header><a><b/></a></Header><Body><x/><y/></Body></Envelope>`))
	f.Add("/rootDesc.xml", "", []byte{})
	f.Fuzz(func(t *testing.T, path, action string, body []byte) {
		c, gw := fuzzed(t)
		r := portmap.Request{Method: "POST", Path: path, Action: action, Body: body}
		answer := c.HTTP(0, host, r)
		if len(answer.Body) > 0 {
			if err := xml.Unmarshal(answer.Body, new(struct{})); err != nil {
				t.Errorf("the answer is not XML: %v\n%s", err, answer.Body)
			}
		}
		intact(t, c, gw, 1)
		foreign(t, func(c *portmap.Core, from netip.AddrPort) bool { return len(c.HTTP(0, from, r).Body) > 0 })
	})
}
