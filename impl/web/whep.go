package web

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

const (
	maxOffer     = 64 << 10         // bytes
	offerWait    = 10 * time.Second // for an offer to come whole
	gatherWait   = 3 * time.Second  // for this host's candidates
	connectWait  = 15 * time.Second // for the client to connect
	keyFrameGap  = 250 * time.Millisecond
	contentOfSDP = "application/sdp"
)

// session is one client's video.
type session struct {
	id, camera string
	peer       *webrtc.PeerConnection
	sender     *webrtc.RTPSender
	track      *webrtc.TrackLocalStaticRTP
	connected  chan struct{}
	once       sync.Once // closes connected
	cancel     context.CancelFunc
}

// newAPI is WebRTC with H.264 alone: whatever profile the browser offers, it is given what the camera makes.
func newAPI() (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	for i, profile := range []string{"42e01f", "42001f", "4d001f", "64001f"} {
		err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH264, ClockRate: clockRate, RTCPFeedback: feedback,
				SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile,
			},
			PayloadType: webrtc.PayloadType(102 + i),
		}, webrtc.RTPCodecTypeVideo)
		if err != nil {
			return nil, fmt.Errorf("set up WebRTC: %w", err)
		}
	}
	r := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, r); err != nil {
		return nil, fmt.Errorf("set up WebRTC: %w", err)
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true) // the browser may be on this host
	e.SetICETimeouts(5*time.Second, 15*time.Second, 2*time.Second)
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(e)), nil
}

func (s *Server) options(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Accept-Post", contentOfSDP)
	w.Header().Set("Allow", "OPTIONS, POST, DELETE")
	w.WriteHeader(http.StatusNoContent)
}

// offer answers a WHEP client, and begins its session.
func (s *Server) offer(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != contentOfSDP {
		w.Header().Set("Accept-Post", contentOfSDP)
		problem(w, http.StatusUnsupportedMediaType, "send an SDP offer as "+contentOfSDP)
		return
	}
	sdp, err := s.body(w, r)
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		problem(w, http.StatusRequestEntityTooLarge, "the offer is too large")
		return
	} else if err != nil {
		problem(w, http.StatusRequestTimeout, "the offer did not come whole")
		return
	}
	if !s.reserve() {
		w.Header().Set("Retry-After", "10")
		problem(w, http.StatusServiceUnavailable, "too many sessions: close another one first")
		return
	}
	defer s.release()
	feed, err := s.backend.Watch(r.PathValue("camera"))
	if err != nil {
		problem(w, http.StatusNotFound, err.Error())
		return
	}
	x, answer, err := s.open(r.Context(), r.PathValue("camera"), string(sdp))
	if err != nil {
		feed.Close()
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.begin(x, feed)
	w.Header().Set("Content-Type", contentOfSDP)
	w.Header().Set("Location", "/whep/"+url.PathEscape(x.camera)+"/"+x.id)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

// body reads an offer, for which nobody is waited for long, nor at all once the server closes.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	in := http.NewResponseController(w)
	_ = in.SetReadDeadline(time.Now().Add(offerWait)) // its error is that there is no connection
	stop := context.AfterFunc(s.ctx, func() { _ = in.SetReadDeadline(time.Unix(1, 0)) })
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOffer))
	if stop() && err == nil {
		_ = in.SetReadDeadline(time.Time{})
	}
	return b, err
}

// begin runs a session, beside the request that is still waited for.
func (s *Server) begin(x *session, f Feed) {
	var ctx context.Context
	ctx, x.cancel = context.WithCancel(s.ctx)
	x.peer.OnConnectionStateChange(x.follow)
	s.mu.Lock()
	s.sessions[x.id] = x
	s.mu.Unlock()
	s.running.Go(func() { s.run(ctx, x, f) })
}

// reserve takes a place for a session until release.
func (s *Server) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions)+s.opening >= s.opt.Sessions {
		return false
	}
	s.opening++
	return true
}

func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
}

// open answers an offer with all of this host's candidates.
func (s *Server) open(ctx context.Context, camera, offer string) (*session, string, error) {
	var id [15]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, "", err
	}
	peer, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, "", err
	}
	x := &session{id: base64.RawURLEncoding.EncodeToString(id[:]), camera: camera, peer: peer, connected: make(chan struct{})}
	answer, err := x.answer(ctx, offer)
	if err != nil {
		return nil, "", errors.Join(err, peer.Close())
	}
	return x, answer, nil
}

func (x *session) answer(ctx context.Context, offer string) (string, error) {
	if err := x.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("the offer cannot be used: %w", err)
	}
	var err error
	if x.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: clockRate}, "video", "camera"); err != nil {
		return "", err
	}
	if x.sender, err = x.peer.AddTrack(x.track); err != nil {
		return "", err
	}
	answer, err := x.peer.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("the offer cannot be answered: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(x.peer)
	if err := x.peer.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("the offer cannot be answered: it has to ask for H.264 video: %w", err)
	}
	wait := time.NewTimer(gatherWait)
	defer wait.Stop()
	select {
	case <-gathered:
	case <-wait.C: // with those there are
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if !x.wanted() {
		return "", errors.New("the offer asks for no H.264 video with packetization-mode=1, which is all there is")
	}
	return x.peer.LocalDescription().SDP, nil
}

// wanted says whether the client takes the video: a part of its offer is about it.
func (x *session) wanted() bool {
	for _, t := range x.peer.GetTransceivers() {
		if t.Sender() == x.sender {
			return t.Mid() != "" && len(x.sender.GetParameters().Codecs) > 0
		}
	}
	return false
}

// follow ends the session when its client is gone.
func (x *session) follow(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		x.once.Do(func() { close(x.connected) })
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		x.cancel()
	}
}

// run sends the camera's frames until the session ends.
func (s *Server) run(ctx context.Context, x *session, f Feed) {
	err := s.send(ctx, x, f)
	f.Close()
	x.cancel()
	_ = x.peer.Close() // the client is told, or gone
	s.mu.Lock()
	delete(s.sessions, x.id)
	s.mu.Unlock()
	s.opt.Log.Info("browser's session ended", "camera", x.camera, "reason", fmt.Sprint(err))
}

func (s *Server) send(ctx context.Context, x *session, f Feed) error {
	s.running.Go(func() { x.feedback(ctx, f) })
	wait := time.NewTimer(connectWait)
	defer wait.Stop()
	select {
	case <-x.connected:
	case <-wait.C:
		return errors.New("the client did not connect")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.RequestKeyFrame() // those that wait may have grown old
	p := newPacketizer()
	for {
		frame, err := f.Next(ctx)
		if err != nil {
			return err
		}
		for _, packet := range p.packetize(frame) {
			if err := x.track.WriteRTP(packet); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return err
			}
		}
	}
}

// feedback passes the client's wishes for key frames on.
func (x *session) feedback(ctx context.Context, f Feed) {
	last := time.Time{}
	for ctx.Err() == nil {
		packets, _, err := x.sender.ReadRTCP() // ends with the connection
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				if now := time.Now(); now.Sub(last) >= keyFrameGap {
					last = now
					f.RequestKeyFrame()
				}
			}
		}
	}
}

// end is a client's DELETE.
func (s *Server) end(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	x := s.sessions[r.PathValue("session")]
	known := x != nil && x.camera == r.PathValue("camera")
	if known {
		delete(s.sessions, x.id)
	}
	s.mu.Unlock()
	if !known {
		problem(w, http.StatusNotFound, "there is no such session, or it has ended")
		return
	}
	x.cancel()
	w.WriteHeader(http.StatusOK)
}
