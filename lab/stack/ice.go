package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/peers/ice"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

// The strategies of ICE.
const (
	iceDefault = "ice"
	iceTuned   = "ice-tuned"
)

// ICE is WebRTC as people deploy it (impl/peers/ice: pion's ICE, DTLS-SRTP, STUN and TURN), in this process, on real
// sockets in the lab's hosts. Signalling, STUN and TURN are on the host rendezvous.
type ICE struct {
	// Coturn is the path of coturn's turnserver, to be used for STUN and TURN; empty: pion/turn.
	Coturn string
}

// Name returns "ice".
func (ICE) Name() string { return "ice" }

// Strategies lists the settings that it can be tried with.
func (ICE) Strategies() []string { return []string{iceDefault, iceTuned} }

// Summary is what the settings are.
func (ICE) Summary(strategy string) string {
	switch strategy {
	case iceDefault:
		return "WebRTC (pion) with the library's defaults: trickle ICE, STUN, TURN over UDP and TCP 443, DTLS-SRTP"
	case iceTuned:
		return "WebRTC (pion) with its best published settings: no wait for reflexive pairs, fast checks, no DTLS cookie"
	}
	return ""
}

// Programs names the rendezvous: signalling, STUN and TURN.
func (ICE) Programs() []string { return []string{"rendezvous"} }

// Try has a viewer ask a camera, which is connected to the signalling server, for the media.
func (i ICE) Try(ctx context.Context, l *lab.Lab, t Trial) (o Observation, err error) {
	x, err := i.start(l, t)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	if err := x.watch.online(ctx); err != nil {
		return Observation{Outcome: record.Failed, Cause: err.Error(), Error: "no rendezvous"}, ctx.Err()
	}
	idle := x.idle(ctx, t.Idle)
	x.watch.tell(Requested)
	if err := x.viewer.Ask(); err != nil {
		return o, err
	}
	window, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	select {
	case <-x.watch.over:
	case <-window.Done():
	}
	o = x.observe()
	if t.Idle > 0 {
		o.Bytes["camera_idle_up"] = idle
	}
	return o, ctx.Err()
}

// iceTrial is the three programs of one trial.
type iceTrial struct {
	watch   *iceWatch
	server  *iceServer
	camera  *ice.Camera
	viewer  *ice.Viewer
	sockets [2]*ice.Net  // camera's, viewer's
	listens []netip.Addr // of the rendezvous
	servers []netip.Addr // the same, as the hosts write them
}

func (i ICE) start(l *lab.Lab, t Trial) (*iceTrial, error) {
	x := &iceTrial{watch: newICEWatch(t)}
	if err := x.serve(l, i.Coturn); err != nil {
		return nil, errors.Join(err, x.close())
	}
	settings := ice.Default()
	if t.Strategy == iceTuned {
		settings = ice.Tuned()
	}
	if err := x.startCamera(l, settings); err != nil {
		return nil, errors.Join(err, x.close())
	}
	if err := x.startViewer(l, settings, t.Seed); err != nil {
		return nil, errors.Join(err, x.close())
	}
	return x, nil
}

// serve starts the rendezvous on the host's first address of each family.
func (x *iceTrial) serve(l *lab.Lab, coturn string) error {
	m := l.Host("rendezvous")
	for _, a := range m.Addrs {
		if !slices.ContainsFunc(x.listens, func(o netip.Addr) bool { return o.Is4() == a.Is4() }) {
			x.listens = append(x.listens, a)
		}
	}
	x.server = &iceServer{machine: m, addrs: x.listens, coturn: coturn, welcomed: x.watch.welcomed}
	if err := x.server.Start(); err != nil {
		return err
	}
	x.server.forget = m.Run(x.server)
	return nil
}

// reachable lists the rendezvous's addresses as a host has to write them.
func (x *iceTrial) reachable(l *lab.Lab, host string) (all []netip.Addr, err error) {
	for _, a := range l.Topology().AddrsFrom(host, "rendezvous") {
		b := a.As16()
		through64 := netip.AddrFrom4([4]byte(b[12:])) // of an address that a NAT64 translates (RFC 6052 §2.2, a prefix of 96 bits)
		if slices.Contains(x.listens, a) || a.Is6() && slices.Contains(x.listens, through64) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("host %s has no family in common with the rendezvous", host)
	}
	x.servers = append(x.servers, all...)
	return all, nil
}

func (x *iceTrial) startCamera(l *lab.Lab, settings ice.Settings) error {
	servers, err := x.reachable(l, "camera")
	if err != nil {
		return err
	}
	x.sockets[0] = ice.NewNet(l.Host("camera").Do)
	x.camera, err = ice.NewCamera(ice.CameraConfig{
		Net: x.sockets[0], Signal: netip.AddrPortFrom(servers[0], ice.TCPPort), Servers: servers, Settings: settings, Source: x.source,
	})
	return err
}

func (x *iceTrial) startViewer(l *lab.Lab, settings ice.Settings, seed uint64) error {
	servers, err := x.reachable(l, "viewer")
	if err != nil {
		return err
	}
	x.sockets[1] = ice.NewNet(l.Host("viewer").Do)
	x.viewer, err = ice.NewViewer(ice.ViewerConfig{
		Net: x.sockets[1], Signal: netip.AddrPortFrom(servers[0], ice.TCPPort), Servers: servers, Settings: settings,
		Session: seed | 1, FPS: media.EmbeddedClip().FPS, Observe: x.watch.event,
	})
	return err
}

// source is what the camera films: the clip, or, where the trial ends with the first frame, pictures that fit a packet. It
// does not end: WebRTC has no end of a stream that would have a receiver ask for the last packet.
func (x *iceTrial) source() media.Source {
	if x.watch.connectOnly {
		return &still{fps: media.EmbeddedClip().FPS}
	}
	return media.EmbeddedClip().Loop()
}

// still repeats a small key frame.
type still struct{ next, fps int }

func (s *still) Next() (media.AccessUnit, error) {
	au, err := one{}.Next()
	au.Index, au.PTS = s.next, time.Duration(s.next)*time.Second/time.Duration(s.fps)
	s.next++
	return au, err
}

// idle waits for d and returns how many bytes the camera sent meanwhile.
func (x *iceTrial) idle(ctx context.Context, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	before := x.camera.Traffic().Sent.Bytes
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return x.camera.Traffic().Sent.Bytes - before
}

func (x *iceTrial) close() error {
	var errs []error
	if x.viewer != nil {
		errs = append(errs, x.viewer.Close())
	}
	if x.camera != nil {
		errs = append(errs, x.camera.Close())
	}
	if x.server != nil {
		errs = append(errs, x.server.close())
	}
	return errors.Join(errs...)
}
