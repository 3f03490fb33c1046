package rendezvous

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// A desk is the socket that many devices share. Each has an address of its own out of 127.0.0.0/8, as many homes have: no two
// datagrams to or from the server have one other end, so that neither it nor the kernel can take them together.
type desk struct {
	tb     testing.TB
	conn   *net.UDPConn
	batch  *ipv4.PacketConn
	server net.Addr

	out, in []ipv4.Message
	queued  int
}

const deskBatch = 64 // datagrams in a system call

func newDesk(tb testing.TB, server netip.AddrPort) *desk {
	tb.Helper()
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(8 << 20) // the kernel grants what it may
	d := &desk{tb: tb, conn: conn, batch: ipv4.NewPacketConn(conn), server: net.UDPAddrFromAddrPort(server)}
	for range deskBatch {
		d.out = append(d.out, ipv4.Message{Buffers: [][]byte{nil}, Addr: d.server})
		d.in = append(d.in, ipv4.Message{Buffers: [][]byte{make([]byte, 2048)}})
	}
	return d
}

// home is the address of the i-th device.
func home(i int) net.IP { return net.IPv4(127, byte(16+i>>16), byte(i>>8), byte(i)) }

// send queues a datagram of the i-th device, which must stay as it is until flush.
func (d *desk) send(i int, b []byte) {
	m := &d.out[d.queued]
	m.Buffers[0] = b
	m.OOB = (&ipv4.ControlMessage{Src: home(i)}).Marshal()
	if d.queued++; d.queued == len(d.out) {
		d.flush()
	}
}

func (d *desk) flush() {
	d.tb.Helper()
	for at := 0; at < d.queued; {
		n, err := d.batch.WriteBatch(d.out[at:d.queued], 0)
		if err != nil {
			d.tb.Fatal(err)
		}
		at += n
	}
	d.queued = 0
}

// read hands what has come to take, and waits for something until a time.
func (d *desk) read(until time.Time, take func(b []byte)) (some bool) {
	d.tb.Helper()
	_ = d.conn.SetReadDeadline(until)
	n, err := d.batch.ReadBatch(d.in, 0)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		d.tb.Fatal(err)
	}
	for i := range max(n, 0) {
		take(d.in[i].Buffers[0][:d.in[i].N])
	}
	return n > 0
}

// A crowd is devices with sessions, who do as they are told.
type crowd struct {
	*desk
	p       *process
	devices []*member
	byIndex map[uint32]int
	ping    []byte
}

// member is one of a crowd.
type member struct {
	hs   *session.Initiator // until it is answered
	sess *session.Session
	uid  identity.UID
}

func newCrowd(p *process) *crowd {
	c := &crowd{desk: newDesk(p.tb, p.at), p: p, byIndex: map[uint32]int{}}
	c.ping = c.marshal(&wire.Ping{Sequence: 1})
	return c
}

func (c *crowd) marshal(m wire.Message) []byte {
	c.tb.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		c.tb.Fatal(err)
	}
	return b
}

// exchange has count things done, of which so many at most are under way at a time. begin sends what begins the k-th; take is given
// what comes, by device, and says whether a thing is done by it.
func (c *crowd) exchange(count, window int, begin func(k int), take func(i int, b []byte) bool) {
	c.tb.Helper()
	const patience = 5 * time.Second
	for begun, done := 0, 0; done < count; {
		for ; begun < count && begun-done < window; begun++ {
			begin(begun)
		}
		c.flush()
		if !c.read(time.Now().Add(patience), func(b []byte) {
			index, ok := session.ReceiverIndex(b)
			if i, known := c.byIndex[index]; ok && known && take(i, b) {
				done++
			}
		}) {
			c.tb.Fatalf("%d of %d done, and nothing comes any more: %+v", done, count, c.p.stats())
		}
		c.flush()
	}
}

// open opens a datagram to a device.
func (c *crowd) open(i int, b []byte) wire.Message {
	c.tb.Helper()
	plain, err := c.devices[i].sess.Open(nil, b)
	if err != nil {
		c.tb.Fatal(err)
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		c.tb.Fatal(err)
	}
	return m
}

// window is how much is under way at a time: what a busy server has waiting for it.
const window = 128

// prepared is how many handshakes are made before they are sent, since that takes longer than to answer them.
const prepared = 2048

// enrol makes devices and puts them online. It returns the server's processor time, and leaves out what comes before each has sent
// its first datagram.
func (c *crowd) enrol(n int, hello wire.Message) (spent time.Duration) {
	c.tb.Helper()
	for left := n; left > 0; {
		k := min(left, prepared)
		first := len(c.devices)
		c.prepare(k, c.marshal(hello))
		begun := c.p.used()
		c.exchange(k, window, func(k int) { c.send(first+k, c.devices[first+k].hs.Message()) }, c.enrolled)
		spent += c.p.used() - begun
		left -= k
	}
	return spent
}

// prepare makes devices with their handshakes.
func (c *crowd) prepare(n int, hello []byte) {
	made := make([]*member, n)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				made[i] = c.newMember(hello)
			}
		})
	}
	wg.Wait()
	for _, d := range made {
		for d != nil && c.known(d.hs.LocalIndex()) { // among so many, some are drawn twice
			d = c.newMember(hello)
		}
		if d == nil {
			c.tb.FailNow()
		}
		c.byIndex[d.hs.LocalIndex()] = len(c.devices)
		c.devices = append(c.devices, d)
	}
}

func (c *crowd) known(index uint32) bool {
	_, ok := c.byIndex[index]
	return ok
}

func (c *crowd) newMember(hello []byte) *member {
	key, err := identity.NewKey(rand.Reader)
	if err != nil {
		c.tb.Error(err)
		return nil
	}
	hs, err := session.NewInitiator(session.Config{Static: key, Rand: rand.Reader, Prologue: []byte(core.PrologueRendezvous)}, c.p.key,
		uint64(time.Now().UnixNano()), hello)
	if err != nil {
		c.tb.Error(err)
		return nil
	}
	return &member{hs: hs, uid: key.Public().UID()}
}

// enrolled takes a response, which a ping confirms, and its pong.
func (c *crowd) enrolled(i int, b []byte) (done bool) {
	c.tb.Helper()
	d := c.devices[i]
	if d.hs == nil {
		_, pong := c.open(i, b).(*wire.Pong)
		return pong
	}
	var err error
	if d.sess, _, err = d.hs.Finish(b); err != nil {
		c.tb.Fatal(err)
	}
	d.hs = nil
	c.send(i, d.sess.Seal(nil, c.ping))
	return false
}
