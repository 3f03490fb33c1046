package attack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// A flood of SYNs is SYNs from where nobody is, of as many endpoints as are asked for, always the same for one seed.
func TestSYNFloodShots(t *testing.T) {
	at := netip.MustParseAddrPort("10.0.0.1:554")
	f := &SYNFlooder{Target: at, Endpoints: 16, Seed: 3}
	next, err := f.shots()
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.shots()
	if err != nil {
		t.Fatal(err)
	}
	from := map[netip.AddrPort]bool{}
	for i := range 1000 {
		s, ok := next(i)
		if other, _ := again(i); !ok || !s.SYN || s.To != at || s.From != other.From {
			t.Fatalf("shot %d: %+v, and by the same seed %+v", i, s, other)
		}
		if !netip.MustParsePrefix("198.18.0.0/15").Contains(s.From.Addr()) {
			t.Fatalf("shot %d comes from %v", i, s.From)
		}
		from[s.From] = true
	}
	if len(from) != 16 {
		t.Errorf("it claims to be %d endpoints, want 16", len(from))
	}
	if _, err := (&SYNFlooder{}).shots(); err == nil {
		t.Error("there is no target, and no error")
	}
}

// What is made of what a client says is of every kind, and none of it is what the client said.
func TestGarbage(t *testing.T) {
	said := []byte("DESCRIBE rtsp://192.0.2.1:8554/door RTSP/1.0\r\nCSeq: 7\r\n\r\n")
	g, same := newGarbler(5, [][]byte{nil, said}), newGarbler(5, [][]byte{said})
	kinds, lines := map[string]int{}, 0
	for i := range 20 * len(garbageKinds) {
		what := g.next(i)
		if other := same.next(i); !bytes.Equal(what.B, other.B) {
			t.Fatalf("garbage %d differs by the same seed", i)
		}
		if bytes.Equal(what.B, said) {
			t.Errorf("%s is what the client said", what.Kind)
		}
		if bytes.HasPrefix(what.B, []byte("DESCRIBE rtsp://192.0.2.1:8554/door RTSP/1.0\r\n")) {
			lines++
		}
		kinds[what.Kind] = max(kinds[what.Kind], len(what.B))
	}
	if len(kinds) != len(garbageKinds) || lines < 20 {
		t.Errorf("kinds with their longest: %v; %d begin as the client does", kinds, lines)
	}
	for _, k := range []string{"a request without an end", "an oversized header", "too many headers"} {
		if kinds[k] < oversized {
			t.Errorf("%s has %d bytes", k, kinds[k])
		}
	}
	if kinds["silence"] != 0 {
		t.Errorf("silence has %d bytes", kinds["silence"])
	}
}

