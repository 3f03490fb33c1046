package wire

import (
	"fmt"

	"github.com/punchlab/punchlab/impl/session"
)

var typeNames = map[Type]string{
	TypeRegister: "register", TypeRegistered: "registered", TypeLogin: "login", TypeLoggedIn: "logged-in",
	TypePing: "ping", TypePong: "pong", TypeGoodbye: "goodbye",
	TypeConnect: "connect", TypePeer: "peer", TypeIntroduce: "introduce", TypeIntroduceAck: "introduce-ack", TypeRefused: "refused",
	TypeHello: "hello", TypeWelcome: "welcome", TypePathChallenge: "path-challenge", TypePathResponse: "path-response",
	TypeUse: "use", TypeConsent: "consent", TypeConsentAck: "consent-ack", TypeBye: "bye",
	TypeReport: "report", TypeReported: "reported", TypeSample: "sample", TypeSampled: "sampled",
	TypeAgain: "again", TypeLocated: "located", TypeLocatedAck: "located-ack",
	TypeDenied: "denied", TypeWatch: "watch", TypePresence: "presence", TypePresenceAck: "presence-ack",
	TypeManage: "manage", TypeManaged: "managed",
}

// String returns the message's name, which is that of its CDDL rule.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type-%d", uint8(t))
}

// check returns an error that names the field unless ok.
func check(ok bool, field string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, field)
}

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func version(v uint8) error { return check(v != 0, "version 0") }

func id(v uint64) error { return check(v != 0, "id 0") }

func endpoint(e Endpoint, optional bool) error {
	if optional && e.IsZero() {
		return nil
	}
	return e.valid()
}

func channel(c uint16) error {
	return check(c == 0 || c >= MinChannel && c <= MaxChannel, "channel")
}

func initiation(b []byte) error {
	return check(len(b) >= session.MinInitiation && len(b) <= session.MaxInitiation, "length of noise1")
}

func sequence(v uint32) error { return check(v != 0, "sequence 0") }

func candidates(cs []Endpoint) error {
	if len(cs) > MaxCandidates {
		return fmt.Errorf("%w: %d candidates", ErrInvalid, len(cs))
	}
	for _, c := range cs {
		if err := c.valid(); err != nil {
			return err
		}
	}
	return nil
}

// code accepts codes of later versions, which mean "internal" to who does not
// know them, but none that never travels.
func code(c Code, optional bool) error {
	return check(c < FirstLocalCode && (optional || c != 0), "code")
}

func (m *Register) validate() error {
	return first(version(m.Version), check(len(m.Certificate) <= MaxCertificate, "length of certificate"))
}

func (m *Registered) validate() error {
	return first(endpoint(m.Endpoint, false), endpoint(m.Alternate, true), check(m.Keepalive != 0, "keepalive 0"),
		check(m.Expiry > m.Keepalive, "expiry within keepalive"))
}

func (m *Login) validate() error {
	return first(version(m.Version), check(len(m.Token) <= MaxToken, "length of token"))
}

func (m *LoggedIn) validate() error {
	return first(endpoint(m.Endpoint, false), check(m.Expiry != 0, "expiry 0"), endpoint(m.Alternate, true))
}

func (m *Ping) validate() error { return nil }

func (m *Pong) validate() error { return endpoint(m.Endpoint, true) }

func (m *Goodbye) validate() error { return code(m.Code, true) }

func (m *Connect) validate() error {
	return first(id(m.ID), check(m.Camera.Valid(), "camera's UID"), initiation(m.Noise1))
}

func (m *Peer) validate() error {
	return first(id(m.ID), endpoint(m.Endpoint, false), channel(m.Channel), m.Class.valid(), candidates(m.Candidates))
}

func (m *Introduce) validate() error {
	return first(id(m.ID), endpoint(m.Endpoint, false), initiation(m.Noise1), channel(m.Channel))
}

func (m *IntroduceAck) validate() error { return first(id(m.ID), code(m.Code, true)) }

func (m *Refused) validate() error { return first(id(m.ID), code(m.Code, false)) }

func (m *Hello) validate() error {
	return first(version(m.Version), id(m.ID), check(m.PunchKey != PunchKey{}, "punch key 0"),
		check(m.Flags&^knownFlags == 0, "unknown flags"),
		m.Class.valid(), candidates(m.Candidates), check(isStrategy(m.Strategy), "strategy"), name(m.Name))
}

// isStrategy says whether b may be a strategy's name: nothing, or lower-case letters, digits, hyphens and colons.
func isStrategy(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != ':' {
			return false
		}
	}
	return len(b) <= MaxStrategy
}

func (m *Welcome) validate() error {
	return first(check(m.PayloadType >= 96 && m.PayloadType <= 127, "payload type"), check(m.ClockRate != 0, "clock rate 0"),
		check(m.Role <= RoleGuest, "role"))
}

func (m *PathChallenge) validate() error { return check(m.Token != Token{}, "token 0") }

func (m *PathResponse) validate() error { return check(m.Token != Token{}, "token 0") }

func (m *Use) validate() error { return sequence(m.Sequence) }

func (m *Consent) validate() error { return check(m.Padding == Padding{}, "padding") }

func (m *ConsentAck) validate() error { return nil }

func (m *Bye) validate() error { return code(m.Code, true) }

func (m *Report) validate() error {
	return first(sequence(m.Sequence), m.Class.valid(), candidates(m.Candidates))
}

func (m *Reported) validate() error { return sequence(m.Sequence) }

func (m *Sample) validate() error { return id(m.ID) }

func (m *Sampled) validate() error {
	return first(id(m.ID), endpoint(m.Endpoint, false), check(m.Count != 0, "count 0"))
}

func (m *Again) validate() error { return id(m.ID) }

func (m *Located) validate() error {
	return first(id(m.ID), sequence(m.Sequence), endpoint(m.Endpoint, false), channel(m.Channel), m.Class.valid(),
		candidates(m.Candidates))
}

func (m *LocatedAck) validate() error {
	return first(id(m.ID), sequence(m.Sequence), code(m.Code, true))
}
