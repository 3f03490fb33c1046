package wire

import "fmt"

// Code says why something was refused or ended. Codes below FirstLocalCode
// travel; the others are what an endpoint concludes by itself.
type Code uint8

// The codes that travel. 0 is no code.
const (
	CodeUnavailable  Code = 1
	CodeVersion      Code = 2
	CodeMalformed    Code = 3
	CodeNotPaired    Code = 4
	CodeBusy         Code = 5
	CodeRateLimited  Code = 6
	CodeNoRelay      Code = 7
	CodeRelayQuota   Code = 8
	CodeReplaced     Code = 9
	CodeExpired      Code = 10
	CodeShuttingDown Code = 11
	CodeProfile      Code = 12
	CodeEnded        Code = 13
	CodeInternal     Code = 14

	CodeCertificate        Code = 15
	CodeWrongMaker         Code = 16
	CodeCertificateExpired Code = 17
	CodeRevoked            Code = 18
	CodeAccount            Code = 19
	CodeAccountExpired     Code = 20
	CodeClaimed            Code = 21
	CodeNotAllowed         Code = 22
	CodeDuplicateKey       Code = 23
	CodeOverloaded         Code = 24
	CodeLastOwner          Code = 25
	CodeNotStored          Code = 26
	CodeFull               Code = 27
)

// FirstLocalCode is the least code that never travels.
const FirstLocalCode Code = 64

// The codes that an endpoint concludes.
const (
	CodeRendezvousSilent Code = 64
	CodeCameraSilent     Code = 65
	CodeRelaySilent      Code = 66
	CodePathLost         Code = 67
	CodeWrongKey         Code = 68
	CodeStrategy         Code = 69
)

var codes = map[Code]struct{ name, sentence string }{
	CodeUnavailable:  {"unavailable", "no camera with this UID can be reached: it is offline, or there is none"},
	CodeVersion:      {"version", "the other side does not speak this version of the protocol"},
	CodeMalformed:    {"malformed", "a message could not be read"},
	CodeNotPaired:    {"not-paired", "the camera does not know this viewer, and its pairing proof is wrong, used up or too old: ask the owner for an invitation"},
	CodeBusy:         {"busy", "the camera serves as many viewers as it can"},
	CodeRateLimited:  {"rate-limited", "too many requests in a short time"},
	CodeNoRelay:      {"no-relay", "the rendezvous does not relay for this connection"},
	CodeRelayQuota:   {"relay-quota", "the relay's quota for this connection is used up"},
	CodeReplaced:     {"replaced", "a newer session with the same key took over"},
	CodeExpired:      {"expired", "nothing was heard for too long"},
	CodeShuttingDown: {"shutting-down", "the other side is shutting down"},
	CodeProfile:      {"profile", "camera and viewer have no media protection profile in common"},
	CodeEnded:        {"ended", "the other side ended the connection"},
	CodeInternal:     {"internal", "the other side had an error of its own"},
	CodeCertificate: {"certificate",
		"the camera's certificate is missing or not valid for its key: give the camera the one that its maker issued with the key"},
	CodeWrongMaker: {"wrong-maker",
		"this rendezvous does not serve this maker's cameras: use the one that the label names, or have its operator trust the maker"},
	CodeCertificateExpired: {"certificate-expired", "the camera's certificate has expired: its maker has to issue a new one"},
	CodeRevoked: {"revoked",
		"this key was withdrawn, a camera's by its maker, a viewer's by the camera's owner: ask him"},
	CodeAccount: {"account",
		"the rendezvous wants an account token of this viewer, and it is missing or not valid: ask its operator for one"},
	CodeAccountExpired: {"account-expired", "the account token has expired: ask the operator of the rendezvous for a new one"},
	CodeClaimed:        {"claimed", "the camera has an owner already: ask him for an invitation, or reset the camera"},
	CodeNotAllowed:     {"not-allowed", "only the camera's owner may do this: ask him"},
	CodeDuplicateKey: {"duplicate-key",
		"another device with the same key is online: one of them is a copy and needs a key of its own"},
	CodeOverloaded: {"overloaded", "the rendezvous has too much to do: try again later"},
	CodeLastOwner: {"last-owner",
		"a camera keeps one owner without an end at least: make another one owner first, or release the camera"},
	CodeNotStored: {"not-stored",
		"the camera cannot store who may watch it, so nothing has changed: free some room on its disk, or make its folder writable"},
	CodeFull: {"full", "the camera's list is full: revoke who need not watch any more, or cancel invitations"},

	CodeRendezvousSilent: {"rendezvous-silent", "no answer from the rendezvous"},
	CodeCameraSilent:     {"camera-silent", "no answer from the camera's endpoint"},
	CodeRelaySilent:      {"relay-silent", "nothing came through the relay"},
	CodePathLost:         {"path-lost", "the path that carried the media stopped answering"},
	CodeWrongKey:         {"wrong-key", "the other side does not hold the key that the label names"},
	CodeStrategy:         {"strategy", "the strategy's limits were reached before a path was found"},
}

// Codes returns every code, ascending.
func Codes() []Code {
	var out []Code
	for c := Code(1); c != 0; c++ {
		if _, ok := codes[c]; ok {
			out = append(out, c)
		}
	}
	return out
}

// Known says whether c is defined.
func (c Code) Known() bool { _, ok := codes[c]; return ok }

// Travels says whether c may be sent.
func (c Code) Travels() bool { return c.Known() && c < FirstLocalCode }

// String returns the code's name.
func (c Code) String() string {
	if e, ok := codes[c]; ok {
		return e.name
	}
	return fmt.Sprintf("code-%d", uint8(c))
}

// Sentence says what c means.
func (c Code) Sentence() string {
	if e, ok := codes[c]; ok {
		return e.sentence
	}
	return fmt.Sprintf("unknown code %d", uint8(c))
}

// Error makes a code an error.
func (c Code) Error() string { return c.Sentence() }
