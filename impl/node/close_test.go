package node

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// full is a socket whose device takes nothing.
type full struct {
	syscall.RawConn
	waits chan struct{}
}

func (f full) Write(func(uintptr) bool) error {
	return f.RawConn.Write(func(uintptr) bool {
		select {
		case f.waits <- struct{}{}:
		default:
		}
		return false
	})
}

// Close is not kept waiting by a packet that cannot leave.
func TestCloseWhileWriting(t *testing.T) {
	e := &echo{}
	conn := listen(t, "udp4", "127.0.0.1:0")
	s, err := newSocket(conn, Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{}, 1)
	s.raw = full{s.raw, waits}
	n := newNode(e, Options{Now: time.Now})
	n.mains, n.socks = []*socket{s}, map[netip.AddrPort]*socket{s.local: s}
	go n.Do(func(time.Time) {
		e.box.Begin()
		e.box.Send(netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:9"), core.Punch, []byte("x"))
	})
	<-waits
	done := make(chan error)
	go func() { done <- n.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Close waits")
	}
}
