package virtual_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// knockWorld has a camera behind a NAT with a port forwarded to it, and no rendezvous that answers.
func knockWorld(t *testing.T, listen bool) (*world, netip.AddrPort) {
	w := newWorld(t, worldConfig{seed: 60, cameraNAT: symmetric, viewerNAT: symmetric, camera: func(c *camera.Config) { c.Listen = listen }})
	w.serverHost.Down(true)
	return w, w.cameraSite.Forward(40000, w.cameraHost.Addrs[0])
}

func (w *world) knock(at netip.AddrPort) {
	w.t.Helper()
	w.viewerHost.Do(func(now time.Time) { w.check(w.viewer.ConnectDirect(now, w.label, at, "port-forward")) })
}

// The traditional camera: its owner has forwarded a port. Two round trips to the video, and no rendezvous.
func TestForwardedPort(t *testing.T) {
	w, at := knockWorld(t, true)
	start := w.net.Now
	w.knock(at)
	w.net.Run(3*time.Second, nil)
	s := w.viewer.Stats()
	if s.Path != punch.To(at) || !s.Confirmed || s.Connected.Sub(start) != 40*time.Millisecond || s.FirstPacket.Sub(start) > 110*time.Millisecond {
		t.Errorf("path %v, connected after %v, first packet after %v; events%s", s.Path, s.Connected.Sub(start), s.FirstPacket.Sub(start), events(w))
	}
	w.checkFrames(60)
	w.viewerSite.Rebind() // the viewer roams, and is challenged where it appears from
	at2 := w.net.Now
	w.net.Run(3*time.Second, nil)
	if longest, atEnd := w.standstill(at2); longest > 600*time.Millisecond || atEnd > 100*time.Millisecond {
		t.Errorf("after the viewer's move: stood still for %v, and %v at the end", longest, atEnd)
	}
}

// Any one packet of it may be lost.
func TestForwardedPortOnePacketLost(t *testing.T) {
	for k := range 12 {
		w, at := knockWorld(t, true)
		n := 0
		w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
			if !betweenPeers(from, p) {
				return true
			}
			n++
			return n != k+1
		}
		w.knock(at)
		w.net.Run(3*time.Second, nil)
		if s := w.viewer.Stats(); s.Path != punch.To(at) || !s.Confirmed {
			t.Errorf("packet %d lost: path %v; events%s", k+1, s.Path, events(w))
		}
		w.checkFrames(50)
	}
}

// A camera that was not told to listen, one that the viewer is no guest of, and no camera at all: silence, and a cause.
func TestForwardedPortInVain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		listen bool
		change func(w *world)
	}{
		{"not listening", false, func(*world) {}},
		{"not paired", true, func(w *world) { w.label.Secret = identity.Secret{9} }},
		{"another camera", true, func(w *world) { w.label.Key = mustKey(randomness(77, 1)).Public() }},
	} {
		w, at := knockWorld(t, tt.listen)
		tt.change(w)
		sent := w.camera.Stats().Traffic.Of(core.Handshake).Packets
		w.knock(at)
		w.net.Run(7*time.Second, nil)
		f, ok := first[viewer.Failed](w.viewerHost)
		if !ok || f.Code != wire.CodeCameraSilent || !strings.Contains(f.Cause, at.String()) {
			t.Errorf("%s: failed %+v", tt.name, f)
		}
		for _, e := range w.cameraHost.Events {
			if _, ok := e.E.(camera.StreamStarted); ok {
				t.Errorf("%s: a stream was started", tt.name)
			}
		}
		if s := w.camera.Stats(); s.Viewers != 0 || s.Traffic.Of(core.Media).Packets != 0 || tt.listen && s.Traffic.Of(core.Handshake).Packets-sent > 8 {
			t.Errorf("%s: camera %+v", tt.name, s)
		}
	}
}

// Who knocks with another's address as its source has that one sent fewer bytes than it spent itself, and no media; a flood of
// knocks is asked for cookies.
func TestKnockingIsNoAmplifier(t *testing.T) {
	w, at := knockWorld(t, true)
	b := w.bystander()
	var initiation []byte
	in := int64(0)
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if from.Name == "viewer" && p.To == at {
			initiation = append([]byte(nil), p.B...)
			return false
		}
		return true
	}
	w.knock(at)
	w.net.Run(10*time.Millisecond, nil)
	for range 40 {
		in += int64(len(initiation))
		w.net.Inject(w.cameraHost, bystanderAddr, initiation)
		w.net.Run(20*time.Millisecond, nil)
	}
	w.net.Run(20*time.Second, nil)
	if b.got.Packets == 0 || b.got.Bytes > in || w.camera.Stats().Traffic.Of(core.Media).Packets != 0 || w.camera.Stats().Viewers != 0 {
		t.Errorf("the bystander got %+v for %d bytes; camera %+v", b.got, in, w.camera.Stats())
	}
	if b.got.Packets-5 > 25 || w.camera.Stats().Traffic.Of(core.Handshake).Bytes > in {
		t.Errorf("%+v sent", b.got)
	}
}

// Under load the camera asks for a cookie, and a viewer that has one is served.
func TestKnockingUnderLoad(t *testing.T) {
	w, at := knockWorld(t, true)
	w.bystander()
	var initiation []byte
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if from.Name == "viewer" && p.To == at && initiation == nil {
			initiation = append([]byte(nil), p.B...)
			return false
		}
		return true
	}
	w.knock(at)
	for range 12 { // a flood, all the time
		for range 10 {
			w.net.Inject(w.cameraHost, bystanderAddr, initiation[:len(initiation)-1])
			w.net.Inject(w.cameraHost, bystanderAddr, append(initiation[:4:4], append([]byte{1, 2, 3, 4}, initiation[8:]...)...))
			w.net.Inject(w.cameraHost, bystanderAddr, initiation)
		}
		w.net.Run(50*time.Millisecond, nil)
	}
	w.net.Run(3*time.Second, nil)
	if s := w.viewer.Stats(); s.Path != punch.To(at) || !s.Confirmed {
		t.Errorf("path %v; camera %+v; events%s", s.Path, w.camera.Stats(), events(w))
	}
}

// Who copies a knock from another's address, faster than the viewer, and then what the viewer says in the session, does not draw the
// media there: the camera has told the keys to two addresses, and trusts neither without a challenge.
func TestCopiedKnockDrawsNoMedia(t *testing.T) {
	w, at := knockWorld(t, true)
	b := w.bystander()
	copied := false
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if from.Name == "viewer" && p.To == at && (!copied || wire.Classify(p.B) == wire.Transport) {
			copied = true
			w.net.Inject(w.cameraHost, bystanderAddr, p.B)
			return wire.Classify(p.B) == wire.Initiation
		}
		return true
	}
	w.knock(at)
	w.net.Run(5*time.Second, nil)
	if b.got.Packets == 0 || b.got.Packets > punch.MaxUnconfirmedPackets || b.got.Bytes > punch.MaxUnconfirmedBytes {
		t.Errorf("the bystander got %+v; camera %+v", b.got, w.camera.Stats())
	}
}
