package wire

import (
	"github.com/punchlab/punchlab/impl/identity"
)

// Type is a control message's type: the value of key 0.
type Type uint8

// The message types. One below 24 takes one CBOR byte, the others two.
const (
	TypeRegister      Type = 1
	TypeRegistered    Type = 2
	TypeLogin         Type = 3
	TypeLoggedIn      Type = 4
	TypePing          Type = 5
	TypePong          Type = 6
	TypeGoodbye       Type = 7
	TypeConnect       Type = 8
	TypePeer          Type = 9
	TypeIntroduce     Type = 10
	TypeIntroduceAck  Type = 11
	TypeRefused       Type = 12
	TypeHello         Type = 13
	TypeWelcome       Type = 14
	TypePathChallenge Type = 15
	TypePathResponse  Type = 16
	TypeUse           Type = 17
	TypeConsent       Type = 18
	TypeConsentAck    Type = 19
	TypeBye           Type = 20
	TypeReport        Type = 21
	TypeReported      Type = 22
	TypeSample        Type = 23
	TypeSampled       Type = 24
	TypeAgain         Type = 25
	TypeLocated       Type = 26
	TypeLocatedAck    Type = 27
	TypeDenied        Type = 28
	TypeWatch         Type = 29
	TypePresence      Type = 30
	TypePresenceAck   Type = 31
	TypeManage        Type = 32
	TypeManaged       Type = 33
)

// ProtocolVersion is the version in Register, Login and Hello.
const ProtocolVersion uint8 = 1

// Message is a control message.
type Message interface {
	Type() Type
	validate() error
}

// Register is a camera's payload in its handshake with the rendezvous.
type Register struct {
	Version   uint8  `cbor:"1,keyasint"`
	Keepalive uint16 `cbor:"2,keyasint,omitempty"` // wanted interval, seconds; 0: as the rendezvous likes
	Boot      uint64 `cbor:"3,keyasint,omitempty"` // how often the camera has started, if it counts
	// Certificate is the maker's for this key (identity.ParseCertificate), at most MaxCertificate bytes, opaque here.
	Certificate []byte `cbor:"4,keyasint,omitempty"`
}

// Registered is the rendezvous' payload in its answer.
type Registered struct {
	Endpoint  Endpoint `cbor:"1,keyasint"` // where the camera appears from
	Keepalive uint16   `cbor:"2,keyasint"` // send a Ping at least this often, seconds
	Expiry    uint16   `cbor:"3,keyasint"` // silence after which the camera counts as offline, seconds
	// Alternate is a socket of the rendezvous whose address and port both differ from the one that answers: samples go
	// there. Absent where there is none.
	Alternate Endpoint `cbor:"4,keyasint,omitzero"`
}

// Login is a viewer's payload in its handshake with the rendezvous.
type Login struct {
	Version uint8  `cbor:"1,keyasint"`
	Token   []byte `cbor:"2,keyasint,omitempty"` // of an account with the rendezvous' operator, at most MaxToken bytes, opaque here
}

// LoggedIn is the rendezvous' payload in its answer.
type LoggedIn struct {
	Endpoint Endpoint `cbor:"1,keyasint"` // where the viewer appears from
	Expiry   uint16   `cbor:"2,keyasint"` // silence after which the session is forgotten, seconds
	// Alternate is as in Registered.
	Alternate Endpoint `cbor:"3,keyasint,omitzero"`
}

// Ping asks for a Pong; either side of a rendezvous session sends it.
type Ping struct {
	Sequence uint64 `cbor:"1,keyasint"`
}

// Pong answers a Ping.
type Pong struct {
	Sequence uint64   `cbor:"1,keyasint"`          // the Ping's
	Endpoint Endpoint `cbor:"2,keyasint,omitzero"` // where the Ping came from, if the rendezvous answers
}

// Goodbye ends a rendezvous session at once.
type Goodbye struct {
	Code Code `cbor:"1,keyasint,omitempty"`
}

// Connect asks the rendezvous to introduce the viewer to a camera.
type Connect struct {
	ID     uint64       `cbor:"1,keyasint"` // drawn at random by the viewer, never 0
	Camera identity.UID `cbor:"2,keyasint"`
	Noise1 []byte       `cbor:"3,keyasint"`           // a session initiation to the camera, whole
	Relay  bool         `cbor:"4,keyasint,omitempty"` // a relay channel is wanted
}

// Peer answers Connect: where the camera is.
type Peer struct {
	ID         uint64     `cbor:"1,keyasint"`
	Endpoint   Endpoint   `cbor:"2,keyasint"`
	Channel    uint16     `cbor:"3,keyasint,omitempty"` // the viewer's relay channel
	Class      Class      `cbor:"4,keyasint,omitzero"`  // of the camera's NAT, as its Report says
	Candidates []Endpoint `cbor:"5,keyasint,omitempty"` // the camera's other addresses, as its Report says
}

