package node

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

// mixed draws packets as a busy relay has them: several destinations, runs of one size, odd ones between.
func mixed(r *rand.Rand, many int, to []netip.AddrPort) (ps []core.Packet) {
	sizes := []int{1200, 1200, 1200, 900, 1, 0, 1228}
	for len(ps) < many {
		a, size, ttl := to[r.IntN(len(to))], sizes[r.IntN(len(sizes))], uint8(0)
		if r.IntN(20) == 0 {
			ttl = 5
		}
		for range 1 + r.IntN(6) {
			ps = append(ps, core.Packet{To: a, TTL: ttl, B: make([]byte, size)})
			if r.IntN(3) == 0 {
				a = to[r.IntN(len(to))] // between them, one to another
			}
		}
	}
	return ps
}

// Messages hold what the kernel can segment into exactly these packets, in this order to each destination.
func TestMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var to []netip.AddrPort
	for i := range 40 {
		to = append(to, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 9))
	}
	shared := 0
	for round := range 300 {
		ps := mixed(r, 1+r.IntN(700), to[:1+r.IntN(len(to))])
		o := new(outbound)
		for rest := ps; len(rest) > 0; {
			k := o.group(rest, round%10 != 0)
			if k < 1 || k > len(rest) {
				t.Fatalf("round %d: %d packets of %d are planned", round, k, len(rest))
			}
			o.fill(rest[:k], false)
			shared += checkPlan(t, o, rest[:k])
			rest = rest[k:]
		}
	}
	if shared == 0 {
		t.Error("no packets share a message")
	}
}

func checkPlan(t *testing.T, o *outbound, ps []core.Packet) (shared int) {
	t.Helper()
	at := map[netip.AddrPort]int{} // how many packets to a destination were seen
	of := map[netip.AddrPort][]core.Packet{}
	for _, p := range ps {
		of[p.To] = append(of[p.To], p)
	}
	total := 0
	for m := range o.plans[:o.n] {
		p := o.plans[m]
		to, bytes := ps[p.first].To, 0
		for k := range p.count {
			want := of[to][at[to]]
			at[to]++
			size := int(o.iovs[p.start+k].Len)
			bytes += size
			switch {
			case size != len(want.B) || want.TTL != ps[p.first].TTL || size > 0 && o.iovs[p.start+k].Base != &want.B[0]:
				t.Fatalf("message %d: packet %d is not the next to %v", m, k, to)
			case p.count > 1 && (size == 0 || size > p.size || size < p.size && k < p.count-1):
				t.Fatalf("message %d: packet %d of %d has %d bytes among those of %d", m, k, p.count, size, p.size)
			}
		}
		if p.count > maxSegments || bytes > maxMessage || int(o.msgs[m].Hdr.Iovlen) != p.count {
			t.Fatalf("message %d: %d packets, %d bytes", m, p.count, bytes)
		}
		total += p.count
		shared += p.count - 1
	}
	if total != len(ps) {
		t.Fatalf("%d of %d packets", total, len(ps))
	}
	return shared
}

// Streams that are relayed between each other's packets still share messages.
func TestInterleavedStreamsShareMessages(t *testing.T) {
	var ps []core.Packet
	for range 10 {
		for i := range 8 {
			ps = append(ps, core.Packet{To: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 9), B: make([]byte, 1200)})
		}
	}
	o := new(outbound)
	if k := o.group(ps, true); k != 80 || o.n != 8 {
		t.Errorf("%d packets in %d messages", k, o.n)
	}
	for i := range ps {
		ps[i] = core.Packet{To: ps[0].To, B: make([]byte, 10)}
	}
	if k := o.group(ps, true); k != 80 || o.n != 2 || o.plans[0].count != 64 {
		t.Errorf("of one stream, %d packets in %d messages, the first of %d", k, o.n, o.plans[0].count)
	}
}

// numbered packets, so that each can be told.
func numbered(many int, size func(i int) int) (ps [][]byte) {
	for i := range many {
		b := bytes.Repeat([]byte{byte(i)}, max(4, size(i)))
		binary.BigEndian.PutUint32(b, uint32(i))
		ps = append(ps, b)
	}
	return ps
}

// collector keeps what it hears, and overwrites it.
type collector struct{ *talker }

func (c *collector) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	c.talker.HandlePacket(now, from, to, b)
	for i := range b {
		b[i] = 0xFF // the core's to overwrite: no other packet may lie there,
	}
	_ = append(b, 0xFF) // nor behind it
}

func sendAll(n *Node, c *talker, to netip.AddrPort, ps [][]byte) {
	n.Do(func(time.Time) {
		c.box.Begin()
		for _, b := range ps {
			c.box.Send(netip.AddrPort{}, to, core.Media, b)
		}
	})
}

func (c *talker) hearsAll(t *testing.T, ps [][]byte) {
	t.Helper()
	c.await(t, "all packets", func() bool { return len(c.heard) >= len(ps) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range ps {
		if c.heard[i].text != string(b) {
			t.Fatalf("packet %d: %d bytes, beginning %.4x; want %d", i, len(c.heard[i].text), c.heard[i].text, len(b))
		}
	}
}

// What is sent in one message is received packet by packet, by a node with GRO as by one without.
func TestOffload(t *testing.T) {
	ps := numbered(300, func(i int) int { return []int{1200, 1200, 1200, 700, 1200, 100}[i%6] })
	for _, plain := range []bool{false, true} {
		conn, _ := loopback()
		raw, _ := conn.SyscallConn()
		raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) }) // by somebody before
		c := &collector{newTalker()}
		m, err := New(c, []*net.UDPConn{conn}, Options{NoOffload: plain, ReadBuffer: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		n, s := start(t, Options{})
		sendAll(n, s, m.LocalAddrs()[0], ps)
		c.hearsAll(t, ps)
		out, in := n.Stats(), m.Stats()
		if out.Segmented < 200 || out.Sent.Packets != 300 || in.Received.Packets != 300 || (in.Coalesced > 0) == plain {
			t.Errorf("without offload %v: %+v and %+v", plain, out, in)
		}
		m.Close()
	}
	conn, _ := loopback()
	c := newTalker()
	m, err := New(c, []*net.UDPConn{conn}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	n, s := start(t, Options{NoOffload: true})
	sendAll(n, s, m.LocalAddrs()[0], ps)
	c.hearsAll(t, ps)
	if out := n.Stats(); out.Segmented != 0 {
		t.Errorf("without offload: %+v", out)
	}
}

// A socket that cannot segment (here for want of checksums, which Linux refuses with EINVAL) loses nothing by it, and is
// not asked again.
func TestOffloadRefused(t *testing.T) {
	conn, _ := loopback()
	raw, _ := conn.SyscallConn()
	var err error
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) })
	if err != nil {
		t.Fatal(err)
	}
	s := newTalker()
	n, err := New(s, []*net.UDPConn{conn}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	m, c := start(t, Options{})
	ps := numbered(100, func(int) int { return 1200 })
	sendAll(n, s, m.LocalAddrs()[0], ps[:50])
	sendAll(n, s, m.LocalAddrs()[0], ps[50:])
	c.hearsAll(t, ps)
	if out := n.Stats(); out.Segmented != 0 || out.WriteErrors != 0 || out.Sent.Packets != 100 || n.mains[0].gso {
		t.Errorf("stats %+v", out)
	}
}
