package stack

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// parts is what the three nodes of a trial are made of, whatever drives them: sockets (bundle), or virtual time (simulation).
type parts struct {
	trial   Trial
	policy  punch.Policy
	label   identity.Label
	headers int // bytes of IP and UDP on each of the viewer's packets
	watch   *watch
	source  func() media.Source
	sent    atomic.Int64 // access units that the camera took from its source

	serverKey, cameraKey, viewerKey identity.Key
	serversFrom                     map[string][]netip.AddrPort // where camera and viewer find the rendezvous
}

// seeded is a trial's randomness.
func seeded(seed uint64) io.Reader {
	var b [32]byte
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(b)
}

// generator makes one that is seeded from another. Each core has its own: the order of their calls is the scheduler's.
func generator(random io.Reader) io.Reader {
	var seed [32]byte
	_, _ = io.ReadFull(random, seed[:])
	return rand.NewChaCha8(seed)
}

// draw makes keys and label from the trial's randomness: a lab's secrets are nobody's.
func (p *parts) draw(t Trial, policy punch.Policy, topo *lab.Topology, w *watch, random io.Reader) error {
	p.trial, p.policy, p.watch, p.source = t, policy, w, p.clip
	for _, k := range []*identity.Key{&p.serverKey, &p.cameraKey, &p.viewerKey} {
		key, err := identity.NewKey(random)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		*k = key
	}
	// Where the two find it depends on the families that they have.
	p.serversFrom = map[string][]netip.AddrPort{}
	for i, host := range []string{"camera", "viewer"} {
		for _, node := range rotate(rendezvousHosts(topo), i) { // so that the two have different ones, where there are several
			addrs := topo.AddrsFrom(host, node)
			if len(addrs) == 0 {
				return fmt.Errorf("host %s has no family in common with %s", host, node)
			}
			p.serversFrom[host] = append(p.serversFrom[host], netip.AddrPortFrom(addrs[0], bundledPort))
		}
	}
	at := p.serversFrom["viewer"][0]
	p.label = identity.Label{Key: p.cameraKey.Public(), RendezvousKey: p.serverKey.Public(), Rendezvous: []string{at.String()}}
	if _, err := io.ReadFull(random, p.label.Secret[:]); err != nil {
		return fmt.Errorf("draw pairing secret: %w", err)
	}
	if p.headers = ipUDP; at.Addr().Is6() {
		p.headers = ipv6UDP
	}
	w.uid = p.label.UID()
	return nil
}

// rotate begins a list with another of its items.
func rotate(list []string, by int) []string {
	by %= max(1, len(list))
	return slices.Concat(list[by:], list[:by])
}

// servers is where a host finds its rendezvous.
func (p *parts) servers(host string) []netip.AddrPort {
	return device.Servers(p.serversFrom[host], tlsPort, p.policy.Uplink)
}

// informed says whether a rendezvous knows the classes that the devices have found, as it must before a viewer asks: what camera and
// viewer know they tell it a one-way delay later. A device that has found nothing says nothing.
func (p *parts) informed(server *rendezvous.Server, ofCamera, ofViewer wire.Class) bool {
	knows := func(k identity.Key, r rendezvous.Role, class wire.Class) bool {
		v, _ := server.Describe(k.Public(), r)
		return class.IsZero() || !v.Class.IsZero()
	}
	return knows(p.cameraKey, rendezvous.Camera, ofCamera) && knows(p.viewerKey, rendezvous.Viewer, ofViewer)
}

// cameraConfig is the camera's, with endpoints of its own and such as a TURN server lends.
func (p *parts) cameraConfig(host, relayed []netip.AddrPort, random io.Reader) camera.Config {
	return camera.Config{
		Static: p.cameraKey, Rendezvous: p.servers("camera"), RendezvousKey: p.label.RendezvousKey, Secret: p.label.Secret,
		Rand: random, Source: func() media.Source { return &counted{p.source(), &p.sent} },
		Host: host, Relayed: relayed, Classify: device.Classifies(p.policy), Listen: p.policy.Forward,
	}
}

// viewerConfig is the viewer's.
func (p *parts) viewerConfig(host, relayed []netip.AddrPort, random io.Reader) viewer.Config {
	return viewer.Config{
		Static: p.viewerKey, Rendezvous: p.servers("viewer"), RendezvousKey: p.label.RendezvousKey, Rand: random,
		Host: host, Relayed: relayed, Classify: device.Classifies(p.policy),
	}
}

// clip is the embedded clip, as much of it as the trial asks for. A connect-only trial has one access unit that fits a
// packet: the proof that media flows.
func (p *parts) clip() media.Source {
	if p.watch.connectOnly {
		return &limited{one{}, connectFrames}
	}
	return &limited{media.EmbeddedClip().Loop(), p.watch.frames}
}

// limited ends a source after n access units, so that what was sent and what arrived can be compared one by one.
type limited struct {
	media.Source
	left int
}

func (l *limited) Next() (media.AccessUnit, error) {
	if l.left <= 0 {
		return media.AccessUnit{}, io.EOF
	}
	l.left--
	return l.Source.Next()
}

// counted counts what is taken from a source.
type counted struct {
	media.Source
	n *atomic.Int64
}

func (c *counted) Next() (media.AccessUnit, error) {
	au, err := c.Source.Next()
	if err == nil {
		c.n.Add(1)
	}
	return au, err
}

// one is a source of small key frames.
type one struct{}

// idr is a NAL unit of type 5 (IDR slice) with nothing worth decoding.
var idr = append([]byte{0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{0x88}, 200)...)

func (one) Next() (media.AccessUnit, error) {
	return media.AccessUnit{Key: true, Data: idr, Hash: media.Sum(idr)}, nil
}
