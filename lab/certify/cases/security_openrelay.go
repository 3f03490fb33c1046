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
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

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

// baitPort is where nothing else is.
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
	r := &relaying{s: s, x: x, relay: x.Relay()}
	r.at = x.Lab().Topology().AddrsFrom("viewer", r.relay)[0]
	r.all = forbidden(r.at)
	r.look()
	b, err := newBait(x, r.relay)
	if err != nil {
		return s.Judge(err), true
	}
	defer b.close()
	from := x.Tape().Mark()
	if err := r.ask(ctx, b.port); err != nil {
		return s.Judge(err), true
	}
	if err := s.Pause(ctx, s.For(5*time.Second, 200*time.Millisecond)); err != nil { // in which the relay may yet reach there
		return s.Judge(err), true
	}
	tcp, udp := openDoors(r.x.Tape().Packets(from, tape.At(r.relay)))
	r.count(atDoors(r.put, tcp, udp))
	return r.judge(r.reached(from), b.heard.Load())
}

// relaying is a relay that is asked for what it must refuse.
type relaying struct {
	s     *stage.Stage
	x     *stage.Set
	relay string              // its host
	at    netip.Addr          // as the viewer sees it
	all   []netip.Addr        // that it must not reach
	usual map[netip.Addr]bool // to which it had sent before
	ports [2][]uint16         // that it is asked at: UDP, TCP

	mu     sync.Mutex
	put    []plea
	asked  int    // requests that came to somebody
	agreed string // the first request that it did not refuse
	errs   []error
}

// plea is a request that was put.
type plea struct {
	tcp  bool
	port uint16 // at which
	yes  bool   // the answer
}

// look finds out where the relay takes packets, and where it sends them by itself.
func (r *relaying) look() {
	r.usual = map[netip.Addr]bool{}
	for _, p := range r.x.Tape().Packets(0, tape.From(r.relay)) {
		r.usual[p.Dst.Addr()] = true
	}
	r.ports = [2][]uint16{{3478}, {443, 1080, 3128, 8080}}
	for _, p := range r.x.Tape().Packets(0, tape.CameTo(r.relay), tape.To(r.at), tape.Any(tape.UDP, tape.TCP)) {
		kind := 0
		if tape.TCP(&p) {
			kind = 1
		}
		if n := p.Dst.Port(); !slices.Contains(r.ports[kind], n) && len(r.ports[kind]) < 8 {
			r.ports[kind] = append(r.ports[kind], n)
		}
	}
}

// ask puts all requests for all addresses at all ports, eight at once.
func (r *relaying) ask(ctx context.Context, port uint16) error {
	var putting sync.WaitGroup
	room := make(chan struct{}, 8)
	for _, a := range r.all {
		for _, q := range askings(netip.AddrPortFrom(a, port)) {
			kind := 0
			if q.tcp != nil {
				kind = 1
			}
			for _, at := range r.ports[kind] {
				room <- struct{}{}
				putting.Go(func() {
					defer func() { <-room }()
					answer, err := q.ask(ctx, r.x, netip.AddrPortFrom(r.at, at))
					r.took(plea{q.tcp != nil, at, q.yes(answer)}, fmt.Sprintf("%s for %v at port %d", q.name, a, at), err)
				})
			}
		}
	}
	putting.Wait()
	return cmp.Or(errors.Join(r.errs...), ctx.Err())
}

// took keeps a request and its answer.
func (r *relaying) took(q plea, what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	r.put = append(r.put, q)
	if q.yes && r.agreed == "" {
		r.agreed = what
	}
}

// count counts tries.
func (r *relaying) count(tries []plea) {
	r.asked = len(tries)
	for _, q := range tries {
		r.s.Saw("tries", 1)
		r.s.Try(q.yes)
	}
}

// atDoors are the requests that are tries: those put at open doors, and those that were answered by yes. What came to nobody, nobody has refused.
func atDoors(put []plea, tcp, udp map[uint16]bool) (tries []plea) {
	for _, q := range put {
		if q.yes || q.tcp && tcp[q.port] || !q.tcp && udp[q.port] {
			tries = append(tries, q)
		}
	}
	return tries
}

