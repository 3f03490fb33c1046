package cluster

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
)

// kind says what a letter is.
type kind uint8

const (
	kindHello     kind = iota + 1 // to all: a node lives; once a second
	kindBye                       // to all: it ends
	kindVisit                     // to the home of a connection: a device, and what it says
	kindLeft                      // to homes: a device is not served here any more
	kindTell                      // to the device's node: what the core says to it
	kindCall                      // to all: who serves this viewer? Its camera asks for it
	kindSeek                      // to all: who serves this camera? For when the directory does not answer
	kindHere                      // answers seek and call
	kindChallenge                 // to the holder of a camera: is it still there?
	kindVerdict                   // answers challenge
	kindRelease                   // to the former holder of a camera: it has been taken over
)

// letter is what nodes send each other.
type letter struct {
	Kind  kind   `cbor:"0,keyasint"`
	Node  string `cbor:"1,keyasint"` // the sender
	Epoch uint64 `cbor:"2,keyasint"` // the sender's process

	Endpoints []netip.AddrPort `cbor:"3,keyasint,omitempty"` // hello: for relay frames
	Answer    bool             `cbor:"4,keyasint,omitempty"` // hello: wanted; verdict: to come

	Behind bool `cbor:"15,keyasint,omitempty"` // hello: not all of its cameras are in the directory yet

	Visit  *visit             `cbor:"5,keyasint,omitempty"`
	Camera []byte             `cbor:"6,keyasint,omitempty"` // visit: what the camera had asked by call, which goes on now
	Device identity.PublicKey `cbor:"7,keyasint"`
	Role   rendezvous.Role    `cbor:"8,keyasint,omitempty"`
	Body   []byte             `cbor:"9,keyasint,omitempty"` // a wire.Message
	Tie    *rendezvous.Tie    `cbor:"10,keyasint,omitempty"`

	UID   identity.UID `cbor:"11,keyasint"`           // seek
	Ref   uint64       `cbor:"12,keyasint,omitempty"` // of a question, in its answer
	Alive bool         `cbor:"13,keyasint,omitempty"` // verdict
	Stamp uint64       `cbor:"14,keyasint,omitempty"` // release
}

// visit is rendezvous.Visit on its way; its node is the letter's.
type visit struct {
	Device   identity.PublicKey `cbor:"0,keyasint"`
	Role     rendezvous.Role    `cbor:"1,keyasint"`
	Stamp    uint64             `cbor:"2,keyasint"`
	Endpoint netip.AddrPort     `cbor:"3,keyasint"`
	RTT      time.Duration      `cbor:"4,keyasint"`
	Report   []byte             `cbor:"5,keyasint"` // wire.Report: class and candidates
	From     netip.AddrPort     `cbor:"6,keyasint"`
	Message  []byte             `cbor:"7,keyasint,omitempty"`
}

// The encoding bounds what a letter may hold: a node of another version, or a broken one, has the same key.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{MaxArrayElements: 64, MaxMapPairs: 64, MaxNestedLevels: 8, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

func (l *letter) marshal() ([]byte, error) { return cbor.Marshal(l) }

func unmarshal(b []byte) (*letter, error) {
	l := new(letter)
	if err := decoding.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("read letter: %w", err)
	}
	if !nameable(l.Node) || l.Epoch == 0 {
		return nil, fmt.Errorf("read letter: sender %q", l.Node)
	}
	return l, nil
}

// pack makes a visit ready to travel. The core's values are copied.
func pack(v rendezvous.Visit) (*visit, error) {
	report, err := wire.Marshal(&wire.Report{Sequence: 1, Class: v.Class, Candidates: v.Candidates})
	if err != nil {
		return nil, err
	}
	p := &visit{Device: v.Device, Role: v.Role, Stamp: v.Stamp, Endpoint: v.Proxy.Endpoint, RTT: v.Proxy.RTT, Report: report, From: v.From}
	if v.Message != nil {
		p.Message, err = wire.Marshal(v.Message)
	}
	return p, err
}

// unpack is the visit as the core takes it, from a node.
func (p *visit) unpack(node string) (v rendezvous.Visit, err error) {
	m, err := wire.Unmarshal(p.Report)
	if err != nil {
		return v, err
	}
	report, ok := m.(*wire.Report)
	if !ok || p.Role != rendezvous.Viewer || !p.Endpoint.IsValid() || !p.From.IsValid() || p.RTT < 0 {
		return v, errVisit
	}
	v = rendezvous.Visit{
		Device: p.Device, Role: p.Role, Stamp: p.Stamp, Proxy: rendezvous.Proxy{Node: node, Endpoint: p.Endpoint, RTT: p.RTT},
		Class: report.Class, Candidates: report.Candidates, From: p.From,
	}
	if p.Message != nil {
		v.Message, err = wire.Unmarshal(p.Message)
	}
	return v, err
}
