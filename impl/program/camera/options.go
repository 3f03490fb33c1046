package camera

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/source"
)

// Files of the state folder.
const (
	KeyFile         = "camera.key"
	CertificateFile = "camera.crt"
	LabelFile       = "label.txt"
	PairingsFile    = "pairings.json"
	BootFile        = "boot"
	AddressesFile   = "addresses.json" // where the rendezvous was last found
	PortFile        = "port"           // the main socket's
	PrivacyFile     = "private"        // there: the camera gives no media
	RecordingKey    = "recording.key"  // of the recordings, by punchlab camera --record
	SpoolDir        = "spool"
	lockFile        = "lock"
)

// Port and TLS are the rendezvous' ports where a label or flag does not say. LANPort is where cameras hear viewers on their own network.
const (
	Port    = 4479
	TLS     = 443
	LANPort = 4478
)

// LANGroups are the multicast groups that cameras are in.
var LANGroups = []netip.Addr{netip.MustParseAddr("239.255.44.79"), netip.MustParseAddr("ff02::4479")}

// Options describe a camera. Zero values mean what is said at each.
type Options struct {
	Dir string // the state folder; "": nothing is kept, and Key and Label are needed

	Key         identity.Key   // zero: Dir's
	Label       identity.Label // zero: Dir's
	Certificate []byte         // nil: Dir's, where it has one
	// OpenLabel lets everybody who has the label watch as a guest, for ever. Without it the first becomes the owner, and the others
	// need his invitation.
	OpenLabel bool

	Network device.Network // where sockets are made; without ListenUDP: this host
	UDPPort uint16         // of the main socket; 0: the last one's, or any
	TLS     uint16         // the rendezvous' port for TLS; 0: 443
	// Resolve finds the addresses of a host's name; nil: the host's resolver. Addresses in the label need none.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	NoMap   bool // ask the router for no port mapping
	NoLAN   bool // hear no viewers that come without a rendezvous; without Dir none do

	Input  string        // as source.ParseInput reads it; "": the built-in clip, again and again
	Stdin  io.Reader     // for input "-"; nil: os.Stdin
	Source source.Config // the rest of the video: rates, ffmpeg, processes. Input, Pipe, Notify and Observe are filled in

	// Record opens a camera's recorder, which keeps what is not yet stored in a folder of its own, Dir's; nil: nothing is recorded.
	Record func(camera identity.UID, spool string) (Recorder, error)

	Keepalive  time.Duration // as impl/camera.Config's
	MaxViewers int           // the same

	Rand io.Reader    // cryptographically random; nil: crypto/rand
	Log  *slog.Logger // nil: none
	// Sent is told of each access unit that is given to the network, once for each viewer that gets it, as impl/camera.Config's.
	Sent    func(now time.Time, viewer identity.UID, au media.AccessUnit)
	Observe func(event any)  // given each event of the core, as node.Options.Observe is, and of the source
	Ready   func(*Handle)    // called by Run once the camera runs; it may not be registered yet
	Motion  <-chan os.Signal // Run tells the recorder that something moves

	ownHost   bool
	elsewhere time.Duration // tests: instead of elsewhereWhen
}

// Recorder records what the camera sees. Write and Motion do not wait for the network or the disk.
type Recorder interface {
	Write(media.AccessUnit) error
	Motion(now time.Time)
	Close(ctx context.Context) error
}

func (o Options) withDefaults() (Options, error) {
	if o.Network.ListenUDP == nil {
		o.Network = device.Host()
		o.ownHost = true
	}
	if o.TLS == 0 {
		o.TLS = TLS
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.elsewhere == 0 {
		o.elsewhere = elsewhereWhen
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" && o.Key.IsZero() {
		return o, errors.New("start camera: neither a folder nor a key is given: name the folder that 'punchlab provision' made")
	}
	if o.Dir == "" && o.Record != nil {
		return o, errors.New("start camera: recording needs a folder: what is not yet stored waits there")
	}
	return o, nil
}
