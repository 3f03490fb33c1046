package ice

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/punchlab/punchlab/impl/media"
)

// rtpSize is of a packet before encryption: what pion's own packetizer makes (outboundMTU).
const rtpSize = 1200

// h264 is what the clip is: constrained baseline.
var h264 = webrtc.RTPCodecCapability{
	MimeType: webrtc.MimeTypeH264, ClockRate: clockRate,
	SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
}

// CameraConfig configures a Camera.
type CameraConfig struct {
	Net      *Net           // taken over: Close closes it
	Signal   netip.AddrPort // of the signalling server
	Servers  []netip.Addr   // of STUN and TURN, as a Server listens there
	Settings Settings
	Source   func() media.Source // for each viewer; sent until it ends or the viewer goes
}

// Camera answers viewers' offers and sends each its source. It is safe for concurrent use.
type Camera struct {
	cfg   CameraConfig
	party *party
	sig   *signalling
	sent  atomic.Int64

	mu     sync.Mutex
	viewer *session // the last who came
}

// NewCamera connects a camera to the signalling server, and goes on trying where that fails.
func NewCamera(cfg CameraConfig) (*Camera, error) {
	p, err := newParty(cfg.Net, cfg.Settings, cfg.Servers)
	if err != nil {
		return nil, fmt.Errorf("start camera: %w", errors.Join(err, cfg.Net.Close()))
	}
	c := &Camera{cfg: cfg, party: p}
	c.sig = newSignalling(cfg.Net, cfg.Signal, RoleCamera, c.take)
	go c.sig.run()
	return c, nil
}

// Sent is how many access units have been sent, or have begun to be: one that a viewer has is among them, however soon it asks.
func (c *Camera) Sent() int { return int(c.sent.Load()) }

// Traffic is what its sockets carried.
func (c *Camera) Traffic() Traffic { return c.cfg.Net.Meter.Traffic() }

// Close hangs up and waits for the goroutines.
func (c *Camera) Close() error {
	c.cfg.Net.cancel()
	c.sig.close()
	c.mu.Lock()
	v := c.viewer
	c.viewer = nil
	c.mu.Unlock()
	var err error
	if v != nil {
		err = v.close()
	}
	return errors.Join(err, ignoreClosed(c.cfg.Net.Close()))
}

// take runs on the signalling's goroutine.
func (c *Camera) take(m message) {
	switch m.Kind {
	case kindOffer:
		c.offered(m)
	case kindCandidate:
		c.mu.Lock()
		v := c.viewer
		c.mu.Unlock()
		if v != nil && v.id == m.Session && m.Candidate != nil {
			v.candidate(*m.Candidate)
		}
	}
}

// offered answers an offer, of a new viewer or of one that starts ICE anew. What cannot be answered is left: the viewer
// has a time limit of its own.
func (c *Camera) offered(m message) {
	c.mu.Lock()
	v := c.viewer
	c.mu.Unlock()
	if v == nil || v.id != m.Session {
		fresh, err := c.session(m.Session)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.viewer = fresh
		c.mu.Unlock()
		if v != nil {
			_ = v.close()
		}
		v = fresh
	}
	_ = v.answer(m.Peer, m.SDP)
}

// session is one viewer's connection.
type session struct {
	id     uint64
	camera *Camera
	pc     *webrtc.PeerConnection
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender

	order sync.Mutex // an answer leaves before its candidates
	peer  uint64
	offer string
	said  []message // the answer and its candidates
	start sync.Once
	end   chan struct{}
	work  sync.WaitGroup
}

func (c *Camera) session(id uint64) (*session, error) {
	pc, err := c.party.connection()
	if err != nil {
		return nil, err
	}
	s := &session{id: id, camera: c, pc: pc, end: make(chan struct{})}
	if s.track, err = webrtc.NewTrackLocalStaticRTP(h264, "video", "camera"); err == nil {
		s.sender, err = pc.AddTrack(s.track)
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	pc.OnICECandidate(s.gathered)
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			s.start.Do(s.connected)
		}
	})
	pc.OnICEConnectionStateChange(func(state webrtc.ICEConnectionState) {
		if state == webrtc.ICEConnectionStateDisconnected {
			c.sig.renew()
		}
	})
	s.sender.Transport().ICETransport().OnSelectedCandidatePairChange(func(*webrtc.ICECandidatePair) {
		c.cfg.Net.Meter.settle()
	})
	s.work.Add(1)
	go s.feedback()
	return s, nil
}

