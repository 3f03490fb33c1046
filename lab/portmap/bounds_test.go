package portmap_test

import (
	"strings"
	"testing"

	"github.com/punchlab/punchlab/lab/portmap"
)

// TestPCPLength: a message of 1100 bytes is the longest (RFC 6887 §7).
func TestPCPLength(t *testing.T) {
	for size, want := range map[int]byte{1100: 0, 1104: 3} {
		c, _ := fuzzed(t)
		req := pcpRequest(0, 0, host.Addr())
		body := size - len(req) - 4
		req = append(req, 200, 0, byte(body>>8), byte(body)) // an option that need not be understood
		req = append(req, make([]byte, body)...)
		if answer := c.Datagram(0, host, req); len(answer) > 1100 || answer[3] != want {
			t.Errorf("%d bytes: result %d in %d bytes, want %d", size, answer[3], len(answer), want)
		}
	}
}

func TestSSDPLength(t *testing.T) {
	for pad, want := range map[int]bool{0: true, 3000: false} {
		c, _ := fuzzed(t)
		long := strings.Replace(search, "MX: 1", "MX: 1"+strings.Repeat(" ", pad), 1)
		if got := c.SSDP(host, []byte(long)); (got != nil) != want {
			t.Errorf("with %d blanks more: %d answers", pad, len(got))
		}
	}
}

// TestSOAPActionMustAgree: the header names the action as the envelope does, or is not there.
func TestSOAPActionMustAgree(t *testing.T) {
	c, _ := fuzzed(t)
	r := soapRequest("WANIPConnection", "1", "GetExternalIPAddress", nil)
	for header, want := range map[string]int{
		r.Action: 200, "": 200, strings.Trim(r.Action, `"`): 200, strings.Replace(r.Action, "External", "Internal", 1): 500,
	} {
		r.Action = header
		if got := c.HTTP(0, host, r); got.Status != want {
			t.Errorf("SOAPAction %q: status %d, want %d", header, got.Status, want)
		}
	}
}

// TestDescriptionsFollowTheVersion: version 1 has no action of version 2, and each argument has its variable.
func TestDescriptionsFollowTheVersion(t *testing.T) {
	for preset, want := range map[string]bool{"upnp": true, "upnp-igd1": false} {
		config, _ := portmap.Lookup(preset)
		gw := &fakeGateway{external: external}
		c, err := portmap.NewCore(gw.router(), config, 0)
		must(t, err)
		r := c.HTTP(0, host, portmap.Request{Method: "GET", Path: "/WANIPCn.xml"})
		for _, action := range []string{"AddAnyPortMapping", "DeletePortMappingRange", "GetListOfPortMappings"} {
			if got := strings.Contains(string(r.Body), "<name>"+action+"</name>"); got != want {
				t.Errorf("%s describes %s: %v, want %v", preset, action, got, want)
			}
		}
		if strings.Contains(string(r.Body), "<relatedStateVariable></") {
			t.Errorf("%s: an argument has no variable:\n%s", preset, r.Body)
		}
	}
}
