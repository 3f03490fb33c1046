package agree_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// TestFeaturesNameTests parses the test files: every cell of lab/nat's Features names a test that is there, with its
// script if it names one, or gives a reason.
func TestFeaturesNameTests(t *testing.T) {
	functions := map[string]map[string]bool{} // by package
	for _, f := range nat.Features() {
		for engine, s := range f.Engines {
			if s.Test == "" {
				if s.Reason == "" {
					t.Errorf("%s on %s: neither test nor reason", f.ID, engine)
				}
				continue
			}
			folder, name, _ := strings.Cut(s.Test, " ")
			function, sub, _ := strings.Cut(name, "/")
			if functions[folder] == nil {
				functions[folder] = testsOf(t, filepath.Join("..", "..", filepath.FromSlash(folder)))
			}
			if !functions[folder][function] {
				t.Errorf("%s on %s: %s has no test %s", f.ID, engine, folder, function)
			}
			if folder == "lab/agree" && sub != "" {
				if _, err := os.Stat(filepath.Join("testdata", scriptFolders[function], sub)); err != nil {
					t.Errorf("%s on %s: %v", f.ID, engine, err)
				}
			}
		}
	}
}

// scriptFolders are where the tests have their scripts.
var scriptFolders = map[string]string{
	"TestRFC4787": "rfc4787", "TestRFC5382": "rfc5382", "TestRFC5508": "rfc5508", "TestRFC6888": "rfc6888", "TestMore": "more",
}

// testsOf are the names of a folder's tests and fuzz targets.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

