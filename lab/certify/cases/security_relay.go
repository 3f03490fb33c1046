package cases

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// atTheRelay is SEC-5: where no direct path is, whoever runs the relay reads and alters what passes; then the relay itself is asked for
// addresses that it must not reach.
func atTheRelay(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes", "camera.nat", "symmetric", "viewer.nat", "symmetric")
	if err != nil {
		return s.Judge(err)
	}
	o, err := newObserver(s, x, camera, "at the relay", x.Relay(), tape.All(tape.At(x.Relay()), tape.Full))
	if err != nil {
		return s.Judge(err)
	}
	r, bad := o.attack(ctx, s.For(20*time.Second, 2*time.Second))
	s.Saw("frames", o.sent())
	s.Saw("relayed", x.Tape().Count(0, tape.CameTo(x.Relay()), tape.Media))
	if !bad && s.Observed("relayed") == 0 {
		r, bad = s.Inconclusive("no media packet went by the relay, though both NATs are symmetric: there was nothing to read"), true
	}
	if !bad {
		r, bad = o.answer(ctx)
	}
	if !bad {
		r, bad = openRelay(ctx, s, x)
	}
	return concluded(s, r, bad)
}

// answer has the relay speak in the camera's place: what the viewer should get is replaced by the viewer's own words, by what the camera
// said to others before, and by what nobody said.
func (o *observer) answer(ctx context.Context) (certify.Result, bool) {
	draw := rand.New(rand.NewPCG(o.s.Seed(42), 6))
	homes := o.x.Routes()
	viewer := homes.External("viewer")
	var older, words [][]byte
	rule := func(seen attack.Seen) attack.Act {
		b, ok := seen.UDP()
		if !ok {
			return attack.Act{}
		}
		src, dst := netip.AddrFrom4([4]byte(seen.Packet[12:16])), netip.AddrFrom4([4]byte(seen.Packet[16:20]))
		switch {
		case seen.Direction == attack.Down && slices.Contains(viewer, src):
			words = append(words, bytes.Clone(b))
		case seen.Direction == attack.Up && slices.Contains(viewer, dst):
			own := bytes.Clone(b)
			older = append(older, own)
			if draw.IntN(4) > 0 {
				return attack.Act{}
			}
			forged := make([]byte, len(b))
			switch way := draw.IntN(3); {
			case way == 0 && len(words) > 0:
				forged = bytes.Clone(words[draw.IntN(len(words))])
			case way == 1:
				forged = older[draw.IntN(len(older))]
			default:
				for i := range forged {
					forged[i] = byte(draw.Uint32())
				}
				copy(forged, own[:min(len(own), 8)])
			}
			return attack.Act{Packet: seen.WithUDP(forged)}
		}
		return attack.Act{}
	}
	return o.meddle(ctx, "with the relay answering for the camera", o.s.For(10*time.Second, time.Second), rule)
}

// forbidden are addresses that a relay must not reach for anybody: its own host, and networks behind it.
func forbidden(relay netip.Addr) (all []netip.Addr) {
	for _, a := range []string{
		"127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "255.255.255.255",
		"224.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1", "fd00::1",
	} {
		all = append(all, netip.MustParseAddr(a))
	}
	return append(all, relay)
}

// bait is a service on the relay's own host that nobody else can reach.
type bait struct {
	port  uint16
	heard atomic.Int64
	udp   *net.UDPConn
	tcp   *net.TCPListener
}

const baitPort = 9099

func newBait(x *stage.Set, host string) (*bait, error) {
	b := &bait{port: baitPort}
	m := x.Host(host)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), b.port)
	var err error
	if b.udp, err = m.ListenUDP(at); err != nil {
		return nil, fmt.Errorf("put a bait on host %s: %w", host, err)
	}
	if b.tcp, err = m.ListenTCP(at); err != nil {
		return nil, errors.Join(fmt.Errorf("put a bait on host %s: %w", host, err), b.udp.Close())
	}
	go func() {
		var buf [2048]byte
		for {
			if _, _, err := b.udp.ReadFromUDPAddrPort(buf[:]); err != nil {
				return
			}
			b.heard.Add(1)
		}
	}()
	go func() {
		for {
			c, err := b.tcp.Accept()
			if err != nil {
				return
			}
			b.heard.Add(1)
			c.Close()
		}
	}()
	return b, nil
}

