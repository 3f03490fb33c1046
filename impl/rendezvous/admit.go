package rendezvous

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	pendingLife = 10 * time.Second // of an unconfirmed session
	retryFull   = time.Minute      // after which a device may try again that found no room
)

// pending is a session that waits for confirmation.
type pending struct {
	crypt         session.Compact
	remote, local netip.AddrPort
	initiation    [16]byte
	stamp         uint64 // the handshake's, which counts once the session is confirmed
	response      []byte
	started       time.Time
	answered      time.Time // last
	hello         hello
	timer         timer

	// Where another device with the same key is online: see contest.
	challenge uint64 // what its holder is pinged with; 0: nobody is asked
	asked     int    // how often
}

// hello is what a device said of itself.
type hello struct {
	role        Role
	boot        uint64
	certificate []byte
	token       []byte
}

func helloOf(m wire.Message) (h hello, err error) {
	version := uint8(0)
	switch m := m.(type) {
	case *wire.Register:
		version = m.Version
		h = hello{role: Camera, boot: m.Boot, certificate: m.Certificate}
	case *wire.Login:
		version = m.Version
		h = hello{role: Viewer, token: m.Token}
	default:
		return h, errUnasked
	}
	if version != wire.ProtocolVersion {
		return h, wire.CodeVersion
	}
	return h, nil
}

// load counts the handshakes of a second.
type load struct {
	since        time.Time
	came, opened int
	forged       int                  // had the right mac1, and did not open
	by           map[netip.Prefix]int // opened with a cookie, so that the source is not forged; nil: none
}

// sourceShare is how many sources use up what there is in a second: of handshakes beyond those that need no cookie, and of requests
// for cameras that are not online.
const sourceShare = 16

const (
	// pendingPart and forgedPart are parts of Config.HandshakesPerSecond. Where more sessions than the first wait for confirmation, or
	// more initiations of a second than the second did not open, somebody floods: who is honest confirms within a round trip, and opens.
	pendingPart = 8
	forgedPart  = 16
)

// loaded says whether an initiation needs a cookie.
func (s *Server) loaded() bool {
	n := s.cfg.HandshakesPerSecond
	return s.load.came > n || s.pending > n/pendingPart || s.load.forged > n/forgedPart
}

// source is whom a handshake is put down to: an address, or as much of one as a household or a rented server has.
func source(from netip.AddrPort) netip.Prefix {
	const bits6 = 56
	_, bare := core.ProtoOf(from)
	a, bits := bare.Addr(), bits6
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for too many bits alone
	return p
}

// initiation opens a handshake. Retransmissions get the same response again.
//
//	in a second       while nobody floods           beyond (loaded)      a source's share opened     HandshakesAtMost opened
//	an initiation     is opened                     needs a cookie       is dropped                  is dropped
func (s *Server) initiation(now time.Time, from, to netip.AddrPort, b []byte) error {
	l := &s.load
	if now.Sub(l.since) >= time.Second {
		*l = load{since: now}
	}
	l.came++
	loaded := s.loaded()
	if l.opened >= s.cfg.HandshakesAtMost || loaded && l.by[source(from)] >= max(1, s.cfg.HandshakesAtMost/sourceShare) {
		return errLoad
	}
	req, reply, err := s.responder.Open(now, from, loaded, b)
	if err != nil {
		if errors.Is(err, session.ErrAuth) || errors.Is(err, session.ErrPayload) {
			l.forged++
		}
		return err
	}
	if reply != nil {
		s.stats.Cookies++
		s.box.Send(to, from, core.Handshake, reply)
		return nil
	}
	l.opened++
	if loaded {
		if l.by == nil {
			l.by = map[netip.Prefix]int{}
		}
		l.by[source(from)]++
	}
	m, err := wire.Unmarshal(req.Payload())
	if err != nil {
		return err
	}
	h, err := helloOf(m)
	if err != nil {
		return err
	}
	c := s.known(req.Peer(), h.role)
	if c != nil {
		if p := c.pending(); p != nil && p.initiation == req.ID() && p.remote == from {
			p.answered = now
			s.box.Send(p.local, from, core.Handshake, p.response)
			return nil
		}
	}
	if req.Timestamp() <= s.stamp(c, req.Peer()) || c != nil && c.overtaken(req.Timestamp(), from) {
		return errOld
	}
	if d := s.judge(now, c, req.Peer(), from, h); d.Code != 0 {
		return s.deny(now, req, from, to, &d)
	}
	if c, err = s.client(now, req.Peer(), h.role); err != nil {
		return s.deny(now, req, from, to, &wire.Denied{Code: wire.CodeOverloaded, Retry: uint16(retryFull / time.Second)})
	}
	return s.accept(now, c, req, from, to, h)
}

