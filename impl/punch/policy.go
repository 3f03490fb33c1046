package punch

import (
	"time"
)

// Method is a way to reach the peer that a policy may use.
type Method uint16

// The methods.
const (
	MethodReflexive  Method = 1 << iota // punch the endpoint that the rendezvous saw
	MethodHost                          // punch the peer's own addresses
	MethodMapped                        // punch what the peer's router maps (PCP, NAT-PMP, UPnP)
	MethodIPv6                          // use IPv6 addresses
	MethodIPv4                          // use IPv4 addresses
	MethodSilence                       // one side keeps silent where both at once cannot succeed
	MethodPrediction                    // guess the port that a sequential allocator gives next
	MethodBirthday                      // many sockets here, many ports there
	MethodTCP                           // TCP simultaneous open
	MethodTURN                          // punch from and to a TURN server's allocations
)

const (
	everyFamily = MethodIPv4 | MethodIPv6
	classic     = everyFamily | MethodReflexive | MethodHost // hole punching as Ford, Srisuresh and Kegel describe it
)

// Policy is a strategy as data: what an Agent may try, when, and for how long. Times count from the moment the peer's
// endpoint is known.
type Policy struct {
	Name    string
	Summary string

	Direct bool // punch and use a direct path
	Relay  bool // ask for a relay channel and use it until there is a direct path
	// Methods are the ways to a direct path.
	Methods Method
	// Uplink says over what the role reaches the rendezvous.
	Uplink Uplink
	// Forward: there is no rendezvous; the initiation goes to the camera's forwarded port.
	Forward bool

	Fast   []time.Duration // when the quick punches to each candidate leave
	TTL    []uint8         // time to live of the first punches; of those after, the host's
	Slow   time.Duration   // interval of the later ones, until GiveUp
	Stream []time.Duration // when punches to a TCP candidate leave: each begins a connection where there is none
	GiveUp time.Duration   // direct paths not found by then are not looked for any more
	Hush   time.Duration   // how long a side that should keep silent keeps silent while it hears nothing
	Doubt  time.Duration   // after which a side that claims to be open, and is not reached, is taken for the opposite; zero: never

	Predict  Prediction
	Birthday Birthday
	Budget   Budget
	// Blind is how many bytes of media a camera may send, to the viewer's endpoint as the rendezvous saw it and through
	// the relay, before it has heard the viewer itself.
	Blind int
}

// Has says whether the policy uses any of these methods.
func (p *Policy) Has(m Method) bool { return p.Methods&m != 0 }

// Uplink says over what a role reaches the rendezvous.
type Uplink uint8

// The uplinks.
const (
	UplinkAny Uplink = iota // UDP first, a stream where UDP is silent
	UplinkUDP               // UDP only
	UplinkTCP               // TCP only: the rendezvous sees TCP endpoints
	UplinkTLS               // TLS only, that is TCP port 443
)

// Prediction says how ports of a sequential allocator are guessed.
type Prediction struct {
	Window int           // ports guessed in a round
	Rounds int           // each with a sample of its own
	Every  time.Duration // between rounds
}

// Birthday says how a random port is found: one side opens sockets, the other probes ports.
type Birthday struct {
	Sockets, Probes           int // where the port may be any
	BlockSockets, BlockProbes int // where the ports lie in a known block of up to 1,024; in a smaller one, fewer
	Rate                      int // packets per second
}

// Budget is what a policy may send as probes for one peer until GiveUp, all candidates together.
type Budget struct {
	Packets int // UDP datagrams
	Bytes   int // of UDP payload
	Rate    int // packets per second, after a burst of maxBurst
}