func (b *bait) close() error { return errors.Join(b.udp.Close(), b.tcp.Close()) }

// asking is a request to a relay, and what an answer says that is more than no.
type asking struct {
	name string
	udp  [][]byte // datagrams, one after the other
	tcp  []byte
	then []byte // behind the first answer
	yes  func(answer []byte) bool
}

// openRelay asks the relay for addresses that it must not reach.
func openRelay(ctx context.Context, s *stage.Stage, x *stage.Set) (certify.Result, bool) {
	relay := x.Relay()
	to := x.Lab().Topology().AddrsFrom("viewer", relay)[0]
	came := x.Tape().Packets(0, tape.CameTo(relay), tape.To(to))
	usual := map[netip.Addr]bool{}
	for _, p := range x.Tape().Packets(0, tape.From(relay)) {
		usual[p.Dst.Addr()] = true
	}
	ports := [2][]uint16{{3478}, {443, 1080, 3128, 8080}}
	for _, p := range came {
		kind := 0
		if tape.TCP(&p) {
			kind = 1
		} else if !tape.UDP(&p) {
			continue
		}
		if n := p.Dst.Port(); !slices.Contains(ports[kind], n) && len(ports[kind]) < 8 {
			ports[kind] = append(ports[kind], n)
		}
	}
	b, err := newBait(x, relay)
	if err != nil {
		return s.Judge(err), true
	}
	defer b.close()
	from := x.Tape().Mark()
	all := forbidden(to)
	var putting sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	asked, agreed, room := 0, "", make(chan struct{}, 8)
	for _, a := range all {
		for _, q := range askings(netip.AddrPortFrom(a, b.port)) {
			kind := 0
			if q.tcp != nil {
				kind = 1
			}
			for _, port := range ports[kind] {
				room <- struct{}{}
				putting.Go(func() {
					defer func() { <-room }()
					answer, err := q.ask(ctx, x, netip.AddrPortFrom(to, port))
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						errs = append(errs, err)
						return
					}
					yes := q.yes(answer)
					asked++
					s.Saw("tries", 1)
					s.Try(yes)
					if yes && agreed == "" {
						agreed = fmt.Sprintf("%s for %v at port %d", q.name, a, port)
					}
				})
			}
		}
	}
	putting.Wait()
	if err := cmp.Or(errors.Join(errs...), ctx.Err()); err != nil {
		return s.Judge(err), true
	}
	if err := s.Pause(ctx, s.For(5*time.Second, 200*time.Millisecond)); err != nil { // in which the relay may yet reach there
		return s.Judge(err), true
	}
	reached := map[netip.Addr]int{}
	for _, p := range x.Tape().Packets(from, tape.From(relay)) {
		if a := p.Dst.Addr(); slices.Contains(all, a) && !usual[a] {
			reached[a]++
		}
	}
	heard := b.heard.Load()
	s.Record(map[string]any{"requests": asked, "ports": ports, "addresses": len(all), "agreed": agreed, "the host's own service heard": heard, "packets to forbidden addresses": len(reached)})
	s.Note("the relay was asked %d times for %d addresses at UDP ports %v and TCP ports %v: its host's own service heard %d, packets went to %d of the addresses",
		asked, len(all), ports[0], ports[1], heard, len(reached))
	switch {
	case heard > 0:
		return s.Fail("a service of the relay's own host at 127.0.0.1 was reached %d times in %d requests to the relay", heard, asked), true
	case len(reached) > 0:
		return s.Fail("the relay sent packets to %d addresses that it must not reach, in %d requests: %v", len(reached), asked, reached), true
	case agreed != "":
		return s.Fail("the relay agreed to %s, which it must refuse", agreed), true
	}
	return certify.Result{}, false
}

