package viewer

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// Why packets are dropped, beside what session, wire and media say.
var (
	errKind    = errors.New("not a datagram for a viewer")
	errStray   = errors.New("from nobody who is watched")
	errUnasked = errors.New("message that nobody asked for")
	errRepeat  = errors.New("punch seen before")
	errEarly   = errors.New("too much media before the handshake's answer")
)

// live lists the connections: some may be gone, or replaced, before the list has been gone through.
func (v *Viewer) live() []*attempt { return slices.Clone(v.watches) }

// watching is the connection with a camera; nil: there is none.
func (v *Viewer) watching(camera identity.UID) *attempt {
	return v.find(func(a *attempt) bool { return a.uid == camera })
}

// asked is the connection of an id; nil: there is none.
func (v *Viewer) asked(id uint64) *attempt {
	return v.find(func(a *attempt) bool { return a.id == id })
}

func (v *Viewer) find(is func(*attempt) bool) *attempt {
	if at := slices.IndexFunc(v.watches, is); at >= 0 {
		return v.watches[at]
	}
	return nil
}

// tend opens and closes the sockets that the agents want.
func (v *Viewer) tend(now time.Time) {
	for _, a := range v.watches {
		a.tend(now)
	}
}

func (v *Viewer) handle(now time.Time, path punch.Path, b []byte) error {
	if wire.Classify(b) == wire.ChannelData {
		channel, data, err := wire.ParseChannelData(b)
		if err != nil {
			return err
		}
		if !v.link.IsRemote(path.Addr) {
			return errStray
		}
		return v.hand(now, punch.ViaRelay, data, channel)
	}
	if index, ok := session.ReceiverIndex(b); ok && v.link.Owns(index) {
		m, err := v.link.Handle(now, path.Addr, b)
		if err == nil && m != nil {
			err = v.fromRendezvous(now, m)
		}
		return err
	}
	return v.hand(now, path, b, 0)
}

// hand gives a datagram to the connection that it belongs to. What it says of that itself is compared with what is
// known: a session's index, a punch's connection, a stream's SSRC. Media that overtakes Noise-2 has an SSRC that nobody
// knows yet: whoever waits for Noise-2 keeps it.
func (v *Viewer) hand(now time.Time, path punch.Path, b []byte, channel uint16) error {
	err := errStray
	if len(v.watches) == 1 { // it need not be looked for
		return v.watches[0].by(now, path, b, channel)
	}
	is := whose(b)
	for _, a := range v.watches {
		if is(a) {
			return a.by(now, path, b, channel)
		}
	}
	if k := wire.Classify(b); k != wire.RTP && k != wire.RTCP {
		return err
	}
	for _, a := range v.watches {
		if a.sess == nil {
			if e := a.by(now, path, b, channel); e == nil {
				err = nil
			}
		}
	}
	return err
}

// by hands over a datagram that came by a path; through the relay, by a channel.
func (a *attempt) by(now time.Time, path punch.Path, b []byte, channel uint16) error {
	if path.Route == punch.Relay {
		if !a.mayRelay(channel) {
			return errStray
		}
		a.inbound = channel
	}
	return a.handle(now, path, b)
}

// whose tells by what a datagram says which connection it belongs to.
func whose(b []byte) func(*attempt) bool {
	switch wire.Classify(b) {
	case wire.Cookie, wire.Response, wire.Transport:
		if index, ok := session.ReceiverIndex(b); ok {
			return func(a *attempt) bool { return a.index() == index }
		}
	case wire.PunchPacket:
		if p, err := wire.ParsePunch(b); err == nil {
			return func(a *attempt) bool { return a.id == p.ID }
		}
	case wire.RTP:
		return ofStream(b, 8)
	case wire.RTCP:
		return ofStream(b, 4)
	}
	return func(*attempt) bool { return false }
}

// ofStream says whose stream has the SSRC at an offset (RFC 3550 §5.1 and §6.4.1).
func ofStream(b []byte, at int) func(*attempt) bool {
	if len(b) < at+4 {
		return func(*attempt) bool { return false }
	}
	ssrc := binary.BigEndian.Uint32(b[at:])
	return func(a *attempt) bool { return a.sess != nil && a.ssrc == ssrc }
}

func (v *Viewer) fromRendezvous(now time.Time, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Peer:
		return v.about(m.ID, func(a *attempt) { a.peerKnown(now, m) })
	case *wire.Refused:
		return v.about(m.ID, func(a *attempt) { a.refused(now, m.Code) })
	case *wire.Sampled:
		return v.about(m.ID, func(a *attempt) { a.sampled(now, m) })
	case *wire.Located:
		err := v.about(m.ID, func(a *attempt) { a.located(now, m) })
		if err != nil {
			v.link.Send(core.Signal, &wire.LocatedAck{ID: m.ID, Sequence: m.Sequence, Code: wire.CodeEnded})
		}
		return err
	case *wire.Ping:
		for _, a := range v.live() {
			a.reachable(now)
		}
		return nil
	case *wire.Goodbye:
		return nil
	}
	return errUnasked
}

// about has the connection of an id do something.
func (v *Viewer) about(id uint64, do func(*attempt)) error {
	a := v.asked(id)
	if a == nil {
		return errStray
	}
	do(a)
	return nil
}
