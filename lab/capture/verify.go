package capture

import (
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
)

// Sender is where a replay's packets enter: a *fabric.Station or the *fabric.Uplink of a public host.
type Sender interface {
	Send(now time.Duration, p *fabric.Packet)
}
