package web

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/punchlab/punchlab/impl/media"
)

// client is a WHEP client as its specification describes one.
type client struct {
	t       *testing.T
	peer    *webrtc.PeerConnection
	session string
	packets chan *rtp.Packet
	gone    chan struct{}
	ssrc    chan uint32
}

func play(t *testing.T, base, camera, token string) *client {
	t.Helper()
	c := &client{t: t, packets: make(chan *rtp.Packet, 4096), gone: make(chan struct{}), ssrc: make(chan uint32, 1)}
	var err error
	if c.peer, err = webrtc.NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.peer.Close() })
	if _, err := c.peer.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	c.peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		c.ssrc <- uint32(track.SSRC())
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				close(c.gone)
				return
			}
			c.packets <- p
		}
	})
	offer, err := c.peer.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.peer)
	if err := c.peer.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	r := post(t, base+"/whep/"+camera, token, "application/sdp", c.peer.LocalDescription().SDP)
	defer r.Body.Close()
	answer, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusCreated || r.Header.Get("Content-Type") != "application/sdp" || !strings.HasPrefix(r.Header.Get("Location"), "/whep/") {
		t.Fatalf("%s %v: %s", r.Status, r.Header, answer)
	}
	c.session = base + r.Header.Get("Location")
	if err := c.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		t.Fatal(err)
	}
	return c
}

func post(t *testing.T, url, token, content, body string) *http.Response {
	t.Helper()
	return do(t, "POST", url, token, content, body)
}

func do(t *testing.T, method, url, token, content, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", content)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// frames returns n access units as they came, each with its timestamp.
func (c *client) frames(n int) (aus [][]byte, stamps []uint32) {
	c.t.Helper()
	var d codecs.H264Packet
	var au []byte
	for len(aus) < n {
		select {
		case p := <-c.packets:
			b, err := d.Unmarshal(p.Payload)
			if err != nil {
				c.t.Fatal(err)
			}
			au = append(au, b...)
			if p.Marker {
				aus, stamps = append(aus, au), append(stamps, p.Timestamp)
				au = nil
			}
		case <-time.After(30 * time.Second):
			c.t.Fatalf("%d of %d frames came", len(aus), n)
		}
	}
	return aus, stamps
}

// What a WHEP client gets is what the camera made, byte for byte and in its time; DELETE ends it.
func TestWHEP(t *testing.T) {
	b := newLane()
	_, h := serve(t, b, Options{})
	c := play(t, h.URL, "door", "")
	got, stamps := c.frames(30)
	clip := media.EmbeddedClip()
	for i, au := range got {
		if want := clip.At(i).Data; !bytes.Equal(au, want) {
			t.Fatalf("frame %d: %d bytes, want %d", i, len(au), len(want))
		}
		if i > 0 && stamps[i]-stamps[i-1] != 3600 {
			t.Errorf("frame %d came %d ticks after the one before", i, stamps[i]-stamps[i-1])
		}
	}
	_, before := b.count()
	if err := c.peer.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: <-c.ssrc}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a key frame is asked for", func() bool { _, n := b.count(); return n > before })
	if r := do(t, "DELETE", c.session, "", "", ""); r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
	eventually(t, "the feed is closed", func() bool { n, _ := b.count(); return n == 0 })
	if r := do(t, "DELETE", c.session, "", "", ""); r.StatusCode != http.StatusNotFound {
		t.Error(r.Status)
	}
	if r := do(t, "PATCH", c.session, "", "application/trickle-ice-sdpfrag", ""); r.StatusCode != http.StatusMethodNotAllowed {
		t.Error(r.Status)
	}
}

// Where the camera's stream begins anew, the client's goes on.
func TestStreamBeginsAnew(t *testing.T) {
	b := newLane()
	b.restart = 10
	_, h := serve(t, b, Options{})
	_, stamps := play(t, h.URL, "door", "").frames(25)
	for i := range stamps[1:] {
		if d := stamps[i+1] - stamps[i]; d != 3600 {
			t.Errorf("frame %d came %d ticks after the one before", i+1, d)
		}
	}
}

// A client that goes away without a word, or never connects, costs nothing for long; and sessions are bounded.
func TestSessionsAreBounded(t *testing.T) {
	b := newLane()
	s, h := serve(t, b, Options{Sessions: 2})
	one, two := play(t, h.URL, "door", ""), play(t, h.URL, "door", "")
	one.frames(1)
	two.frames(1)
	r := post(t, h.URL+"/whep/door", "", "application/sdp", one.peer.LocalDescription().SDP)
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Error(r.Status)
	}
	one.peer.Close() // DTLS says goodbye
	eventually(t, "its feed is closed", func() bool { n, _ := b.count(); return n == 1 })
	s.Close()
	if n, _ := b.count(); n != 0 {
		t.Errorf("%d feeds are open after Close", n)
	}
	select {
	case <-two.gone:
	case <-time.After(30 * time.Second):
		t.Error("the client was not told")
	}
}

func TestBadOffers(t *testing.T) {
	b := newLane()
	_, h := serve(t, b, Options{})
	sdp := "application/sdp"
	audio := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 " + strings.Repeat("AA:", 31) + "AA\r\na=ice-ufrag:abcd\r\na=ice-pwd:" +
		strings.Repeat("p", 24) + "\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
	for _, c := range []struct {
		path, content, body string
		status              int
		says                string
	}{
		{"/whep/door", sdp, "", http.StatusBadRequest, "offer"},
		{"/whep/door", sdp, "v=0", http.StatusBadRequest, "offer"},
		{"/whep/door", sdp, audio, http.StatusBadRequest, "H.264"},
		{"/whep/door", "text/plain", "v=0", http.StatusUnsupportedMediaType, "application/sdp"},
		{"/whep/door", sdp, strings.Repeat("x", maxOffer+1), http.StatusRequestEntityTooLarge, "too large"},
		{"/whep/barn", sdp, "v=0", http.StatusNotFound, "barn"},
	} {
		r := post(t, h.URL+c.path, "", c.content, c.body)
		says, _ := io.ReadAll(r.Body)
		if r.StatusCode != c.status || !strings.Contains(string(says), c.says) {
			t.Errorf("%s %q: %s: %s", c.path, c.body[:min(20, len(c.body))], r.Status, says)
		}
	}
	if n, _ := b.count(); n != 0 {
		t.Errorf("%d feeds are left", n)
	}
}