// ask puts a request, and returns what is answered. That nothing is, or nobody listens, is no error.
func (q *asking) ask(ctx context.Context, x *stage.Set, at netip.AddrPort) (answer []byte, err error) {
	const patience = 40 * time.Millisecond
	m := x.Host("viewer")
	var buf [4096]byte
	if q.tcp == nil {
		c, err := m.ListenUDP(netip.AddrPort{})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		for _, b := range q.udp {
			if _, err := c.WriteToUDPAddrPort(b, at); err != nil {
				return nil, nil // refused by ICMP
			}
		}
		for end := time.Now().Add(patience); ; {
			_ = c.SetReadDeadline(end)
			n, _, err := c.ReadFromUDPAddrPort(buf[:])
			if err != nil {
				return answer, nil
			}
			if answer == nil || q.yes(buf[:n]) {
				answer = bytes.Clone(buf[:n])
			}
		}
	}
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := m.DialTCP(within, netip.AddrPort{}, at)
	if err != nil {
		return nil, nil // nobody listens
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * patience))
	var rw io.ReadWriter = c
	if at.Port() == 443 {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "relay"}) // whoever it is: it is asked, not trusted
		if t.HandshakeContext(within) == nil {
			rw = t
			_ = c.SetDeadline(time.Now().Add(patience))
		}
	}
	for _, b := range [][]byte{q.tcp, q.then} {
		if b == nil {
			break
		}
		if _, err := rw.Write(b); err != nil {
			break
		}
		n, err := rw.Read(buf[:])
		answer = bytes.Clone(buf[:n])
		if err != nil {
			break
		}
	}
	return answer, nil
}

// askings are the ways in which relays are asked for an address: TURN's (RFC 8656, RFC 6062), HTTP's and SOCKS'.
func askings(at netip.AddrPort) (all []asking) {
	peer := xorAddress(0x0012, at)
	data := stunAttribute(0x0013, []byte("punchlab: nobody should read this"))
	success := func(b []byte) bool { // of a method that names an address
		return len(b) >= 20 && b[0] == 1 && slices.Contains([]byte{0x08, 0x09, 0x0a}, b[1])
	}
	allocate := stunMessage(0x0003, stunAttribute(0x0019, []byte{17, 0, 0, 0}))
	channel := stunAttribute(0x000c, []byte{0x40, 1, 0, 0})
	all = []asking{
		{name: "a TURN permission and a send indication", udp: [][]byte{allocate, stunMessage(0x0008, peer), stunMessage(0x0016, peer, data)}, yes: success},
		{name: "a TURN channel", udp: [][]byte{allocate, stunMessage(0x0009, channel, peer), {0x40, 1, 0, 4, 'p', 'u', 'n', 'c'}}, yes: success},
		{name: "a TURN connection", udp: [][]byte{stunMessage(0x000a, peer)}, yes: success},
		{name: "an HTTP tunnel", tcp: fmt.Appendf(nil, "CONNECT %v HTTP/1.1\r\nHost: %v\r\n\r\n", at, at), yes: func(b []byte) bool {
			return bytes.HasPrefix(b, []byte("HTTP/1.")) && len(b) > 9 && b[9] == '2'
		}},
	}
	a := at.Addr().Unmap()
	request := append([]byte{5, 1, 0, 1}, a.AsSlice()...)
	if a.Is6() {
		request[3] = 4
	}
	all = append(all, asking{
		name: "a SOCKS connection", tcp: []byte{5, 1, 0}, then: binary.BigEndian.AppendUint16(request, at.Port()),
		yes: func(b []byte) bool { return len(b) >= 10 && b[0] == 5 && b[1] == 0 },
	})
	return all
}

// stunMessage is one of STUN's (RFC 8489 §5).
func stunMessage(kind uint16, attributes ...[]byte) []byte {
	b := make([]byte, 20, 256)
	binary.BigEndian.PutUint16(b, kind)
	binary.BigEndian.PutUint32(b[4:], stunCookie)
	copy(b[8:], "punchlab asks")
	for _, a := range attributes {
		b = append(b, a...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	return b
}

const stunCookie = 0x2112A442

// stunAttribute is one of a message's, padded.
func stunAttribute(kind uint16, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

// xorAddress is an attribute with an address (RFC 8489 §14.2), in the message that stunMessage makes.
func xorAddress(kind uint16, at netip.AddrPort) []byte {
	var mask [16]byte
	binary.BigEndian.PutUint32(mask[:], stunCookie)
	copy(mask[4:], "punchlab ask") // the transaction's id
	v := []byte{0, 1}
	if at.Addr().Is6() {
		v[1] = 2
	}
	v = binary.BigEndian.AppendUint16(v, at.Port()^stunCookie>>16)
	for i, c := range at.Addr().AsSlice() {
		v = append(v, c^mask[i])
	}
	return stunAttribute(kind, v)
}
