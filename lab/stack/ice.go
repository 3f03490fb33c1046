package stack

import (
	"context"
	"errors"

	"github.com/punchlab/punchlab/lab"
)

// ICE is WebRTC as people deploy it (impl/peers/ice: pion's ICE, DTLS-SRTP, STUN and TURN), in this process, on real
// sockets in the lab's hosts.
type ICE struct {
	// Coturn is the path of coturn's turnserver, to be used for STUN and TURN; empty: pion/turn.
	Coturn string
}

// Name returns "ice".
func (ICE) Name() string { return "ice" }

// Strategies lists the settings that it can be tried with.
func (ICE) Strategies() []string { return []string{"ice", "ice-tuned"} }

// Summary is what the settings are.
func (ICE) Summary(strategy string) string {
	switch strategy {
	case "ice":
		return "WebRTC (pion) with the library's defaults: trickle ICE, STUN, TURN over UDP and TCP 443, DTLS-SRTP"
	case "ice-tuned":
		return "WebRTC (pion) with its best published settings: no acceptance waits, fast checks, renomination"
	}
	return ""
}

// Programs names the rendezvous: signalling, STUN and TURN.
func (ICE) Programs() []string { return []string{"rendezvous"} }

// Try has a viewer ask a camera that is connected to the signalling server for the media.
func (ICE) Try(context.Context, *lab.Lab, Trial) (Observation, error) {
	return Observation{}, errors.New("ice: not built yet")
}
