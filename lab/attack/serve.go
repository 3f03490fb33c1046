package attack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/lab"
)

// metered is a core that sends no more than its budget.
type metered struct {
	core.Core
	account  *meter
	received *Count
	now      time.Time
}

func (m *metered) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	m.now = now
	m.received.add(len(b))
	m.Core.HandlePacket(now, from, to, b)
}

func (m *metered) HandleTimeout(now time.Time) {
	m.now = now
	m.Core.HandleTimeout(now)
}

// Ready is the core's, cut where the budget ends.
func (m *metered) Ready() core.Output {
	out := m.Core.Ready()
	for i, p := range out.Packets {
		if !m.account.take(m.now, len(p.B)) {
			out.Packets = out.Packets[:i]
			break
		}
	}
	return out
}

// served is what serve runs.
type served struct {
	core  core.Core
	at    netip.AddrPort // of its socket; zero: any
	start func(now time.Time) error
	over  <-chan struct{} // closed when the core has nothing more to do; nil: it never says
	ready func()
}

// serve drives a core on a host until its budget is spent.
func serve(ctx context.Context, m *lab.Machine, b Budget, s served, r *Report) error {
	conn, err := m.ListenUDP(s.at)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Attack, err)
	}
	begun := time.Now()
	account := newMeter(b, begun)
	defer account.watch(ctx)()
	n, err := node.New(&metered{Core: s.core, account: account, received: &r.Received, now: begun}, []*net.UDPConn{conn}, node.Options{})
	if err != nil {
		conn.Close()
		return fmt.Errorf("%s: %w", r.Attack, err)
	}
	if s.start != nil {
		n.Do(func(now time.Time) { err = s.start(now) })
	}
	if err == nil {
		if s.ready != nil {
			s.ready()
		}
		select {
		case <-account.over:
		case <-s.over:
			account.end(Done)
		}
	}
	if e := n.Close(); err == nil {
		err = e
	}
	account.write(r)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Attack, err)
	}
	return nil
}
