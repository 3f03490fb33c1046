package node

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// A guest that sends a byte now and then, and never a whole frame, does not keep its place.
func TestSlowGuest(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TCP)
	n, _ := start(t, Options{Accept: []Listener{l}, DialTimeout: 300 * time.Millisecond})
	c, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	frame := append(binary.BigEndian.AppendUint16(nil, 1000), make([]byte, 1000)...)
	begun := time.Now()
	for _, b := range frame {
		<-tick.C
		if _, err := c.Write([]byte{b}); err != nil {
			break
		}
		if time.Since(begun) > 20*time.Second { // of the 50 that the frame takes
			t.Fatal("still there after 20 s")
		}
	}
	eventually(t, "gone", func() bool { return n.Stats().Streams == 0 })
}

// Guests that take all the room there is for them leave the node free to dial.
func TestGuestsDoNotKeepFromDialling(t *testing.T) {
	leaves(t)
	far, to := acceptor(t, core.TCP)
	server, _ := start(t, Options{Accept: []Listener{far}})
	l, at := acceptor(t, core.TCP)
	n, c := start(t, Options{Accept: []Listener{l}, Dial: DialTCP, MaxStreams: 2})
	for range 2 {
		guest, err := net.Dial("tcp4", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer guest.Close()
	}
	eventually(t, "full of guests", func() bool { return n.Stats().Streams == 2 })
	c.say(n, netip.AddrPort{}, core.Over(core.TCP, to), "?a")
	c.hears(t, "!a")
	if s := server.Stats(); s.Accepted != 1 {
		t.Errorf("stats %+v", s)
	}
}