// asks are behaviors that need one feature.
var asks = map[string]func(*nat.Behavior){
	"mapping-eim":          func(b *nat.Behavior) { b.Mapping = nat.EndpointIndependent },
	"mapping-adm":          func(b *nat.Behavior) { b.Mapping = nat.AddressDependent },
	"mapping-apdm":         func(b *nat.Behavior) { b.Mapping = nat.AddressAndPortDependent },
	"filtering-eif":        func(b *nat.Behavior) { b.Filtering = nat.EndpointIndependent },
	"filtering-adf":        func(b *nat.Behavior) { b.Filtering = nat.AddressDependent },
	"filtering-apdf":       func(b *nat.Behavior) { b.Filtering = nat.AddressAndPortDependent },
	"filter-per-mapping":   func(b *nat.Behavior) { b.FilterPerMapping = true },
	"reply-by-new-mapping": func(b *nat.Behavior) { b.ReplyByNewMapping = true },
	"port-preservation":    func(b *nat.Behavior) { b.PortAssignment = nat.PortPreservation },
	"port-sequential":      func(b *nat.Behavior) { b.PortAssignment, b.PortStep = nat.PortSequential, 2 },
	"port-random":          func(b *nat.Behavior) { b.PortAssignment = nat.PortRandom },
	"port-block":           func(b *nat.Behavior) { b.PortAssignment = nat.PortBlock },
	"port-parity":          func(b *nat.Behavior) { b.PortParity = true },
	"port-contiguity":      func(b *nat.Behavior) { b.PortContiguity = true },
	"port-overloading":     func(b *nat.Behavior) { b.PortOverloading = true },
	"port-hold-down":       func(b *nat.Behavior) { b.PortHoldDown = time.Minute },
	"pooling-paired":       func(b *nat.Behavior) { b.Pooling = nat.Paired },
	"pooling-arbitrary":    func(b *nat.Behavior) { b.Pooling = nat.Arbitrary },
	"quota":                func(b *nat.Behavior) { b.Quota = 10 },
	"exhausted":            func(b *nat.Behavior) { b.Exhausted = nat.ICMP },
	"hairpin-none":         func(b *nat.Behavior) { b.Hairpinning = nat.HairpinNone },
	"hairpin-internal":     func(b *nat.Behavior) { b.Hairpinning = nat.HairpinInternalSource },
	"hairpin-external":     func(b *nat.Behavior) { b.Hairpinning = nat.HairpinExternalSource },
	"timeout-udp":          func(b *nat.Behavior) { b.UDPTimeout = time.Second },
	"refresh-outbound":     func(b *nat.Behavior) { b.NoOutboundRefresh = true },
	"refresh-inbound":      func(b *nat.Behavior) { b.InboundRefresh = true },
	"tcp-timeouts":         func(b *nat.Behavior) { b.TCPEstablished, b.TCPTransitory = time.Minute, time.Second },
	"tcp-ports":            func(b *nat.Behavior) { b.TCPPorts = []uint16{443} },
	"udp-blocked":          func(b *nat.Behavior) { b.UDPBlocked = true },
	"unsolicited-drop":     func(b *nat.Behavior) { b.Unsolicited = nat.Drop },
	"unsolicited-icmp":     func(b *nat.Behavior) { b.Unsolicited = nat.ICMP },
	"unsolicited-rst":      func(b *nat.Behavior) { b.Unsolicited = nat.RST },
	"unsolicited-rst-6s":   func(b *nat.Behavior) { b.Unsolicited = nat.RSTAfter6s },
	"icmp-dropped":         func(b *nat.Behavior) { b.ICMPErrors = nat.ICMPErrorsDropped },
	"fragments-any-order":  func(b *nat.Behavior) { b.Fragments = nat.FragmentsAnyOrder },
	"fragments-in-order":   func(b *nat.Behavior) { b.Fragments = nat.FragmentsInOrder },
	"fragments-dropped":    func(b *nat.Behavior) { b.Fragments = nat.FragmentsDropped },
	"no-nat":               func(b *nat.Behavior) { *b, _ = nat.Lookup("open") },
	"firewall":             func(b *nat.Behavior) { *b, _ = nat.Lookup("firewall") },
	"masquerade":           func(b *nat.Behavior) { *b, _ = nat.Lookup("linux") },
	"inbound-first-remap":  func(b *nat.Behavior) { *b, _ = nat.Lookup("linux-no-firewall") },
	"inbound-first-block":  func(b *nat.Behavior) { b.InboundFirstBlock = time.Second },
	"lenient-ports":        func(b *nat.Behavior) { b.LenientPorts = []uint16{3478} },
	"flow-limit":           func(b *nat.Behavior) { b.FlowLimit = 10 },
	"alg":                  func(b *nat.Behavior) { b.ALG = true },
	"ipv6-open":            func(b *nat.Behavior) { b.IPv6 = nat.IPv6Open },
	"ipv6-firewall":        func(b *nat.Behavior) { b.IPv6 = nat.IPv6Firewall },
	"nptv6":                func(b *nat.Behavior) { b.IPv6 = nat.NPTv6 },
	"nat64":                func(b *nat.Behavior) { b.IPv6 = nat.NAT64 },
}

// always are features that no behavior asks for.
var always = map[string]bool{
	"nested": true, "tcp": true, "tcp-simultaneous": true, "icmp-echo": true, "icmp-errors": true, "icmp-keeps": true, "icmp-hairpin": true,
	"router-ping": true, "port-map": true, "bounded": true, "bad-packets": true,
}

// TestFeaturesAreWhatNetfilterSupports has netfilter refuse just what the table of features says that it lacks.
func TestFeaturesAreWhatNetfilterSupports(t *testing.T) {
	for _, f := range nat.Features() {
		ask := asks[f.ID]
		if ask == nil {
			if !always[f.ID] {
				t.Errorf("%s: no behavior is known that asks for it", f.ID)
			}
			continue
		}
		b, _ := nat.Lookup("full-cone")
		ask(&b)
		err := netfilter.Supports(b)
		if has := f.Engines["netfilter"].Test != ""; has != (err == nil) {
			t.Errorf("%s: the table says that netfilter has it: %v; Supports says %v", f.ID, has, err)
		}
	}
}
