package media

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// clipPackets returns the SRTP packets of the first n access units.
func clipPackets(t testing.TB, s *Sender, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for i := range n {
		au := EmbeddedClip().At(i)
		packets, err := s.Packetize(nil, epoch.Add(au.PTS), au)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range packets {
			all = append(all, append([]byte(nil), b...))
		}
	}
	return all
}

// Each kind of bad input is counted under its reason, and the stream does not suffer.
func TestBadPacketsAreCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	packets := clipPackets(t, s, 3)
	sr, err := s.Report(epoch)
	if err != nil || sr == nil {
		t.Fatal(err)
	}
	if err := r.HandlePacket(epoch, sr); err != nil {
		t.Fatal(err)
	}
	var want Rejected
	bad := func(reason *uint64, b []byte) {
		t.Helper()
		*reason++
		if err := r.HandlePacket(epoch, b); err == nil {
			t.Error("bad packet passes")
		}
		if diff := cmp.Diff(want, r.Quality().Rejected); diff != "" {
			t.Fatalf("rejected (-want +got):\n%s", diff)
		}
	}
	change := func(b []byte, at int, x byte) []byte {
		b = append([]byte(nil), b...)
		b[at] ^= x
		return b
	}
	for _, good := range packets {
		bad(&want.Stream, change(good, 9, 1))         // SSRC
		bad(&want.Stream, change(good, 1, 1))         // payload type
		bad(&want.Header, change(good, 0, 0xC0))      // version
		bad(&want.Auth, change(good, 4, 1))           // timestamp: authenticated
		bad(&want.Auth, change(good, 20, 1))          // abs-capture-time: authenticated
		bad(&want.Auth, change(good, len(good)-1, 1)) // tag
		bad(&want.Auth, good[:len(good)-1])
		bad(&want.Header, good[:rng.IntN(12+tagLen)])
		bad(&want.Header, append(change(good, 0, 0), make([]byte, maxPacket)...))
		if err := r.HandlePacket(epoch, good); err != nil {
			t.Fatal(err)
		}
		if err := r.HandlePacket(epoch, good); err != nil { // a replay is a duplicate
			t.Fatal(err)
		}
	}
	bad(&want.Replay, sr)
	bad(&want.Auth, change(sr, len(sr)-1, 1)) // the index is authenticated
	bad(&want.Header, sr[:20])
	if q := r.Quality(); q.Duplicate != uint64(len(packets)) || q.FramesReceived != 3 || q.Lost != 0 {
		t.Errorf("quality: %+v", q)
	}
	for i := 3; len(packets) < 2*window; i++ { // until the first ones have left the window
		packets = append(packets, clipNext(t, s, r, i)...)
	}
	bad(&want.Replay, packets[0])
}

// clipNext streams one more access unit.
func clipNext(t testing.TB, s *Sender, r *Receiver, index int) [][]byte {
	t.Helper()
	au := EmbeddedClip().At(index)
	packets, err := s.Packetize(nil, epoch.Add(au.PTS), au)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range packets {
		if err := r.HandlePacket(epoch, b); err != nil {
			t.Fatal(err)
		}
	}
	r.Ready()
	return packets
}

