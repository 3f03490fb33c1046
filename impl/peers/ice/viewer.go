package ice

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/punchlab/punchlab/impl/media"
)

// ViewerConfig configures a Viewer.
type ViewerConfig struct {
	Net      *Net           // taken over: Close closes it
	Signal   netip.AddrPort // of the signalling server
	Servers  []netip.Addr   // of STUN and TURN, as a Server listens there
	Settings Settings
	Session  uint64 // tells this viewer from others
	FPS      int    // of the camera's source
	// Observe is told each event; it must not block, nor call the viewer. Nil: nobody asks.
	Observe func(any)
}

// Events that Observe is told, from several goroutines.
type (
	// Welcomed says that the signalling server knows the viewer.
	Welcomed struct{}
	// Connected says that DTLS stands: both hold the keys.
	Connected struct{}
	// FirstPacket says that a media packet came, and was authentic.
	FirstPacket struct{}
	// FrameReceived is a whole access unit.
	FrameReceived struct{ Frame media.Frame }
	// StateChanged is ICE's state.
	StateChanged struct{ State webrtc.ICEConnectionState }
)

// Viewer asks a camera for its video. It is safe for concurrent use.
type Viewer struct {
	cfg   ViewerConfig
	party *party
	sig   *signalling
	end   chan struct{}
	work  sync.WaitGroup

	order sync.Mutex // an offer leaves before its candidates

	mu     sync.Mutex
	closed bool
	pc     *webrtc.PeerConnection // nil: nobody asked yet
	ice    *webrtc.ICETransport
	said   []said // since the offer that has no answer yet; nil: there is none
	s      Stats
	frames *assembler
}

// Stats is what a viewer saw. Zero times did not happen.
type Stats struct {
	Asked, Connected, FirstPacket, FirstFrame time.Time

	Pair        Pair // the one selected last
	PathChanges int
	State       webrtc.ICEConnectionState
	Restarts    int
	Offered     bool // the offer left
	Answered    bool
	Mine, Peers []Candidate
	Traffic     Traffic
	Quality     media.Quality
	Err         error // what went wrong first
}

// NewViewer connects a viewer to the signalling server, and goes on trying where that fails.
func NewViewer(cfg ViewerConfig) (*Viewer, error) {
	p, err := newParty(cfg.Net, cfg.Settings, cfg.Servers)
	if err != nil {
		return nil, fmt.Errorf("start viewer: %w", errors.Join(err, cfg.Net.Close()))
	}
	if cfg.Observe == nil {
		cfg.Observe = func(any) {}
	}
	v := &Viewer{cfg: cfg, party: p, end: make(chan struct{}), frames: newAssembler(cfg.FPS)}
	v.sig = newSignalling(cfg.Net, cfg.Signal, RoleViewer, v.take)
	go v.sig.run()
	return v, nil
}

// Ask asks for the camera's video; once. What goes wrong later is in the events.
func (v *Viewer) Ask() error {
	v.mu.Lock()
	v.s.Asked = time.Now()
	v.mu.Unlock()
	pc, err := v.party.connection()
	if err != nil {
		return fmt.Errorf("ask for the camera: %w", err)
	}
	video, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{
		Direction: webrtc.RTPTransceiverDirectionRecvonly,
	})
	if err != nil {
		return fmt.Errorf("ask for the camera: %w", errors.Join(err, pc.Close()))
	}
	dtls := video.Receiver().Transport()
	v.mu.Lock()
	v.pc, v.ice = pc, dtls.ICETransport()
	v.mu.Unlock()
	pc.OnICECandidate(v.gathered)
	pc.OnICEConnectionStateChange(v.state)
	pc.OnTrack(v.receive)
	dtls.OnStateChange(func(s webrtc.DTLSTransportState) {
		if s == webrtc.DTLSTransportStateConnected {
			v.moment(&v.s.Connected, Connected{})
		}
	})
	v.ice.OnSelectedCandidatePairChange(v.selected)
	return v.offer(false)
}

// offer makes an offer and sends it.
func (v *Viewer) offer(restart bool) error {
	v.order.Lock()
	defer v.order.Unlock()
	offer, err := v.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		return fmt.Errorf("make offer: %w", err)
	}
	if err := v.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("make offer: %w", err)
	}
	v.say(message{Kind: kindOffer, Session: v.cfg.Session, SDP: offer.SDP})
	v.later(repeatAfter, v.repeat)
	return nil
}

// repeatAfter is how long an answer is waited for: whom the server passed the offer to may be gone.
const repeatAfter = 3 * time.Second

// repeat says an offer again until there is an answer.
func (v *Viewer) repeat() {
	v.mu.Lock()
	waiting := v.said != nil
	v.mu.Unlock()
	if waiting {
		v.again(true)
		v.later(repeatAfter, v.repeat)
	}
}

// say sends what belongs to an offer and keeps it until there is an answer.
func (v *Viewer) say(m message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	on := v.sig.send(m)
	v.s.Offered = v.s.Offered || on > 0
	if m.Kind == kindOffer || v.said != nil {
		v.said = append(v.said, said{m, on})
	}
}

func (v *Viewer) gathered(c *webrtc.ICECandidate) {
	if c == nil {
		return
	}
	v.order.Lock()
	defer v.order.Unlock()
	v.mu.Lock()
	v.s.Mine = append(v.s.Mine, candidateOf(*c))
	v.mu.Unlock()
	init := c.ToJSON()
	v.say(message{Kind: kindCandidate, Session: v.cfg.Session, Candidate: &init})
}

