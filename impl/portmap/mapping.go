package portmap

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// When a mapping is asked for again.
const (
	checkEvery  = 5 * time.Minute
	leastRenew  = 2 * time.Second
	firstAgain  = time.Second // after a failure, doubling
	lastAgain   = time.Minute
	leastPause  = time.Second // between two announcements that are acted upon
	searchEvery = 8           // failures between two searches for what else the gateway speaks
	youngEpoch  = 3           // s: of a gateway that had only just started, a reboot does not show in its epoch
)

// Mapping is a port mapping that is kept alive until Close. It is safe for concurrent use.
type Mapping struct {
	cfg     Config
	changed chan struct{}
	wake    chan struct{} // ask now
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	service service
	grant   grant
	ends    time.Time // of the grant; zero: never
	lost    bool
	closed  bool
	seen    netip.Addr
	told    netip.AddrPort // External, when Changed was last signalled
}

// keep starts to keep a mapping alive.
func keep(cfg Config, s service, g grant) *Mapping {
	ctx, stop := context.WithCancel(context.Background())
	m := &Mapping{
		cfg: cfg, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: stop,
		service: s, seen: cfg.Seen,
	}
	m.take(g)
	m.told = m.External()
	m.running.Go(func() { m.run(ctx) })
	m.listen(ctx)
	return m
}

// Method says by which protocol the port is mapped.
func (m *Mapping) Method() Method {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.service.method()
}

// External is the endpoint by which the internet reaches Config.Internal; zero while the mapping is lost, or its address is
// not believed.
func (m *Mapping) External() netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.external()
}

func (m *Mapping) external() netip.AddrPort {
	if m.lost || believe(m.grant.external.Addr(), m.seen) != nil {
		return netip.AddrPort{}
	}
	return m.grant.external
}

// Changed receives a value (one for several changes) after External has changed: the gateway has rebooted, got another
// address, granted another port, or maps no more. Close closes it.
func (m *Mapping) Changed() <-chan struct{} { return m.changed }

// Seen says by which address the rendezvous sees this host now, where that has changed: an external address that differs is
// no longer believed, and the gateway is asked at once. Zero: not known.
func (m *Mapping) Seen(a netip.Addr) {
	m.mu.Lock()
	m.seen = a
	m.mu.Unlock()
	m.tell()
	m.Check()
}

// Check asks the gateway for the mapping at once: something hints at a reboot.
func (m *Mapping) Check() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Close has the gateway forget the mapping, and ends what keeps it alive. A second Close does nothing.
func (m *Mapping) Close() error {
	m.stop()
	m.running.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	close(m.changed)
	if m.lost {
		return nil
	}
	m.lost = true
	ctx, cancel := context.WithTimeout(context.Background(), releasePatience)
	defer cancel()
	return m.service.release(ctx, m.grant)
}

// take notes what was granted.
func (m *Mapping) take(g grant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grant, m.lost, m.ends = g, false, time.Time{}
	if g.lifetime > 0 {
		m.ends = g.at.Add(g.lifetime)
	}
}

// tell signals a change of External, if there is one.
func (m *Mapping) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.external()
	if now == m.told || m.closed {
		return
	}
	m.told = now
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// run asks again and again.
func (m *Mapping) run(ctx context.Context) {
	failures := 0
	for {
		pause := m.pause(failures)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-m.wake:
			t.Stop()
		case <-t.C:
		}
		if m.renew(ctx, failures) == nil {
			failures = 0
		} else if ctx.Err() == nil {
			failures++
		}
		m.expire()
		m.tell()
	}
}

// pause is how long to wait before the mapping is asked for again.
func (m *Mapping) pause(failures int) time.Duration {
	if failures > 0 {
		return min(firstAgain<<min(failures-1, 10), lastAgain)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.grant.lifetime == 0 {
		return checkEvery
	}
	return max(min(m.grant.lifetime/2, checkEvery), leastRenew)
}

// renew asks for the mapping by the same service, and once that has failed often enough by whichever the gateway speaks now.
func (m *Mapping) renew(ctx context.Context, failures int) error {
	m.mu.Lock()
	s, port := m.service, m.grant.external.Port()
	m.mu.Unlock()
	if failures%searchEvery == searchEvery-1 {
		cfg := m.cfg
		m.mu.Lock()
		cfg.External, cfg.Seen = port, m.seen
		m.mu.Unlock()
		s, g, err := race(ctx, &cfg)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.service = s
		m.mu.Unlock()
		m.take(g)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	g, err := s.request(ctx, port)
	if err != nil {
		return err
	}
	m.take(g)
	return nil
}

// expire notes that the grant has ended without being renewed.
func (m *Mapping) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ends.IsZero() && time.Now().After(m.ends) {
		m.lost = true
	}
}

// listen wakes the mapping when the gateway announces that it has lost its state. Where the port is taken by another
// program of this host, announcements are missed: half the lease, or Check, has to do.
func (m *Mapping) listen(ctx context.Context) {
	conn, err := m.cfg.ListenPacket("udp4", announcePort)
	if err != nil {
		return
	}
	m.running.Go(func() {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		var acted time.Time
		b := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFrom(b)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				if !temporary(err) {
					return
				}
				continue
			}
			now := time.Now()
			if source(from).Addr() == m.cfg.Gateway && now.Sub(acted) >= leastPause && m.forgotten(now, b[:n]) {
				acted = now
				m.Check()
			}
		}
	})
}

// forgotten says whether an announcement tells that the mapping is gone, or has another address.
func (m *Mapping) forgotten(now time.Time, b []byte) bool {
	a, ok := parseAnnouncement(b)
	if !ok {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.grant.hasEpoch || m.grant.epoch <= youngEpoch || lostState(m.grant.epoch, a.epoch, now.Sub(m.grant.at)) ||
		a.external.IsValid() && a.external != m.grant.external.Addr()
}
