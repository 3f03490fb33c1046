package live

import (
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
)

// Main runs the fabric and exits if this process was started as one. Otherwise it returns.
func Main() {}

// Fabric is a fabric process. It is safe for concurrent use.
type Fabric struct{}

// Net is an isolated internet. It is safe for concurrent use.
type Net struct{}

// Uplink is an access link in a net. It is safe for concurrent use.
type Uplink struct{}

// Start starts the fabric process.
func Start(o Options) (*Fabric, error) { return nil, ErrFabricEnded }

// NewNet makes a net without uplinks. The seed decides every loss, jitter and so on in it.
func (f *Fabric) NewNet(seed uint64) (*Net, error) { return nil, ErrFabricEnded }

// Lateness summarizes the packets of all nets of the last half to whole second.
func (f *Fabric) Lateness() (fabric.Lateness, error) { return fabric.Lateness{}, ErrFabricEnded }

// Done is closed when the fabric process has ended.
func (f *Fabric) Done() <-chan struct{} { return nil }

// Close closes all nets and ends the fabric process.
func (f *Fabric) Close() error { return nil }

// Attach makes the device in the namespace, with its addresses and a default route, and connects it to the net.
func (n *Net) Attach(c UplinkConfig) (*Uplink, error) { return nil, ErrFabricEnded }

// Reset drops what is in flight, starts the random decisions over from the seed and zeroes the counts.
func (n *Net) Reset(seed uint64) error { return ErrFabricEnded }

// Stats returns the counts since Reset.
func (n *Net) Stats() (Stats, error) { return Stats{}, ErrFabricEnded }

// Close detaches the uplinks. Their devices, now without carrier, go with their namespaces.
func (n *Net) Close() error { return nil }

// SetProfile changes the link for the packets to come, and the device's MTU.
func (u *Uplink) SetProfile(p link.Profile) error { return ErrFabricEnded }

// Close detaches the uplink and removes its device, which takes the kernel tens of milliseconds: where the
// namespace is closed too, close the net instead.
func (u *Uplink) Close() error { return nil }
