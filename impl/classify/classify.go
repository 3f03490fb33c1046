// Package classify finds out what the NATs between this host and its rendezvous do, as RFC 5780 does: by asking a STUN
// server with two addresses and two ports from a few fresh sockets at once.
//
//	               server  S00  S01        first index: address, second: port; S00 is Config.Server
//	                       S10  S11        learnt from S00's OTHER-ADDRESS
//	map socket    ──► S00, then S10, S11, S01     one reflexive endpoint: EIM; one for each address: ADM; else APDM
//	any socket    ──► S00 "answer from S11"       arrives: EIF
//	port socket   ──► S00 "answer from S01"       arrives: ADF; neither: APDF
//	x, y sockets  ──► S00, then each other's reflexive endpoint: hairpinning
//	all the others ─► S10, S11                    where the mapping is not EIM, once their own tests are over: more ports seen
//
// Each test has a socket of its own, because what one socket has sent opens filters and makes mappings for all that it sends
// later. A filtered answer can only be seen as an absent one, so each such request is followed by a plain one on the same
// socket, and counts as filtered when that one's answer is there and its own is not, several times over.
//
// The external ports seen, in the order in which they were asked for, tell how the NAT chooses them: see ports.go. Without
// loss all is known after about four round trips.
//
// A server that tells no OTHER-ADDRESS has one address only. Then the translation, the ports of fresh sockets and
// hairpinning are found out; the mapping if another of the rendezvous' addresses sees the same endpoint; the rest is unknown.
//
// The package is a core (see impl/core): not safe for concurrent use.
package classify

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// Sockets is how many sockets a classification opens.
const Sockets = 5

// What was wrong, see Classifier.Err.
var (
	ErrNoAnswer = errors.New("no answer from the STUN server: UDP is blocked, or the server is down")
	ErrConfig   = errors.New("configure classifier: server address or randomness missing")
	ErrSockets  = errors.New("sockets for the classification: fewer than asked for")
	ErrCancel   = errors.New("classification cancelled")
)

// Config describes a classification.
type Config struct {
	Server netip.AddrPort   // of the rendezvous, UDP
	Others []netip.AddrPort // further ones, asked only if Server tells no OTHER-ADDRESS
	Host   []netip.Addr     // this host's own addresses: whether there is a NAT at all, where sockets are bound to 0.0.0.0
	RTT    time.Duration    // to the server, as far as known; zero: not known
	Rand   io.Reader        // cryptographically random: transaction IDs
}

// Classifier is one classification: Start it once. Not safe for concurrent use.
type Classifier struct {
	cfg    Config
	box    *core.Outbox
	result wire.Class
	err    error
	done   bool
}

// New returns a classification that sends by box.
func New(cfg Config, box *core.Outbox) *Classifier { return &Classifier{cfg: cfg, box: box} }

// Start asks the driver, by Outbox.Open, for Sockets sockets at once. The owner hands the answer to Opened: it is the first
// HandleOpened after those of earlier Opens.
func (c *Classifier) Start(now time.Time) {}

// Opened takes the driver's answer. After Cancel it has the sockets closed again.
func (c *Classifier) Opened(now time.Time, socks []netip.AddrPort, err error) {}

// Handle takes a datagram that came to one of the classification's sockets, and says whether it did: others are not
// the classifier's.
func (c *Classifier) Handle(now time.Time, from, to netip.AddrPort, b []byte) bool { return false }

// HandleTimeout does what is due.
func (c *Classifier) HandleTimeout(now time.Time) {}

// Deadline is when HandleTimeout is wanted; zero: never.
func (c *Classifier) Deadline() time.Time { return time.Time{} }

// Result is what was found out, and whether the classification is over: its sockets are closed then. A zero field is
// unknown; Timeout always is. See Err where everything is.
func (c *Classifier) Result() (wire.Class, bool) { return c.result, c.done }

// Err says why nothing was found out: ErrNoAnswer, ErrCancel, or why there are no sockets; nil while it runs and if something
// was found out.
func (c *Classifier) Err() error { return c.err }

// Reflexive is where the first of the sockets appears from, as Server sees it; zero: not known.
func (c *Classifier) Reflexive() netip.AddrPort { return netip.AddrPort{} }

// Cancel ends the classification at once and has its sockets closed.
func (c *Classifier) Cancel(now time.Time) {}
