package cases

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/packet"
)

// payloadOf is what a datagram or a segment carries; false: it is neither, a fragment, or carries nothing.
func payloadOf(p []byte) ([]byte, bool) {
	ip, err := packet.ParseIPv4(p)
	if err != nil || ip.MoreFragments() || ip.FragmentOffset() != 0 {
		return nil, false
	}
	var b []byte
	switch ip.Protocol() {
	case packet.ProtocolUDP:
		u, err := packet.ParseUDP(ip.Payload())
		if err != nil {
			return nil, false
		}
		b = u.Payload()
	case packet.ProtocolTCP:
		t, err := packet.ParseTCP(ip.Payload())
		if err != nil {
			return nil, false
		}
		b = t.Payload()
	}
	return b, len(b) > 0
}

// withPayload is the packet with other contents, its checksums right. What a segment carries keeps its length.
func withPayload(s attack.Seen, b []byte) []byte {
	ip, err := packet.ParseIPv4(s.Packet)
	if err != nil || ip.Protocol() != packet.ProtocolTCP {
		return s.WithUDP(b)
	}
	p := bytes.Clone(s.Packet)
	ip, err = packet.ParseIPv4(p)
	if err != nil {
		return s.Packet
	}
	t, err := packet.ParseTCP(ip.Payload())
	if err != nil {
		return s.Packet
	}
	copy(t.Payload(), b)
	segment := ip.Payload()
	clear(segment[16:18])
	binary.BigEndian.PutUint16(segment[16:], packet.PseudoChecksum(ip.Src(), ip.Dst(), packet.ProtocolTCP, segment))
	return p
}

// vandal makes of packets what its owner would not want.
type vandal struct {
	draw  *rand.Rand
	older [][]byte // what passed
}

func newVandal(seed uint64) *vandal { return &vandal{draw: rand.New(rand.NewPCG(seed, 4))} }

// keep remembers what passes, for later.
func (v *vandal) keep(b []byte) {
	const most = 64
	if b = bytes.Clone(b); len(v.older) < most {
		v.older = append(v.older, b)
	} else {
		v.older[v.draw.IntN(most)] = b
	}
}

// change is another payload: never the same.
func (v *vandal) change(b []byte, stream bool) []byte {
	c := bytes.Clone(b)
	switch way := v.draw.IntN(6); {
	case way == 0: // some bytes cleared
		at := v.draw.IntN(len(c))
		clear(c[at:min(len(c), at+1+v.draw.IntN(8))])
	case way == 1 && !stream && len(c) > 1: // cut short
		c = c[:1+v.draw.IntN(len(c)-1)]
	case way == 2 && !stream && len(c) < 1100: // grown
		c = append(c, make([]byte, 1+v.draw.IntN(64))...)
	case way == 3 && len(v.older) > 0: // the head of this one, the rest of an older one
		o := v.older[v.draw.IntN(len(v.older))]
		if at := v.draw.IntN(min(len(o), len(c))); at > 0 {
			copy(c[at:], o[at:])
		}
	}
	if bytes.Equal(c, b) { // one bit
		c[v.draw.IntN(len(c))] ^= 1 << v.draw.IntN(8)
	}
	return c
}

// vandalize alters one datagram or segment in n, of either direction, and drops, holds back or repeats others now and then.
func (v *vandal) vandalize(n int) attack.Rule {
	return func(s attack.Seen) attack.Act {
		b, ok := payloadOf(s.Packet)
		if !ok {
			return attack.Act{}
		}
		defer v.keep(b)
		switch d := v.draw.IntN(6 * n); {
		case d < 6:
			return attack.Act{Packet: withPayload(s, v.change(b, s.Packet[9] == packet.ProtocolTCP))}
		case d < 7:
			return attack.Act{Drop: true}
		case d < 9:
			return attack.Act{Delay: time.Duration(5+v.draw.IntN(60)) * time.Millisecond}
		case d < 12:
			return attack.Act{Again: []time.Duration{time.Millisecond, time.Duration(v.draw.IntN(1000)) * time.Millisecond}}
		}
		return attack.Act{}
	}
}

// strip spoils the beginning of each direction's talk, in which is agreed on what is spoken: byte at of each of the first packets is
// taken for another, as an older version, fewer features or another cipher would have it; at −1 they are dropped.
func (v *vandal) strip(first, at int) attack.Rule {
	var seen [2]int
	return func(s attack.Seen) attack.Act {
		b, ok := payloadOf(s.Packet)
		if !ok {
			return attack.Act{}
		}
		if seen[s.Direction]++; seen[s.Direction] > first {
			return attack.Act{}
		}
		if at < 0 || at >= len(b) {
			return attack.Act{Drop: true}
		}
		c := bytes.Clone(b)
		if c[at] == 0 {
			c[at] = 1
		} else {
			c[at]-- // 2 for 3, 0 for 1
		}
		return attack.Act{Packet: withPayload(s, c)}
	}
}

// onPath has a middle in a host's path as long as something is done.
func onPath(ctx context.Context, s *stage.Stage, x *stage.Set, host string, rule attack.Rule, do func() error) (attack.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, over := make(chan struct{}), make(chan error, 1)
	var report attack.Report
	go func() {
		m := &attack.Middle{Rule: rule, Ready: func() { close(ready) }}
		var err error
		report, err = m.Run(ctx, x.Host(host), attack.Budget{Packets: attack.MaxPackets, Duration: attack.MaxDuration})
		over <- err
	}()
	select {
	case <-ready:
	case err := <-over:
		return report, errors.Join(fmt.Errorf("a middle on host %s ended before it began", host), err)
	}
	s.Note("a middle stands in the path of host %s", host)
	err := do()
	cancel()
	lab := <-over
	s.Note("the middle on host %s is gone: %v", host, report.Counts)
	if lab != nil {
		return report, lab
	}
	return report, err
}

// changed is how many packets a middle has altered.
func changed(r attack.Report) int { return int(r.Counts["altered up"] + r.Counts["altered down"]) }

// interfered is how many it has done anything to.
func interfered(r attack.Report) int { return int(r.Counts["interfered with"]) }