// answer takes an offer that came by a viewer's connection to the server. One that is known gets the same answer again: the
// first was lost.
func (s *session) answer(peer uint64, sdp string) error {
	s.order.Lock()
	defer s.order.Unlock()
	s.peer = peer
	if sdp == s.offer {
		for _, m := range s.said {
			s.send(m)
		}
		return nil
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}); err != nil {
		return err
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	s.offer, s.said = sdp, nil
	s.say(message{Kind: kindAnswer, SDP: answer.SDP})
	return nil
}

// gathered sends a candidate of the camera's.
func (s *session) gathered(c *webrtc.ICECandidate) {
	if c == nil {
		return
	}
	s.order.Lock()
	defer s.order.Unlock()
	init := c.ToJSON()
	s.say(message{Kind: kindCandidate, Candidate: &init})
}

// say sends what belongs to an answer, and keeps it.
func (s *session) say(m message) {
	s.said = append(s.said, m)
	s.send(m)
}

func (s *session) send(m message) {
	m.Peer, m.Session = s.peer, s.id
	s.camera.sig.send(m)
}

// candidate takes one of the viewer's.
func (s *session) candidate(c webrtc.ICECandidateInit) { _ = s.pc.AddICECandidate(c) }

// connected starts the media.
func (s *session) connected() {
	s.work.Add(1)
	go s.stream()
}

// feedback reads RTCP, which the interceptors act on.
func (s *session) feedback() {
	defer s.work.Done()
	b := make([]byte, 1500)
	for {
		if _, _, err := s.sender.Read(b); err != nil {
			return
		}
	}
}

// stream sends the source in its own time.
func (s *session) stream() {
	defer s.work.Done()
	source, begin := s.camera.cfg.Source(), time.Now()
	extension, seq := s.extension(), uint16(0)
	for {
		au, err := source.Next()
		if err != nil { // the end
			return
		}
		due := begin.Add(au.PTS)
		select {
		case <-s.end:
			return
		case <-time.After(time.Until(due)):
		}
		s.camera.sent.Add(1) // before it can come
		for _, p := range packetize(au, &seq, time.Now(), extension) {
			_ = s.track.WriteRTP(p)
		}
	}
}

// packetize makes an access unit's packets as pion's own packetizer does, with a timestamp that tells the index, and dated if
// the extension has a number.
func packetize(au media.AccessUnit, seq *uint16, captured time.Time, extension uint8) (all []*rtp.Packet) {
	payloads := (&codecs.H264Payloader{}).Payload(rtpSize-12, au.Data)
	date := captureTime(captured)
	for i, payload := range payloads {
		p := &rtp.Packet{Header: rtp.Header{
			Version: 2, Marker: i == len(payloads)-1, SequenceNumber: *seq,
			Timestamp: uint32(au.PTS * clockRate / time.Second),
		}, Payload: payload}
		if extension != 0 {
			_ = p.SetExtension(extension, date)
		}
		*seq++
		all = append(all, p)
	}
	return all
}

func captureTime(at time.Time) []byte {
	b, _ := rtp.NewAbsCaptureTimeExtension(at).Marshal()
	return b
}

// extension is the number that was agreed on for absCaptureTime; 0: none.
func (s *session) extension() uint8 {
	for _, e := range s.sender.GetParameters().HeaderExtensions {
		if e.URI == absCaptureTime {
			return uint8(e.ID)
		}
	}
	return 0
}

func (s *session) close() error {
	close(s.end)
	err := s.pc.GracefulClose()
	s.work.Wait()
	return err
}
