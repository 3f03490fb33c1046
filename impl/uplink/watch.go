package uplink

import (
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// watch is what the owner wants to know of cameras, and how far the rendezvous has heard it.
type watch struct{}

// Watch has the rendezvous tell whether cameras are online, now and at each change, in this session and those after it,
// until Unwatch. What is watched already stays so.
func (l *Link) Watch(now time.Time, cameras ...identity.UID) {}

// Unwatch ends it for some cameras. Nothing more is told of them.
func (l *Link) Unwatch(now time.Time, cameras ...identity.UID) {}