// overtaken says whether a handshake is no newer than the one that is pending. Who comes from where the device is need not mind
// one from elsewhere: a copy of its key could otherwise keep it from renewing its session by timestamps that nothing follows.
func (c *client) overtaken(stamp uint64, from netip.AddrPort) bool {
	p := c.pending()
	return p != nil && (stamp == p.stamp || stamp < p.stamp && (!c.here() || from != c.remote || p.remote == from))
}

// stamp is the greatest timestamp of a key's handshakes whose sessions were confirmed. Others do not count: who copied the key for
// a moment could otherwise lock its device out for good, by the greatest timestamp that there is.
func (s *Server) stamp(c *client, k identity.PublicKey) uint64 {
	switch {
	case c != nil:
		return c.stamp
	case s.cfg.Store != nil:
		known, _ := s.cfg.Store.Load(k)
		return known.Stamp
	}
	return 0
}

// judge says why a device is not served; code 0: it is.
func (s *Server) judge(now time.Time, c *client, k identity.PublicKey, from netip.AddrPort, h hello) (d wire.Denied) {
	switch {
	case s.drain.begun:
		return wire.Denied{Code: wire.CodeShuttingDown, Retry: uint16(drainRetry / time.Second)}
	case h.role == Camera && s.cfg.Trust != nil:
		d.Code = s.cfg.Trust(now, k, h.certificate)
	case h.role == Viewer && s.cfg.Account != nil:
		d.Code = s.cfg.Account(now, k, h.token)
	}
	if d.Code == 0 && c != nil {
		if left := s.copied(now, c, from); left > 0 {
			d = wire.Denied{Code: wire.CodeDuplicateKey, Retry: uint16((left + time.Second - 1) / time.Second)}
		}
	}
	return d
}

// deny answers a handshake by what is no session, and keeps nothing.
func (s *Server) deny(now time.Time, req *session.Request, from, to netip.AddrPort, d *wire.Denied) error {
	payload, err := wire.Marshal(d)
	if err != nil {
		return err
	}
	_, response, err := req.AcceptCompact(payload)
	if err != nil {
		return err
	}
	s.stats.Denied++
	if d.Code == wire.CodeDuplicateKey {
		s.stats.Duplicates++
	}
	if s.reportable(now) {
		s.box.Emit(Denied{UID: req.Peer().UID(), From: from, Code: d.Code, At: now})
	}
	s.box.Send(to, from, core.Handshake, response)
	return nil
}

// reportable says whether another event of somebody who was sent away is emitted: many a second help nobody.
func (s *Server) reportable(now time.Time) bool { return s.denials.take(now, 5, 20, 1) }

// accept answers a handshake with a session that is pending until it is confirmed.
func (s *Server) accept(now time.Time, c *client, req *session.Request, from, to netip.AddrPort, h hello) error {
	expiry := uint16(s.cfg.Expiry / time.Second)
	var alternate wire.Endpoint
	if other := s.alternate(to); other.IsValid() {
		alternate = wire.At(other)
	}
	var answer wire.Message = &wire.LoggedIn{Endpoint: wire.At(from), Expiry: expiry, Alternate: alternate}
	if h.role == Camera {
		answer = &wire.Registered{Endpoint: wire.At(from), Keepalive: uint16(s.cfg.Keepalive / time.Second), Expiry: expiry,
			Alternate: alternate}
	}
	payload, err := wire.Marshal(answer)
	if err != nil {
		return err
	}
	crypt, response, err := req.AcceptCompact(payload)
	if err != nil {
		return err
	}
	s.stats.Handshakes++
	s.dropPending(c)
	p := &pending{crypt: crypt, remote: from, local: to, initiation: req.ID(), stamp: req.Timestamp(), response: response,
		started: now, answered: now, hello: h}
	p.timer.due = func(now time.Time) { s.late(now, c, p) }
	s.timers.set(&p.timer, now.Add(pendingLife))
	c.affairs().pending = p
	s.pending++
	s.byIndex[crypt.LocalIndex()] = c.id
	s.box.Send(to, from, core.Handshake, response)
	return nil
}

func (s *Server) dropPending(c *client) {
	p := c.pending()
	if p == nil {
		return
	}
	delete(s.byIndex, p.crypt.LocalIndex())
	s.timers.set(&p.timer, time.Time{})
	c.busy.pending = nil
	s.pending--
	c.settle()
}