// openDoors are a host's ports, by its packets: those of TCP from which a connection was taken, and those of UDP to which datagrams came, none of
// which its system refused by ICMP.
func openDoors(ps []tape.Packet) (tcp, udp map[uint16]bool) {
	tcp, udp = map[uint16]bool{}, map[uint16]bool{}
	for _, p := range tape.Select(ps, tape.Out, tape.Flags(packet.SYN|packet.ACK, 0)) {
		tcp[p.Src.Port()] = true
	}
	for _, p := range tape.Select(ps, tape.In, tape.UDP) {
		udp[p.Dst.Port()] = true
	}
	for _, p := range tape.Select(ps, tape.Out, tape.ICMP) {
		if port, ok := refused(p.Payload); ok {
			delete(udp, port)
		}
	}
	return tcp, udp
}

// reached counts the relay's packets to addresses that it must not reach, from a position of the tape on.
func (r *relaying) reached(from int) map[netip.Addr]int {
	reached := map[netip.Addr]int{}
	for _, p := range r.x.Tape().Packets(from, tape.From(r.relay)) {
		if a := p.Dst.Addr(); slices.Contains(r.all, a) && !r.usual[a] {
			reached[a]++
		}
	}
	return reached
}

// judge: heard is how often a service of the relay's own host was reached.
func (r *relaying) judge(reached map[netip.Addr]int, heard int64) (certify.Result, bool) {
	s := r.s
	s.Record(map[string]any{"requests": len(r.put), "at open doors": r.asked, "ports": r.ports, "addresses": len(r.all), "agreed": r.agreed,
		"the host's own service heard": heard, "packets to forbidden addresses": len(reached)})
	s.Note("the relay was asked %d times, %d of them at open doors, for %d addresses at UDP ports %v and TCP ports %v", len(r.put), r.asked,
		len(r.all), r.ports[0], r.ports[1])
	s.Note("its host's own service heard %d, packets went to %d of the addresses", heard, len(reached))
	switch {
	case heard > 0:
		return s.Fail("a service of the relay's own host at 127.0.0.1 was reached %d times in %d requests to the relay", heard, r.asked), true
	case len(reached) > 0:
		return s.Fail("the relay sent packets to %d addresses that it must not reach, in %d requests: %v", len(reached), r.asked, reached), true
	case r.agreed != "":
		return s.Fail("the relay agreed to %s, which it must refuse", r.agreed), true
	case r.asked == 0:
		return s.Inconclusive("none of %d requests came to an open door of the relay, at UDP ports %v and TCP ports %v: it refused nothing", len(r.put),
			r.ports[0], r.ports[1]), true
	}
	return certify.Result{}, false
}

// answerWithin is how long an answer by UDP is waited for.
const answerWithin = 40 * time.Millisecond

// ask puts a request, and returns what is answered. That nothing is, or nobody listens, is no error.
func (q *asking) ask(ctx context.Context, x *stage.Set, at netip.AddrPort) (answer []byte, err error) {
	if q.tcp == nil {
		return q.askUDP(x, at)
	}
	return q.askTCP(ctx, x, at), nil
}

func (q *asking) askUDP(x *stage.Set, at netip.AddrPort) (answer []byte, err error) {
	c, err := x.Host("viewer").ListenUDP(netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for _, b := range q.udp {
		if _, err := c.WriteToUDPAddrPort(b, at); err != nil {
			return nil, nil // refused by ICMP
		}
	}
	var buf [4096]byte
	for end := time.Now().Add(answerWithin); ; {
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

func (q *asking) askTCP(ctx context.Context, x *stage.Set, at netip.AddrPort) (answer []byte) {
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := x.Host("viewer").DialTCP(within, netip.AddrPort{}, at)
	if err != nil {
		return nil // nobody listens
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * answerWithin))
	var rw io.ReadWriter = c
	if at.Port() == 443 {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "relay"}) // whoever it is: it is asked, not trusted
		if t.HandshakeContext(within) == nil {
			rw = t
			_ = c.SetDeadline(time.Now().Add(answerWithin))
		}
	}
	var buf [4096]byte
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
	return answer
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
	binary.BigEndian.PutUint32(b[4:], magicCookie)
	copy(b[8:], "punchlab asks")
	for _, a := range attributes {
		b = append(b, a...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	return b
}

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
	binary.BigEndian.PutUint32(mask[:], magicCookie)
	copy(mask[4:], "punchlab ask") // the transaction's id
	v := []byte{0, 1}
	if at.Addr().Is6() {
		v[1] = 2
	}
	v = binary.BigEndian.AppendUint16(v, at.Port()^magicCookie>>16)
	for i, c := range at.Addr().AsSlice() {
		v = append(v, c^mask[i])
	}
	return stunAttribute(kind, v)
}
