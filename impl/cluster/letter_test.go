package cluster

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
)

func newTestSecrets(t testing.TB) (*secrets, identity.Key) {
	t.Helper()
	k, err := identity.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSecrets(k)
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// What is sealed opens for whom and where it is meant, and nowhere else.
func TestSeal(t *testing.T) {
	a, k := newTestSecrets(t)
	b, _ := newTestSecrets(t)
	same, err := newSecrets(k)
	if err != nil {
		t.Fatal(err)
	}
	if a.id != same.id || a.id == b.id {
		t.Errorf("clusters are called %s, %s and %s", a.id, same.id, b.id)
	}
	sealed, err := a.seal(rand.Reader, "here", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := same.open("here", sealed); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another place":   func() ([]byte, error) { return a.open("there", sealed) },
		"another cluster": func() ([]byte, error) { return b.open("here", sealed) },
		"nothing":         func() ([]byte, error) { return a.open("here", nil) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened %q", name, got)
		}
	}
	for i := range sealed {
		c := bytes.Clone(sealed)
		c[i] ^= 1
		if _, err := a.open("here", c); err == nil {
			t.Errorf("byte %d changed: opened", i)
		}
	}
	if private := k.Private(); bytes.Contains([]byte(a.id), private[:4]) {
		t.Error("the name tells of the key")
	}
}

func aVisit(t testing.TB) rendezvous.Visit {
	t.Helper()
	_, k := newTestSecrets(t)
	endpoint := netip.MustParseAddrPort("[::ffff:192.0.2.1%tcp]:443")
	return rendezvous.Visit{
		Device: k.Public(), Role: rendezvous.Viewer, Stamp: 7, Proxy: rendezvous.Proxy{Endpoint: endpoint, RTT: time.Second},
		Class: wire.Class{Timeout: 30}, Candidates: []wire.Endpoint{wire.At(netip.MustParseAddrPort("[2001:db8::1]:5"))}, From: endpoint,
		Message: &wire.Again{ID: 3, Relay: true},
	}
}

// A visit arrives as it left, and names the node that it came from.
func TestVisitTravels(t *testing.T) {
	v := aVisit(t)
	p, err := pack(v)
	if err != nil {
		t.Fatal(err)
	}
	tie := rendezvous.Tie{Viewer: v.Device, ViewerID: 3, CameraID: 4}
	b, err := (&letter{Kind: kindVisit, Node: "n", Epoch: 1, Visit: p, Tie: &tie}).marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Visit.unpack(l.Node)
	if err != nil {
		t.Fatal(err)
	}
	v.Proxy.Node = "n"
	addrs := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(v, got, addrs); diff != "" || *l.Tie != tie {
		t.Errorf("%+v\n%s", l.Tie, diff)
	}
	if len(b) > 1024 {
		t.Errorf("a visit takes %d bytes", len(b))
	}
}

// Nodes do not take what no node says.
func TestBadLetters(t *testing.T) {
	v := aVisit(t)
	for name, change := range map[string]func(*visit){
		"a camera's":      func(p *visit) { p.Role = rendezvous.Camera },
		"no endpoint":     func(p *visit) { p.Endpoint = netip.AddrPort{} },
		"no source":       func(p *visit) { p.From = netip.AddrPort{} },
		"time runs back":  func(p *visit) { p.RTT = -1 },
		"not a report":    func(p *visit) { p.Report, _ = wire.Marshal(&wire.Ping{Sequence: 1}) },
		"no report":       func(p *visit) { p.Report = nil },
		"a cut message":   func(p *visit) { p.Message = p.Message[:len(p.Message)-1] },
		"another message": func(p *visit) { p.Message = []byte{1} },
	} {
		p, err := pack(v)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		if _, err := p.unpack("n"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, l := range map[string]letter{"no sender": {Epoch: 1}, "a subject": {Node: "a.>", Epoch: 1}, "no epoch": {Node: "n"}} {
		b, err := l.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unmarshal(b); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzLetter(f *testing.F) {
	v := aVisit(f)
	p, err := pack(v)
	if err != nil {
		f.Fatal(err)
	}
	b, err := (&letter{Kind: kindVisit, Node: "n", Epoch: 1, Visit: p}).marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := unmarshal(b)
		if err != nil {
			return
		}
		if l.Visit != nil {
			_, _ = l.Visit.unpack(l.Node)
		}
		if _, err := l.marshal(); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// A trunk carries frames one way, each once, in any order within a window.
func TestTrunk(t *testing.T) {
	s, k := newTestSecrets(t)
	here, there := s.trunk(1, 2), s.trunk(2, 1)
	data := []byte("a datagram")
	var frames [][]byte
	for range 3000 {
		frames = append(frames, here.seal(nil, 1, k.Public(), 0x4001, data))
	}
	if len(frames[0]) != frameOverhead+channelHead+len(data) || frames[0][0] != rendezvous.TypeNode {
		t.Errorf("a frame of %d bytes, type %d", len(frames[0]), frames[0][0])
	}
	open := func(i int) error {
		device, frame, err := there.open(bytes.Clone(frames[i]))
		if err != nil {
			return err
		}
		channel, got, err := wire.ParseChannelData(frame)
		if err != nil || device != k.Public() || channel != 0x4001 || !bytes.Equal(got, data) {
			t.Errorf("frame %d: %v, %x, %q, %v", i, device, channel, got, err)
		}
		return nil
	}
	for _, step := range []struct {
		i  int
		ok bool
	}{
		{0, true}, {0, false}, {5, true}, {3, true}, {3, false}, {1500, true}, {4, false}, {477, true}, {476, false}, {477, false}, {2999, true},
		{1500, false},
	} {
		if err := open(step.i); (err == nil) != step.ok {
			t.Errorf("frame %d: %v", step.i, err)
		}
	}
	if _, _, err := here.open(bytes.Clone(frames[7])); err == nil {
		t.Error("a frame was reflected to its sender")
	}
	bad := bytes.Clone(frames[2998])
	bad[len(bad)-1] ^= 1
	if _, _, err := there.open(bad); err == nil {
		t.Error("a forged frame was taken")
	}
	if err := open(2998); err != nil {
		t.Errorf("after a forged one with its number: %v", err)
	}
}

// A queue does what it is given in order, refuses what it has no room for, and ends.
func TestQueue(t *testing.T) {
	q := newQueue(3)
	var got []int
	for i := range 4 {
		if q.push(func() {
			if got = append(got, i); i == 2 {
				q.close()
			}
		}) != (i < 3) {
			t.Errorf("job %d", i)
		}
	}
	q.work()
	if !slices.Equal(got, []int{0, 1, 2}) || q.push(func() {}) || q.len() != 0 {
		t.Errorf("did %v", got)
	}
}

// Routes are found again while they are used, and others make room.
func TestRoutes(t *testing.T) {
	var r routes
	_, k := newTestSecrets(t)
	key := func(i int) routeKey { return routeKey{k.Public(), uint64(i)} }
	r.add(key(0), route{home: "first"})
	for i := range 3 * maxRoutes {
		r.add(key(i+1), route{home: "n"})
		if i%1000 == 0 {
			if to, ok := r.find(key(0)); !ok || to.home != "first" {
				t.Fatalf("the route in use was forgotten after %d", i)
			}
		}
	}
	if n := len(r.young) + len(r.old); n > 2*maxRoutes+2 {
		t.Errorf("%d routes are kept", n)
	}
	if _, ok := r.find(key(1)); ok {
		t.Error("an unused one is kept")
	}
}

func TestConfig(t *testing.T) {
	_, k := newTestSecrets(t)
	for name, c := range map[string]Config{
		"no key": {Name: "n"}, "no name": {Key: k}, "a subject": {Key: k, Name: "a.b"}, "dead at once": {Key: k, Name: "n", Dead: 1},
		"too many": {Key: k, Name: "n", Replicas: 6},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