// late is a pending session's timer.
func (s *Server) late(now time.Time, c *client, p *pending) {
	if p.challenge != 0 {
		s.unanswered(now, c, p)
		return
	}
	s.dropPending(c)
	if !c.proven {
		s.forget(now, c) // whoever sent the initiation may not even receive at the address that it names
	}
}

// unconfirmed takes what came by a session that is pending: it confirms it.
func (s *Server) unconfirmed(now time.Time, c *client, p *pending, from, to netip.AddrPort, b []byte) error {
	if now.Sub(p.started) >= pendingLife {
		return session.ErrExpired
	}
	m, err := s.open(&p.crypt, b)
	if err != nil {
		return err
	}
	if from != p.remote {
		return errSource
	}
	if s.held(c, p) {
		return s.contest(now, c, p, m)
	}
	if !s.confirm(now, c, p) {
		return errDismissed
	}
	return s.received(now, c, from, to, m, len(b))
}

// confirm makes a pending session the device's own: it has shown that it holds the keys and receives at its address. False: it
// is sent away instead, since it would not be admitted any more; there may be no record of it then.
func (s *Server) confirm(now time.Time, c *client, p *pending) bool {
	cert := s.certificateOf(p.hello.certificate)
	if code := s.fallen(now, c, cert); code != 0 {
		s.sendBy(&p.crypt, p.local, p.remote, core.Keepalive, &wire.Goodbye{Code: code})
		s.stats.Denied++
		s.dropPending(c)
		if !c.proven {
			s.forget(now, c)
		}
		return false
	}
	was, from := c.here(), c.remote
	moved := was && (c.remote != p.remote || s.sockets[c.local] != p.local)
	if was {
		delete(s.byIndex, c.crypt.LocalIndex())
		s.unwatch(now, c) // it asks anew by its new session
	}
	c.busy.pending = nil
	s.pending--
	s.timers.set(&p.timer, time.Time{})
	s.dropProbe(c)
	c.crypt, c.remote, c.local = p.crypt, p.remote, s.socket(p.local)
	c.started, c.reported, c.proven = s.at(p.started), 0, true
	c.stamp = max(c.stamp, p.stamp)
	c.setTrip(now.Sub(p.answered))
	s.certify(c, cert)
	s.heard(now, c)
	if was && moved {
		s.rebind(c)
		s.box.Emit(Moved{UID: c.uid(), From: from, To: c.remote, At: now})
	}
	if !was {
		s.arrived(now, c)
	}
	if b := p.hello.boot; b != 0 {
		c.boot = b
	}
	s.save(now, c)
	s.moved(now, c)
	c.settle()
	return true
}

// arrived makes a device one that is online.
func (s *Server) arrived(now time.Time, c *client) {
	u := c.uid()
	delete(s.names[c.role].away, u)
	s.names[c.role].online[u] = c.id
	c.busy.proxy = nil
	s.rebind(c)
	c.class, c.candidates = wire.Class{}, "" // it may be behind another NAT now
	c.since = s.at(now)
	if c.role == Camera {
		s.stats.Online++
		s.box.Emit(Online{UID: u, Key: c.key, Endpoint: c.remote, At: now})
		if !s.suspect(c) {
			s.changed(now, u, wire.StateOnline, now)
		}
	}
}

// makers are the public keys of those who made the cameras that are here: few, so that a record has a number alone.
type makers []identity.MakerPublic

// certificateOf reads a certificate. Where nobody asks for certificates they may be anything: that is the zero one.
func (s *Server) certificateOf(b []byte) identity.Certificate {
	if s.cfg.Standing == nil || len(b) == 0 {
		return identity.Certificate{}
	}
	cert, err := identity.ParseCertificate(b)
	if err != nil {
		return identity.Certificate{}
	}
	return cert
}

// certify keeps what a certificate says; of the zero one nothing.
func (s *Server) certify(c *client, cert identity.Certificate) {
	c.maker, c.serial, c.notBefore, c.notAfter = 0, 0, 0, 0
	if cert.Maker.IsZero() {
		return
	}
	at := slices.Index(s.makers, cert.Maker)
	if at < 0 && len(s.makers) < 1<<16-1 {
		at = len(s.makers)
		s.makers = append(s.makers, cert.Maker)
	}
	c.maker, c.serial, c.notBefore, c.notAfter = uint16(at+1), cert.Serial, cert.NotBefore, cert.NotAfter
}

// certificate is what certify kept; zero: nothing.
func (s *Server) certificate(c *client) identity.Certificate {
	if c.maker == 0 {
		return identity.Certificate{}
	}
	return identity.Certificate{Maker: s.makers[c.maker-1], Device: c.key, Serial: c.serial, NotBefore: c.notBefore, NotAfter: c.notAfter}
}
