package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

// acceptor listens on a loopback port for streams.
func acceptor(t testing.TB, proto core.Proto) (Listener, netip.AddrPort) {
	t.Helper()
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	return Listener{l, proto}, endpoint(l.Addr())
}

func TestStreams(t *testing.T) {
	leaves(t)
	for _, proto := range []core.Proto{core.TCP, core.TLS} {
		l, at := acceptor(t, proto)
		server, sc := start(t, Options{Accept: []Listener{l}})
		own, from := acceptor(t, core.TCP)
		n, c := start(t, Options{Dial: DialTCP, Accept: []Listener{own}})
		to := core.Over(proto, at)
		long := strings.Repeat("z", maxFrame-1)
		c.say(n, netip.AddrPort{}, to, "?a", "", "?b", "?"+long)
		for _, text := range []string{"!a", "!b", "!" + long} {
			if h := c.hears(t, text); h.from != to || h.to != core.Over(proto, from) {
				t.Errorf("%v: %.5q came from %v to %v", proto, text, h.from, h.to)
			}
		}
		if h := sc.hears(t, "?a"); h.from != core.Over(proto, from) || h.to != to {
			t.Errorf("%v: the server heard it from %v, at %v", proto, h.from, h.to)
		}
		sc.hears(t, "")
		if s := n.Stats(); s.Dialled != 1 || s.Streams != 1 || s.StreamDrops != 0 {
			t.Errorf("%v: stats %+v", proto, s)
		}

		// Ended by the core after what it sends; begun again by the next packet.
		n.Do(func(time.Time) {
			c.box.Begin()
			c.box.Send(netip.AddrPort{}, to, core.Punch, []byte("bye"))
			c.box.Close(to)
		})
		sc.hears(t, "bye")
		eventually(t, "ended at the server", func() bool { return server.Stats().Streams == 0 })
		c.say(n, netip.AddrPort{}, to, "?again")
		c.hears(t, "!again")

		// Ended by the server's death; packets until that is known are lost, then it is dialled anew.
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		eventually(t, "ended here", func() bool { return n.Stats().Streams == 0 })
		c.say(n, netip.AddrPort{}, to, "lost")
		eventually(t, "refused", func() bool { return n.Stats().DialErrors == 1 })
		if s := n.Stats(); s.StreamDrops != 1 || s.Streams != 0 || s.Dialled != 2 {
			t.Errorf("%v: stats %+v", proto, s)
		}
		n.Close()
	}
}

// What is queued when the node is closed still leaves, and a server that takes nothing does not keep it from closing.
func TestCloseFlushesStreams(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TCP)
	_, sc := start(t, Options{Accept: []Listener{l}})
	n, c := start(t, Options{Dial: DialTCP})
	to := core.Over(core.TCP, at)
	c.say(n, netip.AddrPort{}, to, "?a")
	c.hears(t, "!a")
	var texts []string
	for i := range 50 {
		texts = append(texts, fmt.Sprint(i, strings.Repeat("x", 1000)))
	}
	c.say(n, netip.AddrPort{}, to, texts...)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	sc.hears(t, texts[49])
}

// silent accepts connections and reads nothing.
func silent(t *testing.T) (netip.AddrPort, chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 10)
	go func() {
		defer close(conns)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for c := range conns {
			c.Close()
		}
	})
	return endpoint(l.Addr()), conns
}

