package core

import (
	"net/netip"
	"testing"
)

func TestStreamEndpoints(t *testing.T) {
	seen := map[netip.AddrPort]bool{}
	for _, s := range []string{"192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.1:444"} {
		bare := netip.MustParseAddrPort(s)
		for _, p := range []Proto{UDP, TCP, TLS} {
			a := Over(p, bare)
			if seen[a] || !a.IsValid() {
				t.Errorf("%v over %v is %v, which is another's or nobody's", bare, p, a)
			}
			seen[a] = true
			if gotP, gotA := ProtoOf(a); gotP != p || gotA != bare {
				t.Errorf("%v over %v: understood as %v over %v", bare, p, gotA, gotP)
			}
			if again := Over(TLS, a); again != Over(TLS, bare) {
				t.Errorf("over another protocol, %v becomes %v", a, again)
			}
		}
	}
	if p, a := ProtoOf(netip.AddrPort{}); p != UDP || a.IsValid() || Over(TCP, a).IsValid() {
		t.Error("nothing became an endpoint")
	}
	if local := netip.MustParseAddrPort("[fe80::1%eth0]:5"); Over(TCP, local).Addr().Zone() != "tcp" {
		t.Error("a link-local address cannot be a stream's")
	} else if p, a := ProtoOf(local); p != UDP || a != local {
		t.Error("a zone is taken for a protocol")
	}
	if TLS.String() != "tls" || UDP.String() != "udp" || Proto(9).String() != "invalid" {
		t.Error("names")
	}
}

func TestEndpointsCostNothing(t *testing.T) {
	bare := netip.MustParseAddrPort("192.0.2.1:443")
	stream := Over(TCP, bare)
	if n := testing.AllocsPerRun(100, func() {
		if p, a := ProtoOf(stream); p != TCP || a != bare || Over(TCP, a) != stream {
			t.Error("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