// Introduce brings a viewer's request to the camera.
type Introduce struct {
	ID       uint64   `cbor:"1,keyasint"` // drawn by the rendezvous; the connection's is in Hello
	Endpoint Endpoint `cbor:"2,keyasint"` // where the viewer appears from
	Noise1   []byte   `cbor:"3,keyasint"`
	Channel  uint16   `cbor:"4,keyasint,omitempty"` // the camera's relay channel
}

// IntroduceAck ends the repetition of Introduce.
type IntroduceAck struct {
	ID   uint64 `cbor:"1,keyasint"`
	Code Code   `cbor:"2,keyasint,omitempty"` // why the camera refuses, if it does
}

// Refused answers Connect, or revokes it later.
type Refused struct {
	ID   uint64 `cbor:"1,keyasint"`
	Code Code   `cbor:"2,keyasint"`
}

// Flags are a viewer's wishes.
type Flags uint16

// The flags.
const (
	FlagStart  Flags = 1 << 0 // send media at once, from a key frame
	FlagDirect Flags = 1 << 1 // a direct path may be used
	FlagRelay  Flags = 1 << 2 // the relay may be used

	knownFlags = FlagStart | FlagDirect | FlagRelay
)

// Profile is an SRTP protection profile, by its number in RFC 5764 §4.1.2 and
// RFC 7714 §14.2.
type Profile uint16

// ProfileAES128GCM is SRTP_AEAD_AES_128_GCM, the one that everyone speaks.
const ProfileAES128GCM Profile = 0x0007

// MaxCandidates is how many candidates Hello, Report, Peer and Located carry.
const MaxCandidates = 8

// MaxStrategy is the length of a strategy's name, with its parameters.
const MaxStrategy = 32

// Hello is the viewer's payload in its handshake with the camera.
type Hello struct {
	Version    uint8          `cbor:"1,keyasint"`
	ID         uint64         `cbor:"2,keyasint"`          // of the connection, as in Connect and punches
	Proof      identity.Proof `cbor:"3,keyasint,omitzero"` // absent once paired
	PunchKey   PunchKey       `cbor:"4,keyasint"`
	Flags      Flags          `cbor:"5,keyasint,omitempty"`
	Profile    Profile        `cbor:"6,keyasint"`
	Candidates []Endpoint     `cbor:"7,keyasint,omitempty"`  // the viewer's other addresses: host, IPv6, mapped
	Class      Class          `cbor:"8,keyasint,omitzero"`   // of the viewer's NAT
	Strategy   []byte         `cbor:"9,keyasint,omitempty"`  // by name, as the viewer follows it; absent: the flags tell enough
	Name       []byte         `cbor:"10,keyasint,omitempty"` // what the camera's owner sees in the list of who may watch, see ValidName
}

// Welcome is the camera's payload in its answer. The stream's SSRC, first sequence
// number and first timestamp follow from the session's keys.
type Welcome struct {
	Profile     Profile `cbor:"1,keyasint"`
	PayloadType uint8   `cbor:"2,keyasint"`           // RTP, 96–127
	ClockRate   uint32  `cbor:"3,keyasint"`           // hertz; 90000 for H.264
	Width       uint16  `cbor:"4,keyasint,omitempty"` // pixels
	Height      uint16  `cbor:"5,keyasint,omitempty"`
	FrameRate   uint32  `cbor:"6,keyasint,omitempty"` // frames per 1000 seconds
	Role        Role    `cbor:"7,keyasint,omitempty"` // of this viewer at the camera; 0: it keeps no list
}

// Token is drawn at random by the camera for one path.
type Token [8]byte

// PathChallenge asks whether the viewer receives at an address.
type PathChallenge struct {
	Token Token `cbor:"1,keyasint"`
}

// PathResponse answers, on the path that the challenge came by.
type PathResponse struct {
	Token Token `cbor:"1,keyasint"`
}

// Use moves the media to a path.
type Use struct {
	Sequence uint32 `cbor:"1,keyasint"` // grows; the camera ignores one that is not greater
	Token    Token  `cbor:"2,keyasint"` // of the path's challenge; zero: there was none. Always written, see Padding
	Next     uint64 `cbor:"3,keyasint,omitempty"`
	// Next is the extended RTP sequence number after the greatest received
	// (RFC 3711's packet index + 1); 0: nothing was received.
}

// Consent says that the viewer still wants the media (RFC 7675).
type Consent struct {
	Sequence uint32  `cbor:"1,keyasint"`
	Padding  Padding `cbor:"2,keyasint"`
}

// Padding is zeros that make a message no shorter than the PathChallenge that may
// answer it from an address not yet validated.
type Padding [8]byte

