package netfilter_test

import (
	"os"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/agree"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// raw is a router between two TUN devices, whose packets a test writes and reads itself.
type raw struct {
	t *testing.T
	*agree.Kernel
}

func newRaw(t *testing.T, c netfilter.Config) *raw {
	t.Helper()
	netnstest.Require(t, "netns", "nftables")
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skipf("no TUN device: %v", err)
	} else {
		f.Close()
	}
	k, err := agree.NewKernel(c)
	must(t, err)
	t.Cleanup(func() { must(t, k.Close()) })
	return &raw{t, k}
}

func newRawRouter(t *testing.T, b nat.Behavior) *raw {
	return newRaw(t, netfilter.Config{Behavior: b, Seed: 1})
}

// out sends a packet from inside and demands what comes out on the other side: the words of one packet, or "" for none.
func (r *raw) out(words, want string) { r.t.Helper(); r.pass(r.LAN, r.WAN, true, words, want) }

// in is out for a packet from outside.
func (r *raw) in(words, want string) { r.t.Helper(); r.pass(r.WAN, r.LAN, false, words, want) }

// hairpin is out for what comes back inside.
func (r *raw) hairpin(words, want string) { r.t.Helper(); r.pass(r.LAN, r.LAN, true, words, want) }

// refused is in for what is answered outside.
func (r *raw) refused(words, want string) { r.t.Helper(); r.pass(r.WAN, r.WAN, false, words, want) }

func (r *raw) pass(from, to *agree.TUN, inner bool, words, want string) {
	r.t.Helper()
	p, err := agree.ParsePacket(words)
	must(r.t, err)
	must(r.t, from.Send(p.Bytes(inner)))
	r.expect(to, words, want)
}

// drain takes what the devices still have to give.
func (r *raw) drain() {
	r.t.Helper()
	for _, d := range []*agree.TUN{r.LAN, r.WAN} {
		for b := []byte{0}; b != nil; {
			var err error
			b, err = d.Receive(0)
			must(r.t, err)
		}
	}
}

// expect demands what comes out on a device.
func (r *raw) expect(to *agree.TUN, why, want string) {
	r.t.Helper()
	wait := agree.Never
	if want != "" {
		wait = agree.Comes
	}
	if got := r.next(to, why, wait); got != want {
		r.t.Fatalf("%s\ngot  %q\nwant %q", why, got, want)
	}
}

// next is what comes out on a device: the words of one packet, or "".
func (r *raw) next(to *agree.TUN, why string, wait time.Duration) string {
	r.t.Helper()
	b, err := to.Receive(wait)
	must(r.t, err)
	if b == nil {
		return ""
	}
	q, err := agree.Parse(b)
	if err != nil {
		r.t.Fatalf("%s: %v", why, err)
	}
	return q.String()
}

// hurried tests something that lives for so long. What has to happen during its life may take longer on a busy machine: then it is
// given a longer one. Try says how long that took, and how to look at what came of it.
func hurried(try func(life time.Duration) (took time.Duration, look func())) {
	for life := 100 * time.Millisecond; ; life *= 4 {
		if took, look := try(life); took < life*3/4 || took > comes {
			look()
			return
		}
	}
}

// eventually repeats a packet from outside until it no longer passes.
func (r *raw) eventually(words string) {
	r.t.Helper()
	p, err := agree.ParsePacket(words)
	must(r.t, err)
	until(r.t, func() bool {
		must(r.t, r.WAN.Send(p.Bytes(false)))
		b, err := r.LAN.Receive(agree.Never)
		must(r.t, err)
		return b != nil
	})
}

func mustParse(t *testing.T, words string) *agree.Packet {
	t.Helper()
	p, err := agree.ParsePacket(words)
	must(t, err)
	return p
}

func mustRead(t *testing.T, b []byte) *agree.Packet {
	t.Helper()
	p, err := agree.Parse(b)
	must(t, err)
	return p
}
