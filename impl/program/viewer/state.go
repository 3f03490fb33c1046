package viewer

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Presence says whether a camera can be reached.
type Presence string

// The presences.
const (
	Unknown Presence = "unknown" // the rendezvous has not said
	Online  Presence = "online"
	Offline Presence = "offline"
)

// Phase is where a camera's connection is.
//
//	idle ──Feed, or Manage──► connecting ──Connected──► watching
//	 ▲                         ▲      │ Failed             │ Failed, Closed
//	 └── nobody wants it ──────┴── waiting ◄───────────────┘
//	                               │ the camera or the rendezvous refuses for good
//	                               └──► refused
type Phase string

// The phases.
const (
	Idle       Phase = "idle"
	Connecting Phase = "connecting"
	Watching   Phase = "watching"
	Waiting    Phase = "waiting" // for the camera to come online, or until it is asked for again
	Refused    Phase = "refused" // see Camera.Failure
)

// Camera is a camera's state: a snapshot.
type Camera struct {
	Name string
	UID  identity.UID
	Role wire.Role // owner or guest; 0: the camera keeps no list, or has not been connected yet

	Presence Presence
	Since    time.Time // of Presence; zero: nobody knows
	Why      string    // it is offline: "said goodbye", "fell silent"; "": nobody knows
	LastSeen time.Time // it was last online or connected; zero: never
	LastPath string    // by which it was last watched: "direct", "relay" or "lan"; "": never

	Phase   Phase
	Failure string // one sentence: why there is no connection; "": there is one, or none is wanted
	Path    string // of the connection: "direct", "relay", "lan"; "": none
	Peer    netip.AddrPort
	RTT     time.Duration // to the camera and back; 0: not measured
	Latency time.Duration // from capture to arrival, as exact as both clocks; of the newest frame
	Loss    float64       // of packets in the last seconds, before repair: 0 to 1
	Bitrate float64       // of the media in the last seconds, bits a second
	Rate    float64       // whole frames a second, in the last seconds
	Frames  int64         // whole ones, since the connection began
	Feeds   int           // who watch
	Stream  uint64        // number of the stream: another one's frames begin anew
}

// Server is the state of the session with a rendezvous: a snapshot.
type Server struct {
	Hosts    []string // as labels say
	LoggedIn bool
	RTT      time.Duration
	Failure  string // one sentence: why it lets nobody in; "": it does, or is silent
}
