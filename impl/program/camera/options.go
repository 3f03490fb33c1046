package camera

import (
	"context"
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
	SpoolDir        = "spool"
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
	UDPPort uint16         // of the main socket; 0: any
	TLS     uint16         // the rendezvous' port for TLS; 0: 443
	// Resolve finds the addresses of a host's name; nil: the host's resolver. Addresses in the label need none.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	NoMap   bool // ask the router for no port mapping
	NoLAN   bool // hear no viewers that come without a rendezvous
	// ListenLAN opens the socket for viewers on the LAN: bound to LANPort, a member of LANGroups. nil: this host's, unless Network is
	// given.
	ListenLAN func() (net.PacketConn, error)

	Input  string        // as source.ParseInput reads it; "": the built-in clip, again and again
	Stdin  io.Reader     // for input "-"; nil: os.Stdin
	Source source.Config // the rest of the video: rates, ffmpeg, processes. Input, Pipe, Notify and Observe are filled in

	Record func(spool string) (Recorder, error) // nil: nothing is recorded

	Keepalive  time.Duration // as impl/camera.Config's
	MaxViewers int           // the same

	Rand    io.Reader        // cryptographically random; nil: crypto/rand
	Log     *slog.Logger     // nil: none
	Observe func(event any)  // given each event of the core, as node.Options.Observe is
	Ready   func(*Handle)    // called by Run once the camera runs; it may not be registered yet
	Motion  <-chan os.Signal // Run tells the recorder that something moves
}

// Recorder records what the camera sees. Write and Motion do not wait for the network.
type Recorder interface {
	Write(media.AccessUnit) error
	Motion(now time.Time)
	Close(ctx context.Context) error
}

// Handle is a camera that runs. It is safe for concurrent use.
type Handle struct{}

// Start opens the folder and the sockets, and serves until Close or Kill. Of Options, Ready and Motion are Run's alone.
func Start(opt Options) (*Handle, error) { return nil, errors.New("start camera: not possible yet") }

// Run serves until the context ends; then the camera says goodbye.
func Run(ctx context.Context, opt Options) error {
	h, err := Start(opt)
	if err != nil {
		return err
	}
	if opt.Ready != nil {
		opt.Ready(h)
	}
	<-ctx.Done()
	return h.Close()
}

// Close says goodbye to the viewers and the rendezvous, and ends everything.
func (h *Handle) Close() error { return nil }

// Kill ends the camera as a power cut does: nobody is told.
func (h *Handle) Kill() {}

// Label is what viewers need. It holds the pairing secret.
func (h *Handle) Label() identity.Label { return identity.Label{} }

// Motion tells the recorder that something moves.
func (h *Handle) Motion() {}

// Reset makes a state folder what the maker delivered: pairings, invitations and spool go, so that the label works again. Key,
// certificate and label stay. It refuses while a camera uses the folder.
func Reset(dir string) error { return errors.New("reset camera: not possible yet") }
