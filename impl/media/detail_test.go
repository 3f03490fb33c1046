package media

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

func handle(t *testing.T, r *Receiver, now time.Time, packets ...[]byte) {
	t.Helper()
	for _, b := range packets {
		if err := r.HandlePacket(now, b); err != nil {
			t.Fatal(err)
		}
	}
}

// A frame's times are its own packets' arrivals, also when it has to wait for an earlier frame.
func TestFrameTimes(t *testing.T) {
	_, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	p := newPeer(t)
	a := p.frame(0, "\x67s", "\x68p", "\x65\x80k")
	b := p.frame(3600, "\x41\x9Ap", "\x41\x40q")
	ms := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Millisecond) }
	handle(t, r, ms(1), a[2])
	handle(t, r, ms(3), b[1])
	handle(t, r, ms(4), b[0])
	handle(t, r, ms(5), a[0])
	if n := len(r.Ready().Frames); n != 0 {
		t.Fatalf("%d frames too early", n)
	}
	handle(t, r, ms(9), a[1])
	frames := r.Ready().Frames
	if len(frames) != 2 {
		t.Fatalf("%d frames, want 2", len(frames))
	}
	for i, want := range [][2]time.Time{{ms(1), ms(9)}, {ms(3), ms(4)}} {
		if f := frames[i]; f.FirstPacket != want[0] || f.Complete != want[1] || !f.Captured.IsZero() {
			t.Errorf("frame %d: first packet %v, complete %v, captured %v; want %v", i, f.FirstPacket, f.Complete, f.Captured, want)
		}
	}
	if f := frames[1]; f.Packets != 2 || f.Bytes != len(b[0])+len(b[1]) || f.PTS != 40*time.Millisecond || f.Index != 1 {
		t.Errorf("frame 1: %+v", f)
	}
}

// RFC 3550 §6.4.1, worked by hand: transit differences of 0, 16 and 8 ms.
func TestJitter(t *testing.T) {
	_, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	p := newPeer(t)
	at := epoch
	for i, ms := range []int{0, 40, 56, 32} {
		at = at.Add(time.Duration(ms) * time.Millisecond)
		handle(t, r, at, p.frame(uint32(i)*3600, "\x65\x80k")...)
	}
	j := 16e6 / 16
	j += (8e6 - j) / 16
	if got := r.Quality().Jitter; (got - time.Duration(j)).Abs() > 1 {
		t.Errorf("jitter is %v, want %v", got, time.Duration(j))
	}
}

// Cameras that set no marker: the next timestamp ends a frame (RFC 6184 §5.1).
func TestFrameWithoutMarker(t *testing.T) {
	_, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	p := newPeer(t)
	a := p.frame(0, "\x67s", "\x65\x80k", "lost marker")[:2]
	p.seq--
	// The packet that would have carried the marker was never made: its number goes to the next.
	q := newPeer(t)
	q.seq = p.seq
	handle(t, r, epoch, append(a, q.frame(3600, "\x41\x9Ap")...)...)
	frames := r.Ready().Frames
	if len(frames) != 2 || string(frames[0].Data) != canonical("\x67s", "\x65\x80k") || string(frames[1].Data) != canonical("\x41\x9Ap") {
		t.Errorf("frames: %+v", frames)
	}
}