// take runs on the signalling's goroutine.
func (v *Viewer) take(m message) {
	switch {
	case m.Kind == kindWelcome:
		v.again(false)
		v.cfg.Observe(Welcomed{})
	case m.Session != v.cfg.Session:
	case m.Kind == kindAbsent:
		v.later(redialAfter, func() { v.again(true) })
	case m.Kind == kindAnswer:
		v.answered(m.SDP)
	case m.Kind == kindCandidate && m.Candidate != nil:
		v.remote(*m.Candidate)
	}
}

// note keeps the first thing that went wrong.
func (v *Viewer) note(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.s.Err == nil && !v.closed {
		v.s.Err = err
	}
}

// later does something on a goroutine of its own, unless the viewer is closed first.
func (v *Viewer) later(d time.Duration, do func()) {
	if !v.enter() {
		return
	}
	go func() {
		defer v.work.Done()
		select {
		case <-v.end:
		case <-time.After(d):
			do()
		}
	}()
}

// again says once more what has no answer: all of it, or what was not said on the connection that stands.
func (v *Viewer) again(all bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.sig.current()
	for i, m := range v.said {
		if all || m.on != now {
			v.said[i].on = v.sig.send(m.message)
			v.s.Offered = v.s.Offered || v.said[i].on > 0
		}
	}
}

func (v *Viewer) answered(sdp string) {
	v.mu.Lock()
	pc, waiting := v.pc, v.said != nil
	v.said, v.s.Answered = nil, true
	v.mu.Unlock()
	if waiting {
		v.note(pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}))
	}
}

func (v *Viewer) remote(c webrtc.ICECandidateInit) {
	v.mu.Lock()
	pc := v.pc
	v.mu.Unlock()
	if pc == nil {
		return
	}
	if parsed, err := parseCandidate(c.Candidate); err == nil {
		v.mu.Lock()
		v.s.Peers = append(v.s.Peers, parsed)
		v.mu.Unlock()
	}
	v.note(pc.AddICECandidate(c))
}

// state follows ICE and starts it anew where the settings say so.
func (v *Viewer) state(s webrtc.ICEConnectionState) {
	v.mu.Lock()
	v.s.State = s
	restart := (s == v.cfg.Settings.Restart || s == webrtc.ICEConnectionStateFailed) && v.said == nil
	if restart {
		v.s.Restarts++
	}
	v.mu.Unlock()
	if restart {
		v.sig.renew()
		v.later(0, func() { v.note(v.offer(true)) })
	}
	v.cfg.Observe(StateChanged{s})
}

func (v *Viewer) selected(p *webrtc.ICECandidatePair) {
	v.cfg.Net.Meter.settle()
	v.mu.Lock()
	defer v.mu.Unlock()
	pair := Pair{candidateOf(*p.Local), candidateOf(*p.Remote)}
	if v.s.Pair != (Pair{}) && v.s.Pair != pair {
		v.s.PathChanges++
	}
	v.s.Pair = pair
}

// receive reads a track to its end.
func (v *Viewer) receive(track *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	if !v.enter() {
		return
	}
	defer v.work.Done()
	var id uint8
	for _, e := range r.GetParameters().HeaderExtensions {
		if e.URI == absCaptureTime {
			id = uint8(e.ID)
		}
	}
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.packet(p, id)
	}
}

const srtpTag = 16 // RFC 7714, the profile that pion's parties agree on

func (v *Viewer) packet(p *rtp.Packet, id uint8) {
	now := time.Now()
	v.moment(&v.s.FirstPacket, FirstPacket{})
	in := packet{Packet: *p, at: now, size: p.MarshalSize() + srtpTag}
	var date rtp.AbsCaptureTimeExtension
	if b := p.GetExtension(id); id != 0 && date.Unmarshal(b) == nil {
		in.captured = date.CaptureTime()
	}
	v.mu.Lock()
	frames := v.frames.push(in)
	v.s.Quality = v.frames.quality
	v.mu.Unlock()
	for _, f := range frames {
		v.moment(&v.s.FirstFrame, nil)
		v.cfg.Observe(FrameReceived{f})
	}
}

// moment notes the first time that something happens, and tells.
func (v *Viewer) moment(at *time.Time, e any) {
	v.mu.Lock()
	first := at.IsZero()
	if first {
		*at = time.Now()
	}
	v.mu.Unlock()
	if first && e != nil {
		v.cfg.Observe(e)
	}
}

// Stats returns what it saw so far.
func (v *Viewer) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.s
	s.Traffic = v.cfg.Net.Meter.Traffic()
	return s
}

// enter counts a goroutine that Close waits for; false: it closes already.
func (v *Viewer) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.work.Add(1)
	}
	return !v.closed
}

// Close hangs up and waits for the goroutines.
func (v *Viewer) Close() error {
	v.mu.Lock()
	v.closed = true
	pc := v.pc
	v.mu.Unlock()
	close(v.end)
	v.cfg.Net.cancel()
	v.sig.close()
	var err error
	if pc != nil {
		err = pc.GracefulClose()
	}
	v.work.Wait()
	return errors.Join(err, ignoreClosed(v.cfg.Net.Close()))
}