// A stream that takes nothing drops packets and holds up neither the core nor Close.
func TestBackloggedStream(t *testing.T) {
	leaves(t)
	at, _ := silent(t)
	n, c := start(t, Options{Dial: DialTCP})
	to := core.Over(core.TCP, at)
	packet := strings.Repeat("x", 1200)
	c.say(n, netip.AddrPort{}, to, packet)
	eventually(t, "connected", func() bool { return n.Stats().Dialled == 1 })
	for range 20_000 { // 24 MB, more than the kernel takes
		c.say(n, netip.AddrPort{}, to, packet)
	}
	if s := n.Stats(); s.StreamDrops == 0 || s.Streams != 1 {
		t.Errorf("stats %+v", s)
	}
	c.say(n, netip.AddrPort{}, n.LocalAddrs()[0], "meanwhile")
	c.hears(t, "meanwhile")
	begun := time.Now()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// A dial that does not end is bounded, in time and in what waits for it; Close does not wait for it.
func TestDialling(t *testing.T) {
	leaves(t)
	dialled := make(chan context.Context, 10)
	n, c := start(t, Options{MaxStreams: 2, DialTimeout: time.Hour, Dial: func(ctx context.Context, _, _ netip.AddrPort) (net.Conn, error) {
		dialled <- ctx
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	to := core.Over(core.TCP, netip.MustParseAddrPort("192.0.2.1:1"))
	for range maxWaiting + 7 {
		c.say(n, netip.AddrPort{}, to, "x")
	}
	c.say(n, netip.AddrPort{}, core.Over(core.TLS, netip.MustParseAddrPort("192.0.2.1:1")), "x")
	c.say(n, netip.AddrPort{}, core.Over(core.TLS, netip.MustParseAddrPort("192.0.2.1:2")), "one stream too many")
	if s := n.Stats(); s.StreamDrops != 8 || s.Streams != 2 {
		t.Errorf("stats %+v", s)
	}
	first, second := <-dialled, <-dialled
	if d, ok := first.Deadline(); !ok || time.Until(d) > time.Hour {
		t.Errorf("dialled until %v", d)
	}
	n.Do(func(time.Time) { c.box.Begin(); c.box.Close(to) })
	select { // whichever came first
	case <-first.Done():
	case <-second.Done():
	case <-time.After(10 * time.Second):
		t.Error("dialling goes on for nobody")
	}
	if s := n.Stats(); s.Streams != 1 {
		t.Errorf("stats %+v", s)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}

	n, c = start(t, Options{})
	c.say(n, netip.AddrPort{}, to, "nobody dials")
	if s := n.Stats(); s.StreamDrops != 1 || s.Streams != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Two sides that dial each other at once, each from the port on which it listens, have one stream: by simultaneous open,
// or by the listener that was faster.
func TestBothSidesDial(t *testing.T) {
	leaves(t)
	for round := range 30 {
		la, a := acceptor(t, core.TCP)
		lb, b := acceptor(t, core.TCP)
		na, ca := start(t, Options{Dial: DialTCP, Accept: []Listener{la}})
		nb, cb := start(t, Options{Dial: DialTCP, Accept: []Listener{lb}})
		go ca.say(na, netip.AddrPort{}, core.Over(core.TCP, b), "?a")
		cb.say(nb, netip.AddrPort{}, core.Over(core.TCP, a), "?b")
		ca.hears(t, "!a")
		cb.hears(t, "!b")
		if s, o := na.Stats(), nb.Stats(); s.Streams != 1 || o.Streams != 1 || s.StreamDrops+o.StreamDrops > 0 {
			t.Fatalf("round %d: stats %+v and %+v", round, s, o)
		}
		na.Close()
		nb.Close()
	}
}

// Without a listener that could take it, a simultaneous open is the only way: both sides' SYNs cross.
func TestSimultaneousOpen(t *testing.T) {
	leaves(t)
	la, a := acceptor(t, core.TCP)
	lb, b := acceptor(t, core.TCP)
	la.Close()
	lb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	conns := make(chan net.Conn, 2)
	connect := func(from, to netip.AddrPort) {
		for {
			c, err := DialTCP(ctx, from, to)
			if err == nil || ctx.Err() != nil {
				conns <- c
				return
			}
		}
	}
	go connect(a, b)
	go connect(b, a)
	x, y := <-conns, <-conns
	if x == nil || y == nil {
		t.Fatal("the two sides did not meet")
	}
	defer x.Close()
	defer y.Close()
	if x.LocalAddr().String() != y.RemoteAddr().String() || x.RemoteAddr().String() != y.LocalAddr().String() {
		t.Errorf("two streams: %v–%v and %v–%v", x.LocalAddr(), x.RemoteAddr(), y.LocalAddr(), y.RemoteAddr())
	}
}

// frame is a packet as RFC 4571 has it.
func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// However the bytes come, the frames are the same; one that is too large ends the stream.
func TestFramesInPieces(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TCP)
	n, c := start(t, Options{Accept: []Listener{l}})
	tooLarge := func(conn net.Conn, b []byte) {
		t.Helper()
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); isTimeout(err) || err == nil {
			t.Errorf("after a frame that is too large, of which %d bytes came: %v", len(b), err)
		}
	}
	var all []byte
	var want []string
	for i := range 40 {
		text := fmt.Sprint(i, strings.Repeat("x", i*50))
		want = append(want, text)
		all = append(all, frame([]byte(text))...)
	}
	for _, piece := range []int{1, 7, 1000, 1 << 20} {
		c.note(func() { c.heard = nil })
		conn, err := net.Dial("tcp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		for b := range slices.Chunk(all, piece) {
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		c.hears(t, want[39])
		var got []string
		c.note(func() {
			for _, h := range c.heard {
				got = append(got, h.text)
			}
		})
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %d frames", piece, len(got))
		}
		tooLarge(conn, append(frame([]byte("fine")), frame(make([]byte, maxFrame+1))...))
		c.hears(t, "fine")
		conn.Close()
	}
	conn, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tooLarge(conn, []byte{0xFF, 0xFF})
	if s := n.Stats(); s.StreamErrors != 5 || s.Accepted != 5 {
		t.Errorf("stats %+v", s)
	}
}

// FuzzFrames: whatever comes, what is taken for frames is what they are, and nothing is taken twice or out of bounds.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 1, 'x', 0, 0, 0, 2, 'y'})
	f.Add([]byte{255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		rest := b
		for {
			p, whole := cut(rest)
			if !whole {
				break
			}
			again = append(again, frame(p)...)
			rest = rest[lengthSize+len(p):]
		}
		if !bytes.Equal(append(again, rest...), b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func TestGuestsAreFew(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TCP)
	n, _ := start(t, Options{Accept: []Listener{l}, MaxStreamsEach: 3})
	var conns []net.Conn
	dial := func() net.Conn {
		conn, err := net.Dial("tcp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	for range 3 {
		conns = append(conns, dial())
	}
	eventually(t, "three streams", func() bool { return n.Stats().Streams == 3 })
	fourth := dial()
	fourth.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := fourth.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a fourth stream: %v", err)
	}
	conns[0].Close()
	eventually(t, "two streams", func() bool { return n.Stats().Streams == 2 })
	dial()
	eventually(t, "three streams again", func() bool { return n.Stats().Streams == 3 })
}

// A client that does not speak TLS, or says nothing, is no stream and does not keep Close waiting.
func TestHandshakesThatFail(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TLS)
	n, _ := start(t, Options{Accept: []Listener{l}})
	for _, hello := range []string{"GET / HTTP/1.1\r\n\r\n", ""} {
		conn, err := net.Dial("tcp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, hello)
	}
	eventually(t, "failed", func() bool { return n.Stats().StreamErrors == 1 })
	old, err := tls.Dial("tcp4", at.String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		old.Close()
		t.Error("TLS 1.2 was accepted")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// A port that a connection still holds is tried again, and then another one does.
func TestDialFromAPortInUse(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TCP)
	start(t, Options{Accept: []Listener{l}})
	own, from := acceptor(t, core.TCP)
	var locals []netip.AddrPort
	n, c := start(t, Options{Accept: []Listener{own}, Dial: func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
		locals = append(locals, local)
		if local.IsValid() {
			return nil, &net.OpError{Op: "dial", Err: unix.EADDRNOTAVAIL}
		}
		return DialTCP(ctx, local, remote)
	}})
	c.say(n, netip.AddrPort{}, core.Over(core.TCP, at), "?a")
	c.hears(t, "!a")
	if len(locals) != takenTries+2 || locals[0] != from || locals[takenTries+1].IsValid() {
		t.Errorf("dialled from %v", locals)
	}
}