// Every truncation of every kind of packet, and random bytes, at both ends.
func TestTruncationsAndGarbage(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	packets := clipPackets(t, s, 2)
	sr, err := s.Report(epoch)
	if err != nil {
		t.Fatal(err)
	}
	packets = append(packets, sr)
	calls := uint64(0)
	for _, b := range packets {
		for n := range len(b) {
			calls++
			if err := r.HandlePacket(epoch, b[:n]); err == nil {
				t.Fatalf("the first %d of %d bytes pass", n, len(b))
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, 300)
	for range 20000 {
		for i := range garbage {
			garbage[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 { // make it look right
			garbage[0], garbage[1] = 0x80|garbage[0]&0x3F, DefaultPayloadType
			binary.BigEndian.PutUint32(garbage[8:], s.cfg.Keys.ssrc)
		}
		b := garbage[:rng.IntN(len(garbage))]
		calls += 2
		if r.HandlePacket(epoch, b) == nil {
			t.Fatal("garbage passes the receiver")
		}
		if _, err := s.HandleRTCP(epoch, b); err == nil {
			t.Fatal("garbage passes the sender")
		}
	}
	if got := r.Quality().Rejected.Total() + s.Rejected().Total(); got != calls {
		t.Errorf("%d rejections counted of %d", got, calls)
	}
	if q := r.Quality(); q.Received != 0 || q.Duplicate != 0 {
		t.Errorf("quality: %+v", q)
	}
	for _, b := range packets {
		if err := r.HandlePacket(epoch, b); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.Ready().Frames); n != 2 {
		t.Errorf("%d frames after the garbage, want 2", n)
	}
}

// peer seals whatever payloads a test wants, as a camera with a bug would.
type peer struct {
	t    testing.TB
	ctx  *srtp.Context
	keys Keys
	seq  uint64
}

func newPeer(t testing.TB) *peer {
	keys := testKeys("pair")
	ctx, err := keys.camera.context()
	if err != nil {
		t.Fatal(err)
	}
	return &peer{t, ctx, keys, uint64(keys.firstSeq)}
}

// frame seals one packet a payload; the last has the marker.
func (p *peer) frame(ts uint32, payloads ...string) [][]byte {
	p.t.Helper()
	var out [][]byte
	for i, payload := range payloads {
		h := rtp.Header{
			Version: 2, PayloadType: DefaultPayloadType, SSRC: p.keys.ssrc, SequenceNumber: uint16(p.seq),
			Timestamp: p.keys.firstTS + ts, Marker: i == len(payloads)-1,
		}
		p.seq++
		b, err := h.Marshal()
		if err != nil {
			p.t.Fatal(err)
		}
		if b, err = p.ctx.EncryptRTP(nil, append(b, payload...), nil); err != nil {
			p.t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// The guard: malformed packing of an authenticated camera costs that frame, is counted, and the next
// key frame goes on.
func TestMalformedPackingIsDropped(t *testing.T) {
	const idr = "\x65\x80key"
	for name, payloads := range map[string][]string{
		"fu-a without a start":           {"\x7C\x05b", "\x7C\x45c"},
		"fu-a end alone":                 {"\x7C\x45c"},
		"fu-a without an end":            {"\x7C\x85a", "\x7C\x05b"},
		"fu-a started twice":             {"\x7C\x85a", "\x7C\x85b", "\x7C\x45c"},
		"fu-a start and end in one":      {"\x7C\xC5a"},
		"fu-a changes its type":          {"\x7C\x85a", "\x7C\x41b"},
		"fu-a changes its nri":           {"\x7C\x85a", "\x5C\x45b"},
		"fu-a cut short":                 {"\x7C"},
		"fu-a of a reserved type":        {"\x7C\x9Ca", "\x7C\x5Cb"},
		"fu-a with the forbidden bit":    {"\xFC\x85a", "\xFC\x45b"},
		"a nal unit between fragments":   {"\x7C\x85a", idr, "\x7C\x45b"},
		"stap-a between fragments":       {"\x7C\x85a", "\x78\x00\x02\x67s", "\x7C\x45b"},
		"stap-a empty":                   {"\x78"},
		"stap-a size cut":                {"\x78\x00"},
		"stap-a size too large":          {"\x78\x00\x09\x67s"},
		"stap-a size 0":                  {"\x78\x00\x00"},
		"stap-a in a stap-a":             {"\x78\x00\x02\x78s"},
		"type 0":                         {"\x60x"},
		"stap-b":                         {"\x79x"},
		"fu-b":                           {"\x7Dxx"},
		"type 31":                        {"\x7Fx"},
		"forbidden bit":                  {"\xE5\x80x"},
		"nothing":                        {""},
		"a good one, then a fu-a's rest": {idr, "\x7C\x45c"},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := newPair(t, SenderConfig{}, ReceiverConfig{})
			p := newPeer(t)
			packets := p.frame(0, idr)
			packets = append(packets, p.frame(3600, payloads...)...)
			packets = append(packets, p.frame(7200, "\x41\x9Ap")...) // not decodable now
			packets = append(packets, p.frame(10800, "\x67sps", "\x7C\x85a", "\x7C\x05b", "\x7C\x45c")...)
			for _, b := range packets {
				if err := r.HandlePacket(epoch, b); err != nil {
					t.Fatal(err)
				}
			}
			r.HandleTimeout(epoch)
			out := r.Ready()
			if len(out.Frames) != 2 || out.Frames[0].Index != 0 || out.Frames[1].Index != 3 || string(out.Frames[1].Data) != canonical("\x67sps", "\x65abc") {
				t.Errorf("%d frames come out, want frames 0 and 3: %+v", len(out.Frames), out.Frames)
			}
			q := r.Quality()
			if q.Rejected != (Rejected{Payload: 1}) || q.FramesIncomplete != 1 || q.FramesSkipped != 1 {
				t.Errorf("quality: %+v", q)
			}
		})
	}
}

// A malformed frame asks for a key frame at once, and again until one comes.
func TestMalformedFrameAsksForAKeyFrame(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	p := newPeer(t)
	now := epoch
	for _, b := range p.frame(0, "\x7C\x45c") {
		if err := r.HandlePacket(now, b); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	for end := now.Add(1800 * time.Millisecond); r.Deadline().Before(end); {
		now = r.Deadline()
		if now.Before(epoch) {
			now = epoch
		}
		r.HandleTimeout(now)
		for _, b := range r.Ready().RTCP {
			f, err := s.HandleRTCP(now, b)
			if err != nil {
				t.Fatal(err)
			}
			if f.KeyFrame {
				asked++
			}
		}
	}
	if asked != 4 {
		t.Errorf("a key frame was asked for %d times in 1.8 s, want 4", asked)
	}
}

// viewer seals RTCP as a viewer would.
func viewer(t testing.TB, packets ...rtcp.Packet) [][]byte {
	t.Helper()
	ctx, err := func() (*srtp.Context, error) { k := testKeys("pair"); return k.viewer.context() }()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, p := range packets {
		b, err := sealRTCP(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestSenderAnswersNACK(t *testing.T) {
	s, _ := newPair(t, SenderConfig{HistoryPackets: 64}, ReceiverConfig{})
	packets := clipPackets(t, s, 8)
	last, _ := s.LastSeq()
	keys := testKeys("pair")
	nack := func(media uint32, pairs ...rtcp.NackPair) rtcp.Packet {
		return &rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: media, Nacks: pairs}
	}
	asks := viewer(t,
		nack(keys.ssrc, rtcp.NackPair{PacketID: uint16(last - 5), LostPackets: 0b101}),
		nack(keys.ssrc, rtcp.NackPair{PacketID: uint16(last - 5)}),
		nack(keys.ssrc, rtcp.NackPair{PacketID: uint16(last - 64)}, rtcp.NackPair{PacketID: uint16(last + 1)}),
		nack(keys.ssrc+1, rtcp.NackPair{PacketID: uint16(last - 9)}),
		&rtcp.PictureLossIndication{MediaSSRC: keys.ssrc},
		&rtcp.PictureLossIndication{MediaSSRC: keys.ssrc + 1},
		&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: keys.ssrc, FractionLost: 64, Jitter: 90, LastSenderReport: 1}}},
		&rtcp.Goodbye{Sources: []uint32{1}},
	)
	n := len(packets)
	want := []Feedback{
		{Resend: [][]byte{packets[n-6], packets[n-5], packets[n-3]}},
		{Repeated: 1},
		{Gone: 2},
		{},
		{KeyFrame: true},
		{},
		{Report: true, Lost: 0.25, Jitter: time.Millisecond},
		{},
	}
	for i, b := range asks {
		got, err := s.HandleRTCP(epoch, b)
		if err != nil {
			t.Fatal(err)
		}
		got.RTT = 0
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Errorf("feedback %d (-want +got):\n%s", i, diff)
		}
	}
	if _, err := s.HandleRTCP(epoch, asks[0]); err == nil || s.Rejected() != (Rejected{Replay: 1}) {
		t.Errorf("a replayed NACK is taken: %v, %+v", err, s.Rejected())
	}
}

// Feedback of a few bytes can claim to tell of 65,535 arrivals: it costs no memory.
func TestFeedbackThatClaimsMuch(t *testing.T) {
	s, r := newPair(t, SenderConfig{TransportCC: true}, ReceiverConfig{})
	clipPackets(t, s, 1)
	b := []byte{0x80 | rtcp.FormatTCC, byte(rtcp.TypeTransportSpecificFeedback), 0, 0}
	b = binary.BigEndian.AppendUint32(b, r.cfg.Keys.viewerSSRC)
	b = binary.BigEndian.AppendUint32(b, r.cfg.Keys.ssrc)
	b = append(b, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0)
	for range 10 {
		b = append(b, 0x3F, 0xFF) // 8,191 packets that came in time
	}
	b[3] = byte(len(b)/4 - 1)
	var whole []byte
	for range 20 {
		whole = append(whole, b...)
	}
	raw := rtcp.RawPacket(whole)
	if n := testing.AllocsPerRun(10, func() {
		sealed, err := sealRTCP(r.out, &raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.HandleRTCP(epoch, sealed); err == nil {
			t.Error("it is believed")
		}
	}); n > 100 {
		t.Errorf("%v allocations for a datagram", n)
	}
}