// RTP padding is taken off; padding that cannot be costs the frame.
func TestPadding(t *testing.T) {
	for tail, want := range map[string]string{
		"":                 "",
		"\x00\x00\x03":     "\x65\x80k",
		"\x01":             "\x65\x80k",
		"\x00":             "",
		"\xFF":             "",
		"\x00\x00\x00\x07": "", // padding alone
	} {
		_, r := newPair(t, SenderConfig{}, ReceiverConfig{})
		p := newPeer(t)
		h := rtp.Header{
			Version: 2, Padding: true, Marker: true, PayloadType: DefaultPayloadType, SSRC: p.keys.ssrc,
			SequenceNumber: p.keys.firstSeq, Timestamp: p.keys.firstTS, CSRC: []uint32{1, 2},
		}
		b, err := h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if tail != "" {
			b = append(append(b, "\x65\x80k"...), tail...)
		}
		if b, err = p.ctx.EncryptRTP(nil, b, nil); err != nil {
			t.Fatal(err)
		}
		handle(t, r, epoch, b)
		frames := r.Ready().Frames
		switch {
		case want == "" && (len(frames) != 0 || r.Quality().Rejected.Payload != 1):
			t.Errorf("padding %q passes: %+v", tail, frames)
		case want != "" && (len(frames) != 1 || string(frames[0].Data) != canonical(want)):
			t.Errorf("padding %q: %+v", tail, frames)
		}
	}
}

