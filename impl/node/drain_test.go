package node

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// What has come while nobody read is handed over together, and in order, however many calls it takes to read it.
func TestReadsAllThatWaits(t *testing.T) {
	for _, offload := range []bool{true, false} {
		conn, err := loopback()
		if err != nil {
			t.Fatal(err)
		}
		peer, err := loopback()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		const waiting = 2*inboundLen + 3
		for i := range waiting {
			// Of different sizes in a row, so that no two are coalesced.
			if _, err := peer.WriteTo([]byte(fmt.Sprintf("%0*d", 10+waiting-i, i)), conn.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		c := newTalker()
		n, err := New(c, []*net.UDPConn{conn}, Options{NoOffload: !offload})
		if err != nil {
			t.Fatal(err)
		}
		c.await(t, "all that waited", func() bool { return len(c.heard) >= waiting })
		for i, h := range c.heard {
			if want := fmt.Sprintf("%0*d", 10+waiting-i, i); h.text != want {
				t.Errorf("packet %d is %q, want %q", i, h.text, want)
			}
		}
		n.Do(func(time.Time) {}) // after the batch
		if s := n.Stats(); s.LargestReadBatch != waiting || s.Reads != 3 {
			t.Errorf("handed over %d at once, read by %d calls: want %d by 3", s.LargestReadBatch, s.Reads, waiting)
		}
		n.Close()
	}
}