// ConsentAck answers Consent on the path by which it came.
type ConsentAck struct {
	Sequence uint32 `cbor:"1,keyasint"`
}

// Bye ends a connection.
type Bye struct {
	Code Code `cbor:"1,keyasint,omitempty"`
}

// Report tells the rendezvous what a device has found out about itself. The latest one counts.
type Report struct {
	Sequence   uint32     `cbor:"1,keyasint"`           // from 1 in each session, grows
	Class      Class      `cbor:"2,keyasint,omitzero"`  // of the device's NAT
	Candidates []Endpoint `cbor:"3,keyasint,omitempty"` // host, IPv6 and mapped addresses beside the endpoint
}

// Reported acknowledges Report.
type Reported struct {
	Sequence uint32 `cbor:"1,keyasint"` // the Report's
}

// Sample shows the rendezvous a mapping: it is sent to one of its other sockets from the socket whose next mapping
// matters, and what counts is the address that it comes from.
type Sample struct {
	ID uint64 `cbor:"1,keyasint"` // the viewer's: of Connect; the camera's: of Introduce
}

// Sampled tells the other party where a Sample came from.
type Sampled struct {
	ID       uint64   `cbor:"1,keyasint"` // the receiver's
	Endpoint Endpoint `cbor:"2,keyasint"`
	Count    uint32   `cbor:"3,keyasint"` // samples of that party so far, this one included
}

// Again asks the rendezvous where the other party is now, for a path that died, moved or can be bettered.
type Again struct {
	ID    uint64 `cbor:"1,keyasint"`           // the sender's
	Relay bool   `cbor:"2,keyasint,omitempty"` // a relay channel is wanted
}

// Located tells a party where the other one is now: after Again of either, and when the other's endpoint has moved.
type Located struct {
	ID         uint64     `cbor:"1,keyasint"` // the receiver's
	Sequence   uint32     `cbor:"2,keyasint"` // grows from 1 with what the rendezvous tells this party; the latest counts
	Endpoint   Endpoint   `cbor:"3,keyasint"`
	Channel    uint16     `cbor:"4,keyasint,omitempty"` // the receiver's relay channel
	Class      Class      `cbor:"5,keyasint,omitzero"`  // of the other party's NAT, as its Report says
	Candidates []Endpoint `cbor:"6,keyasint,omitempty"` // the other party's, as its Report says
}

// LocatedAck ends the repetition of Located.
type LocatedAck struct {
	ID       uint64 `cbor:"1,keyasint"`           // the sender's
	Sequence uint32 `cbor:"2,keyasint"`           // the Located's
	Code     Code   `cbor:"3,keyasint,omitempty"` // this connection is over: nothing more is to be told of it
}

// Type methods: key 0 of each message.
func (*Register) Type() Type      { return TypeRegister }
func (*Registered) Type() Type    { return TypeRegistered }
func (*Login) Type() Type         { return TypeLogin }
func (*LoggedIn) Type() Type      { return TypeLoggedIn }
func (*Ping) Type() Type          { return TypePing }
func (*Pong) Type() Type          { return TypePong }
func (*Goodbye) Type() Type       { return TypeGoodbye }
func (*Connect) Type() Type       { return TypeConnect }
func (*Peer) Type() Type          { return TypePeer }
func (*Introduce) Type() Type     { return TypeIntroduce }
func (*IntroduceAck) Type() Type  { return TypeIntroduceAck }
func (*Refused) Type() Type       { return TypeRefused }
func (*Hello) Type() Type         { return TypeHello }
func (*Welcome) Type() Type       { return TypeWelcome }
func (*PathChallenge) Type() Type { return TypePathChallenge }
func (*PathResponse) Type() Type  { return TypePathResponse }
func (*Use) Type() Type           { return TypeUse }
func (*Consent) Type() Type       { return TypeConsent }
func (*ConsentAck) Type() Type    { return TypeConsentAck }
func (*Bye) Type() Type           { return TypeBye }
func (*Report) Type() Type        { return TypeReport }
func (*Reported) Type() Type      { return TypeReported }
func (*Sample) Type() Type        { return TypeSample }
func (*Sampled) Type() Type       { return TypeSampled }
func (*Again) Type() Type         { return TypeAgain }
func (*Located) Type() Type       { return TypeLocated }
func (*LocatedAck) Type() Type    { return TypeLocatedAck }
func (*Denied) Type() Type        { return TypeDenied }
func (*Watch) Type() Type         { return TypeWatch }
func (*Presence) Type() Type      { return TypePresence }
func (*PresenceAck) Type() Type   { return TypePresenceAck }
func (*Manage) Type() Type        { return TypeManage }
func (*Managed) Type() Type       { return TypeManaged }