// A server in the lab gets the garbage, each on a connection of its own, and no more than the budget; a flood of SYNs reaches it too.
func TestGarblerAndSYNFlood(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.EngineTable)
	victim := l.Host("victim")
	at := netip.AddrPortFrom(victim.Addr(), 554)
	listener, err := victim.ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var mu sync.Mutex
	heard := [][]byte{}
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_ = c.SetReadDeadline(time.Now().Add(patience))
				b := make([]byte, 4096)
				n, _ := bufio.NewReader(c).Read(b)
				mu.Lock()
				heard = append(heard, b[:n])
				mu.Unlock()
			})
		}
	})
	n := 3 * len(garbageKinds)
	// By this seed no request without an end ends by a reset, which takes from a server what it has not read yet.
	r, err := (&Garbler{Target: at, Rate: 1000, Seed: 14}).Run(t.Context(), l.Host("off-path"), Budget{Packets: n, Duration: 30 * time.Second})
	if err != nil || r.Ended != SpentPackets || r.Counts["connections"] != int64(n) || r.Counts["silence"] != 3 || r.Sent.Packets != int64(n-3) {
		t.Errorf("%v, %+v", err, r)
	}
	until(t, "the server has taken all", func() bool { mu.Lock(); defer mu.Unlock(); return len(heard) >= n }) // its last ones wait in its kernel
	_ = listener.Close()
	serving.Wait()
	long := 0
	for _, b := range heard {
		if strings.Contains(string(b), "AAAA") {
			long++
		}
	}
	if len(heard) != n || long < 3 {
		t.Errorf("the server took %d connections, and heard %d long requests", len(heard), long)
	}

	r, err = (&Garbler{Target: at, Rate: 1000}).Run(t.Context(), l.Host("off-path"), Budget{Packets: 5, Duration: 30 * time.Second})
	if err != nil || r.Counts["not taken: connection refused"] != 5 || r.Sent.Packets != 0 {
		t.Errorf("of a server that is gone: %v, %+v", err, r)
	}
	if _, err := (&Garbler{}).Run(t.Context(), l.Host("off-path"), Budget{Packets: 1, Duration: time.Second}); err == nil {
		t.Error("no target, and no error")
	}

	if listener, err = victim.ListenTCP(at); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var halves int
	until(t, "SYNs from where nobody is", func() bool {
		r, err = (&SYNFlooder{Target: at, Endpoints: 50}).Run(t.Context(), l.Host("off-path"), Budget{Packets: 200, Duration: 30 * time.Second})
		halves = halfOpen(t, victim)
		return err != nil || halves > 0
	})
	if err != nil || r.Sent.Packets != 200 || r.Ended != SpentPackets {
		t.Errorf("%v, %+v", err, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := l.Host("rendezvous").DialContext(ctx, "tcp", at.String())
	if err != nil {
		t.Fatalf("a right client is not served beside %d half-open connections: %v", halves, err)
	}
	c.Close()
	if _, err := (&SYNFlooder{Target: at}).Run(t.Context(), &lab.Machine{}, Budget{Packets: 1, Duration: time.Second}); !errors.Is(err, ErrNotLab) {
		t.Errorf("outside of a lab: %v", err)
	}
}

// halfOpen is how many connections of a host are half-open (state SYN_RECV), as its kernel lists them.
func halfOpen(t *testing.T, m *lab.Machine) (n int) {
	t.Helper()
	err := m.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/tcp")
		n = strings.Count(string(b), " 03 ")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A decoy is told the password by a client that answers Basic, and of one that answers Digest alone a proof.
func TestDecoy(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.EngineTable)
	ready := make(chan netip.AddrPort, 1)
	var mu sync.Mutex
	scheme, heard := AskBasic, []Login{}
	d := &Decoy{
		At: netip.AddrPortFrom(netip.Addr{}, 8554), Ready: func(at netip.AddrPort) { ready <- at },
		Ask:   func() string { mu.Lock(); defer mu.Unlock(); return scheme },
		Heard: func(l Login) { mu.Lock(); defer mu.Unlock(); heard = append(heard, l) },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var running sync.WaitGroup
	var r Report
	var err error
	running.Go(func() { r, err = d.Run(ctx, l.Host("rogue"), Budget{Packets: 7, Duration: 30 * time.Second}) })
	at := <-ready
	say := func(lines ...string) (got string) {
		c, err := l.Host("rogue").DialContext(ctx, "tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 2048)
		for _, line := range lines {
			if _, err := c.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
			n, _ := c.Read(buf)
			got += string(buf[:n])
		}
		return got
	}
	describe := "DESCRIBE rtsp://" + at.String() + "/door RTSP/1.0\r\nCSeq: 2\r\n"
	got := say("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", describe+"\r\n", describe+"Authorization: Basic dXNlcjpwYXNz\r\n\r\n")
	for _, want := range []string{"RTSP/1.0 200 OK\r\nContent-Length: 0\r\nCSeq: 1\r\n", "RTSP/1.0 401 ", "WWW-Authenticate: Basic realm=", "RTSP/1.0 404 "} {
		if !strings.Contains(got, want) {
			t.Errorf("the decoy does not say %q:\n%s", want, got)
		}
	}
	mu.Lock()
	scheme = AskDigest
	mu.Unlock()
	got = say("GET /door HTTP/1.1\r\nHost: x\r\n\r\n", "GET /door HTTP/1.1\r\nAuthorization: Digest username=\"user\"\r\n\r\n")
	if !strings.Contains(got, "HTTP/1.1 401 ") || !strings.Contains(got, `WWW-Authenticate: Digest realm="camera", nonce="`) {
		t.Errorf("asked for a digest the decoy says\n%s", got)
	}
	if got := say("noise\r\n\r\n"); got != "" {
		t.Errorf("noise is answered: %s", got)
	}
	say("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n")
	running.Wait()
	if err != nil || r.Ended != SpentPackets || r.Sent.Packets != 7 || r.Counts["logins by Basic"] != 1 || r.Counts["logins by Digest"] != 1 {
		t.Errorf("%v, %+v", err, r)
	}
	if len(r.Gained) != 1 || !strings.Contains(r.Gained[0], `password of user "user"`) {
		t.Errorf("it gained %q", r.Gained)
	}
	if user, password, ok := heard[0].Password(); user != "user" || password != "pass" || !ok {
		t.Errorf("the login is of %q, %q, %v", user, password, ok)
	}
	if len(heard) != 2 || heard[0].URI != "rtsp://"+at.String()+"/door" || heard[0].Method != "DESCRIBE" {
		t.Errorf("it heard %+v", heard)
	}
}
