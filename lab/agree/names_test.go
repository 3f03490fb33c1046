package agree_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/agree"
	"github.com/punchlab/punchlab/lab/nat"
)

// names stand for what an engine draws, so that engines that draw otherwise can be compared: the first port (or
// identifier) that is drawn is $1 and so on. With arbitrary pooling the address is drawn too, and $1 is the endpoint.
type names struct {
	s      setup
	drawn  []drawn
	seen   map[drawn]bool // literal: they follow from what was sent
	router []netip.Addr
}

type drawn struct {
	proto string
	at    netip.AddrPort
}

func newNames(s setup) *names {
	n := &names{s: s, seen: map[drawn]bool{}}
	n.router = append([]netip.Addr{lan.Addr().Next(), s.lan6.Masked().Addr().Next(), netip.MustParseAddr("2001:db8:f::2")}, s.external...)
	return n
}

// forget lets naming begin again, as drawing does after a reboot.
func (n *names) forget() { n.drawn, n.seen = nil, map[drawn]bool{} }

var reference = regexp.MustCompile(`\$(\d+)`)

// resolve puts what an engine has drawn into a script's words.
func (n *names) resolve(words string) (string, error) {
	var err error
	out := reference.ReplaceAllStringFunc(words, func(ref string) string {
		i, _ := strconv.Atoi(ref[1:])
		if i < 1 || i > len(n.drawn) {
			err = fmt.Errorf("%s: nothing with that name was drawn", ref)
			return ref
		}
		return n.text(i - 1)
	})
	return out, err
}

// text is what a reference stands for.
func (n *names) text(i int) string {
	if n.arbitrary() {
		return n.drawn[i].at.String()
	}
	return strconv.Itoa(int(n.drawn[i].at.Port()))
}

func (n *names) arbitrary() bool { return n.s.b.Pooling == nat.Arbitrary && len(n.s.external) > 1 }

// draws tells whether an engine may draw the port of a mapping, and so its number means nothing.
func (n *names) draws() bool {
	return n.s.b.Kind != nat.NoNAT && n.s.b.PortAssignment != nat.PortSequential || n.s.b.Pooling == nat.Arbitrary
}

// note learns from a packet from inside which numbers need no name: its own.
func (n *names) note(p *agree.Packet) {
	n.literal(p.Proto, p.Src.Port(), p.ID)
	if p.About != nil {
		n.literal(p.About.Proto, p.About.Dst.Port(), p.About.ID)
	}
}

// literal are numbers that need no name.
func (n *names) literal(proto string, ports ...uint16) {
	for _, port := range ports {
		for _, a := range n.s.external {
			n.seen[drawn{proto, netip.AddrPortFrom(a, port)}] = true
		}
	}
}

// name is how an endpoint is written.
func (n *names) name(proto string, e netip.AddrPort) string {
	if !n.draws() && proto != "icmp" || !slices.Contains(n.s.external, e.Addr()) || e.Port() == 0 {
		return e.String()
	}
	d := drawn{proto, e}
	i := slices.Index(n.drawn, d)
	if i < 0 {
		if n.seen[d] && !n.arbitrary() {
			return e.String()
		}
		n.drawn = append(n.drawn, d)
		i = len(n.drawn) - 1
	}
	if n.arbitrary() {
		return fmt.Sprintf("$%d", i+1)
	}
	return fmt.Sprintf("%s:$%d", e.Addr(), i+1)
}

// words describes packets that came out because of one that went in, in the order of sides and words. An error that the
// router itself sends comes from one of its addresses, whichever.
func (n *names) words(in *agree.Packet, out []sent) (string, error) {
	var all []string
	for _, o := range out {
		p, err := agree.Parse(o.b)
		if err != nil {
			return "", err
		}
		s := p.Words(n.name)
		if own := in == nil || in.About == nil; own && p.About != nil && (slices.Contains(n.router, p.Src.Addr()) || p.Src.Addr() == p.About.Dst.Addr()) {
			s = strings.Replace(s, p.Src.Addr().String(), "router", 1)
		}
		all = append(all, []string{"LAN ", "WAN "}[o.to]+s)
	}
	return strings.Join(all, " + "), nil
}
