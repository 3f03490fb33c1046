package stage

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// How many packets are no accident.
const (
	leastRelayed    = 30
	leastRegistered = 5
	leastSTUN       = 3
)

// undeclared says what the packets of cameras show that they have though the declaration says that they have not: cases that need the
// feature would not be run. Empty: nothing.
func undeclared(d *certify.Declaration, ps []tape.Packet, cameras func(host string) bool, servers []netip.Addr) string {
	type flow struct {
		host          string
		protocol      uint8
		local, remote netip.AddrPort
	}
	type talk struct{ asked, answered bool }
	flows := map[flow]*talk{}
	at := map[netip.Addr]bool{}
	for _, a := range servers {
		at[a] = true
	}
	var media, stun int
	said := map[flow]int{}
	for i := range ps {
		p := &ps[i]
		if !cameras(p.Host) || !tape.Full(p) {
			continue
		}
		k := flow{p.Host, p.Protocol, p.Local(), p.Remote()}
		if flows[k] == nil {
			flows[k] = &talk{asked: p.Out}
		}
		asksSTUN := len(p.Payload) >= 20 && p.Payload[0] < 4 && bytes.Equal(p.Payload[4:8], []byte{0x21, 0x12, 0xA4, 0x42})
		switch to := at[p.Remote().Addr()]; {
		case !p.Out:
			flows[k].answered = true
		case asksSTUN:
			stun++
		case to && p.Remote().Port() != ntpPort && flows[k].asked:
			if said[k]++; tape.Media(p) {
				media++
			}
		}
	}
	registered := 0
	for k, n := range said {
		if flows[k].answered {
			registered += n
		}
	}
	switch {
	case media >= leastRelayed && !d.Has(certify.FeatureRelay):
		return fmt.Sprintf("declares relay: false, and sent %d packets of media to a server", media)
	case registered >= leastRegistered && !d.Has(certify.FeatureRegistration) && !d.Has(certify.FeatureUpdate):
		return fmt.Sprintf("declares registration: false, and talked to a server by itself: %d packets that were answered", registered)
	case stun >= leastSTUN && !d.Has(certify.FeatureSTUN):
		return fmt.Sprintf("declares stun: false, and sent %d messages of STUN", stun)
	}
	return ""
}

// holdToDeclaration blames a camera for what it does and does not declare.
func (x *Set) holdToDeclaration() {
	if !x.tape.Holds(0) {
		return
	}
	isCamera := func(host string) bool { return host == cameraHost || strings.HasPrefix(host, cameraHost+"-") }
	match := func(p *tape.Packet) bool { return isCamera(p.Host) }
	ps := x.tape.Packets(0, match)
	what := undeclared(x.stage.Decl(), ps, isCamera, x.Servers(cameraHost))
	if what == "" {
		what = saysUndeclared(x.stage.Decl(), ps, isCamera)
	}
	if what != "" {
		x.stage.blame(&Fault{certify.RoleCamera, 1, what})
	}
}
