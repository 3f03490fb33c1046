package live

import (
	"errors"
	"net/netip"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/netns"
)

var (
	// ErrFabricEnded means that the fabric process is gone, and with it every net.
	ErrFabricEnded = errors.New("the fabric process has ended")
	// ErrClosed is returned by the methods of what has been closed.
	ErrClosed = errors.New("closed")
	// ErrCaptureIncomplete means that packets are missing in a capture.
	ErrCaptureIncomplete = errors.New("the capture is incomplete")
)

// Options tune the fabric process.
type Options struct {
	// Precise trades CPU for punctuality: the loop polls without sleeping for the last 80 µs before a packet is due
	// so that not even its own wake-up delays it. On a machine of two cores that starves the sockets at the ends.
	Precise bool
	// NoTUN uses veth and AF_PACKET even where TUN devices can be made.
	NoTUN bool
}

// UplinkConfig describes the access link of a site or a public host.
type UplinkConfig struct {
	Name    string         // unique in the net; the link's random decisions depend on it and on the net's seed
	NS      *netns.NS      // where the device is made
	Device  string         // its name there; empty: wan0
	Addrs   []netip.Prefix // given to the device; each address is delivered to this uplink
	Routed  []netip.Prefix // delivered to this uplink besides
	Profile link.Profile
}

// Stats counts what a net did since its Reset.
type Stats struct {
	Lateness fabric.Lateness
	Uplinks  []UplinkStats  // in the order of their names
	Routers  []RouterStats  // of engine table, in the order of their making
	Stations []StationStats // in the order of their making
}

// UplinkStats counts what one uplink did since its net's Reset.
type UplinkStats struct {
	fabric.UplinkStats
	DeviceDrops uint64 // packets that the site sent and the fabric did not read in time: they void a trial
	id          uint32
}

// RouterStats counts what one router of engine table did since its net's Reset; its Counts say more.
type RouterStats struct {
	fabric.RouterStats
	id uint32
}

// StationStats counts what one station did since its net's Reset.
type StationStats struct {
	fabric.StationStats
	Router      string
	DeviceDrops uint64 // as of an uplink
	id          uint32
}

// DeviceDrops is the sum over uplinks and stations.
func (s Stats) DeviceDrops() (n uint64) {
	for _, u := range s.Uplinks {
		n += u.DeviceDrops
	}
	for _, u := range s.Stations {
		n += u.DeviceDrops
	}
	return n
}
