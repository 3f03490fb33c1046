package plug

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var vendor, vendor6, other = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")

var whose = map[netip.Addr]string{vendor: "host rendezvous", vendor6: "host rendezvous", other: "host relay"}

func TestLookup(t *testing.T) {
	z, err := newZone(map[string]netip.Addr{
		"p2p.vendor.example": vendor, "*.vendor.example": other, "a.b.cdn.vendor.example.": vendor, "six.example": vendor6,
	}, whose)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string // an address, "nothing" for a name without any, "" for none
	}{
		{"p2p.vendor.example.", "192.0.2.1"},
		{"P2P.Vendor.EXAMPLE.", "192.0.2.1"},
		{"any.vendor.example.", "192.0.2.2"},
		{"deeper.any.vendor.example.", "192.0.2.2"},
		{"vendor.example.", "nothing"},
		{"cdn.vendor.example.", "nothing"}, // above a name that exists: RFC 4592 §2.2.2
		{"a.b.cdn.vendor.example.", "192.0.2.1"},
		{"xp2p.vendor.example.", "192.0.2.2"},
		{"notvendor.example.", ""},
		{"vendor.example.evil.", ""},
		{"six.example.", "2001:db8::1"},
		{".", ""},
	} {
		got := ""
		switch a, ok := z.lookup(tt.name); {
		case a.IsValid():
			got = a.String()
		case ok:
			got = "nothing"
		}
		if got != tt.want {
			t.Errorf("%s is %q, want %q", tt.name, got, tt.want)
		}
	}
	all, err := newZone(map[string]netip.Addr{"*": other, "p2p.vendor.example": vendor}, whose)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]netip.Addr{"p2p.vendor.example.": vendor, "whatever.": other, "x.p2p.vendor.example.": other} {
		if a, _ := all.lookup(name); a != want {
			t.Errorf("%s is %v, want %v", name, a, want)
		}
	}
}

// What a server is asked beyond addresses gets the answer of one that has none, and not silence.
func TestAnswers(t *testing.T) {
	z := zone{"a.example.": vendor, "six.example.": vendor6}
	for _, tt := range []struct {
		name string
		ask  func(m *dns.Msg)
		want string // code, and the answer's data
	}{
		{"A", func(m *dns.Msg) {}, "NOERROR 192.0.2.1"},
		{"AAAA of IPv4", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }, "NOERROR"},
		{"AAAA", func(m *dns.Msg) { m.SetQuestion("six.example.", dns.TypeAAAA) }, "NOERROR 2001:db8::1"},
		{"A of IPv6", func(m *dns.Msg) { m.SetQuestion("six.example.", dns.TypeA) }, "NOERROR"},
		{"HTTPS", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeHTTPS }, "NOERROR"},
		{"unknown", func(m *dns.Msg) { m.Question[0].Name = "b.example." }, "NXDOMAIN"},
		{"PTR", func(m *dns.Msg) { m.SetQuestion("1.2.0.192.in-addr.arpa.", dns.TypePTR) }, "NXDOMAIN"},
		{"CHAOS", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, "REFUSED"},
		{"notify", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, "NOTIMP"},
		{"no question", func(m *dns.Msg) { m.Question = nil }, "FORMERR"},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, "FORMERR"},
		{"EDNS", func(m *dns.Msg) { m.SetEdns0(4096, true) }, "NOERROR 192.0.2.1 EDNS"},
		{"EDNS of tomorrow", func(m *dns.Msg) { m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }, "BADVERS EDNS"},
	} {
		q := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
		tt.ask(q)
		m := z.answer(q)
		words := []string{dns.RcodeToString[m.Rcode]}
		if m.Rcode == dns.RcodeBadVers {
			words[0] = "BADVERS" // 16 is BADSIG, too
		}
		for _, rr := range m.Answer {
			words = append(words, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		if m.IsEdns0() != nil {
			words = append(words, "EDNS")
		}
		if got := strings.Join(words, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if _, err := m.Pack(); err != nil || m.Id != q.Id || !m.Response {
			t.Errorf("%s: answer %v does not go out: %v", tt.name, m, err)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	for name, names := range map[string]map[string]netip.Addr{
		"is none of DNS":       {"a b.example": vendor},
		`name "" is none`:      {"": vendor},
		`"x.*.example" is`:     {"x.*.example": vendor},
		`"*.*.example" is`:     {"*.*.example": vendor},
		"is given twice":       {"a.example": vendor, "A.example.": other},
		"nothing in the lab":   {"a.example": netip.MustParseAddr("198.51.100.1")},
		"invalid IP":           {"a.example": {}},
		"192.0.2.1 (host rend": {"a.example": netip.MustParseAddr("198.51.100.1")}, // what there is
	} {
		if _, err := newZone(names, whose); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v, want %q", names, err, name)
		}
	}
}

// The record of questions is bounded, and says what it left out.
func TestQuestionsAreBounded(t *testing.T) {
	s := &dnsServer{kept: make([]Question, MaxQuestions-1)}
	for range 3 {
		s.keep("udp", nowhere{}, new(dns.Msg).SetQuestion("a.example.", dns.TypeA))
	}
	if kept, unkept := s.asked(); len(kept) != MaxQuestions || unkept != 2 {
		t.Errorf("%d kept and %d not, want %d and 2", len(kept), unkept, MaxQuestions)
	}
}

type nowhere struct{}

func (nowhere) Network() string { return "udp" }
func (nowhere) String() string  { return "" }