// RFC 6184 §5.7.1: a STAP-A has the greatest NRI of what it holds.
func TestSTAPAHasTheGreatestNRI(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	packets, err := s.Packetize(nil, epoch, AccessUnit{Data: []byte(canonical("\x27s", "\x48p", "\x08q", "\x65\x80k"))})
	if err != nil || len(packets) != 2 {
		t.Fatalf("%d packets, %v; want a STAP-A and a slice", len(packets), err)
	}
	plain, err := r.in.DecryptRTP(nil, packets[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := payloadOf(plain)[0]; got != 0x40|nalSTAPA {
		t.Errorf("the STAP-A begins with %#x, want NRI 2", got)
	}
}

// A closed path is not repaired packet by packet: only the newest of a gap are asked for.
func TestLongGapsAreAskedForInPart(t *testing.T) {
	s, r := newPair(t, SenderConfig{MTU: minMTU, HistoryPackets: window}, ReceiverConfig{})
	packets := clipPackets(t, s, 40) // about 1,800
	asked := func(now time.Time) (n uint64) {
		for range 20 { // NACKs are paced
			before := r.Quality().NACKs
			r.HandleTimeout(now)
			for _, b := range r.Ready().RTCP {
				if len(b) > DefaultMTU {
					t.Errorf("a NACK has %d bytes", len(b))
				}
			}
			if once := r.Quality().NACKs - before; once > nackMost {
				t.Errorf("%d packets were asked for at once", once)
			} else {
				n += once
			}
			now = now.Add(5 * time.Millisecond)
		}
		return n
	}
	handle(t, r, epoch, packets[500])
	if n := asked(epoch.Add(r.cfg.ReorderWait)); n != headAsk {
		t.Errorf("%d packets of the head were asked for, want %d", n, headAsk)
	}
	now := epoch.Add(2 * time.Second)
	r.HandleTimeout(now) // gives the head up
	handle(t, r, now, packets[1200])
	if n := asked(now.Add(r.cfg.ReorderWait)); n != gapAsk {
		t.Errorf("%d packets of the gap were asked for, want %d", n, gapAsk)
	}
	if q := r.Quality(); q.Lost != q.Expected-q.Received {
		t.Errorf("quality: %+v", q)
	}
}

// A round trip far above the assumed one is learnt, not drowned in repeated requests.
func TestLongRoundTripsAreLearnt(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{MaxWait: 3 * time.Second})
	l := newLink(t, 9, s, r)
	l.media = impairment{Delay: 300 * time.Millisecond, Loss: 0.02}
	l.feedback.Delay = 300 * time.Millisecond
	l.stream(EmbeddedClip(), 300)
	l.run(time.Minute)
	q := r.Quality()
	if q.RTT < 550*time.Millisecond || q.RTT > 700*time.Millisecond {
		t.Errorf("the round trip is estimated as %v, want 600ms", q.RTT)
	}
	if q.Lost < 20 || q.NACKs > 3*q.Lost {
		t.Errorf("%d requests for %d packets", q.NACKs, q.Lost)
	}
}

// Sender reports tie the wall clock to the RTP clock (RFC 3550 §6.4.1) and count what was sent.
func TestSenderReport(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	if b, err := s.Report(epoch); b != nil || err != nil {
		t.Errorf("a report before the stream: %v, %v", b, err)
	}
	packets := clipPackets(t, s, 2)
	now := epoch.Add(50 * time.Millisecond)
	b, err := s.Report(now)
	if err != nil {
		t.Fatal(err)
	}
	var rejected Rejected
	got, err := openRTCP(r.in, b, &rejected)
	if err != nil {
		t.Fatal(err)
	}
	sr := got[0].(*rtcp.SenderReport)
	bytes := 0
	for _, p := range packets {
		bytes += len(p) - rtpHeaderSize - tagLen
	}
	ntp, _ := toNTP(now)
	if sr.PacketCount != uint32(len(packets)) || sr.OctetCount != uint32(bytes) || sr.NTPTime != ntp || sr.RTPTime != s.cfg.Keys.firstTS+50*90 {
		t.Errorf("sender report: %v; first timestamp %d", sr, s.cfg.Keys.firstTS)
	}
	if b, _ := s.Report(now.Add(reportEvery - 1)); b != nil {
		t.Error("another report within the second")
	}
	if b, _ := s.Report(now.Add(reportEvery)); b == nil {
		t.Error("no report after a second")
	}
}

// RFC 3550 §6.4.1: the fraction since the report before, and the total.
func TestReceiverReport(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{MaxWait: 20 * time.Millisecond})
	packets := clipPackets(t, s, 30)
	report := func(now time.Time) rtcp.ReceptionReport {
		t.Helper()
		r.HandleTimeout(now)
		for _, b := range r.Ready().RTCP {
			var rejected Rejected
			got, err := openRTCP(s.in, b, &rejected)
			if err != nil {
				t.Fatal(err)
			}
			if rr, ok := got[0].(*rtcp.ReceiverReport); ok {
				return rr.Reports[0]
			}
		}
		t.Fatal("no receiver report")
		return rtcp.ReceptionReport{}
	}
	for i, b := range packets[:100] {
		if i%4 != 1 {
			handle(t, r, epoch, b)
		}
	}
	first := uint32(s.cfg.Keys.firstSeq)
	one := report(epoch.Add(reportEvery))
	if one.FractionLost != 64 || one.TotalLost != 25 || one.LastSequenceNumber != first+99 || one.SSRC != s.cfg.Keys.ssrc {
		t.Errorf("first report: %+v", one)
	}
	handle(t, r, epoch.Add(reportEvery), packets[100:200]...)
	two := report(epoch.Add(2 * reportEvery))
	if two.FractionLost != 0 || two.TotalLost != 25 || two.LastSequenceNumber != first+199 {
		t.Errorf("second report: %+v", two)
	}
	if !r.report.due.IsZero() {
		t.Error("a report is due though nothing has come")
	}
}

// A report says how far the stream has come, beyond the 16 bits of a packet's number, and leaves as often as configured.
func TestReportsTellTheNewestPacket(t *testing.T) {
	every := 200 * time.Millisecond
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{ReportEvery: every})
	packets := clipPackets(t, s, 30)
	handle(t, r, epoch, packets[:100]...)
	if d := r.Deadline(); !d.Equal(epoch.Add(every)) {
		t.Fatalf("the report is due after %v, want %v", d.Sub(epoch), every)
	}
	r.HandleTimeout(epoch.Add(every))
	var f Feedback
	for _, b := range r.Ready().RTCP {
		got, err := s.HandleRTCP(epoch.Add(every), b)
		if err != nil {
			t.Fatal(err)
		}
		f = got
	}
	if want := uint64(s.cfg.Keys.firstSeq) + 99; !f.Report || f.Highest != want {
		t.Errorf("highest %d, want %d: %+v", f.Highest, want, f)
	}
	if again := s.Since(epoch.Add(every), nil, f.Highest); len(again) != len(packets)-100 || string(again[0]) != string(packets[100]) {
		t.Errorf("%d packets after it, want %d", len(again), len(packets)-100)
	}
}
