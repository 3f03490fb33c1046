package nat

// Side is where a packet comes from or goes to.
type Side uint8

// The two sides of a router.
const (
	Inside Side = iota
	Outside
)

// String returns "inside" or "outside".
func (s Side) String() string { return name(int(s), "inside", "outside") }

// other is the opposite side.
func (s Side) other() Side { return 1 - s }

// Reason says what became of a packet. All but Passed and Held mean that it was dropped.
type Reason uint8

// Reasons.
const (
	Passed      Reason = iota
	Held               // a fragment that waits for the first one; Next gives it when that has come
	NoMapping          // nothing maps the external endpoint
	Filtered           // there is a mapping, and its filter is shut for this remote endpoint
	Expired            // there was a mapping, until its timeout
	Quota              // the internal host has as many mappings as it may
	NoPort             // no external port is free
	Full               // the table's bound is reached (Config.MaxMappings)
	Blocked            // UDP or this TCP port does not pass
	HairpinOff         // from inside to an external address, which this router does not turn around
	Malformed          // truncated, or its lengths contradict each other
	BadChecksum        // of the IP header or the transport
	Overlap            // a fragment that overlaps one that came before, or follows such a one
	Fragmented         // fragments do not pass, or not before the first one
	Spoofed            // its source address is not one of that side
	NoRoute            // its destination is not on the other side
	ErrorQuote         // an ICMP error whose quote fits no mapping, or that does not pass at all
	Crashed            // the router had more flows than it can bear (Behavior.FlowLimit)
	Unsupported        // a protocol or message that the router does not know
	Reasons            // their number
)

var reasons = [Reasons]string{
	"passed", "held", "no mapping", "filtered", "expired", "quota", "no port", "table full", "blocked", "hairpin off", "malformed",
	"bad checksum", "overlapping fragment", "fragment", "spoofed", "no route", "icmp error", "router crashed", "unsupported",
}

// String returns the words that captures use: "no mapping", "filtered", "expired", "quota" and so on.
func (r Reason) String() string { return name(int(r), reasons[:]...) }

// Verdict is what became of a packet.
type Verdict struct { // four words, which Go hands on in registers
	Packet  []byte // the packet as it goes on. It is the caller's bytes, or where its length changed a buffer that is valid until the next call.
	Reason  Reason
	To      Side // where it goes on, if it passed: Inside also for a hairpin
	Created bool // it made a mapping
}

// Emission is a packet that the table sends by itself.
type Emission struct {
	To     Side
	Packet []byte // valid until the next call of any method but Next
	Reason Reason // Passed for a fragment that was held; otherwise why the packet that it answers was dropped
}

// Counts are packets by what became of them. A held fragment is counted once, as Held.
type Counts [Reasons]uint64
