package ice

import (
	"bytes"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/punchlab/punchlab/impl/media"
)

const (
	clockRate = 90000 // RFC 6184 §8.2.1
	// repairWait is how long a packet is waited for that NACK may bring again; reorderWait one that was sent before the
	// first that came, for which pion does not ask.
	repairWait  = time.Second
	reorderWait = 50 * time.Millisecond
)

// assembler puts packets in order and access units together. Like a decoder it passes nothing on after a loss until the
// next key frame. It is not safe for concurrent use.
//
// The camera's stream starts at sequence number 0 and timestamp 0, so that a frame's timestamp tells its index.
type assembler struct {
	fps     int
	held    map[int64]packet
	missing map[int64]time.Time // since when: packets that have not come before a later one
	started bool
	first   int64 // extended sequence number of the first packet that came
	highest int64
	next    int64 // where the frame that is waited for begins
	unsure  bool  // next may lie within a frame
	waitKey bool
	quality media.Quality
}

type packet struct {
	rtp.Packet
	at       time.Time
	size     int
	captured time.Time
}

func newAssembler(fps int) *assembler {
	return &assembler{fps: fps, held: map[int64]packet{}, missing: map[int64]time.Time{}}
}

// push takes a packet and returns the frames that it makes whole.
func (a *assembler) push(p packet) (frames []media.Frame) {
	seq := a.extend(p.SequenceNumber)
	if _, twice := a.held[seq]; twice || seq < a.next {
		a.quality.Duplicate++
		return nil
	}
	a.note(seq, p.at)
	a.held[seq] = p
	for {
		f, ok := a.take()
		if !ok && !a.giveUp(p.at) {
			return frames
		}
		if ok && f != nil {
			frames = append(frames, *f)
		}
	}
}

// extend finds the whole number of which the header has 16 bits (RFC 3550 appendix A.1).
func (a *assembler) extend(seq uint16) int64 {
	if !a.started {
		return int64(seq)
	}
	return a.highest + int64(int16(seq-uint16(a.highest)))
}

// note counts a packet that came, and those before it that did not.
func (a *assembler) note(seq int64, now time.Time) {
	if !a.started {
		a.started, a.first, a.highest = true, seq, -1
	}
	a.quality.Received++
	if _, late := a.missing[seq]; late {
		delete(a.missing, seq)
		a.quality.Repaired++
	}
	for at := a.highest + 1; at < seq; at++ {
		a.missing[at] = now
		a.quality.Lost++
	}
	a.highest = max(a.highest, seq)
	a.quality.Expected = uint64(a.highest + 1)
}

// take takes the next frame, if all of it is here: nil for one that is of no use.
func (a *assembler) take() (f *media.Frame, ok bool) {
	end := a.next
	for {
		p, here := a.held[end]
		if !here {
			return nil, false
		}
		end++
		if p.Marker {
			break
		}
	}
	from := a.next
	defer a.skip(end)
	whole := !a.unsure
	a.unsure = false
	frame, err := a.frame(from, end)
	switch {
	case !whole || err != nil:
		a.quality.FramesIncomplete++
		a.waitKey = true
		return nil, true
	case a.waitKey && !frame.Key:
		a.quality.FramesSkipped++
		return nil, true
	}
	a.waitKey = false
	a.quality.FramesReceived++
	return &frame, true
}

// giveUp goes on behind the packets that are missing, where they have been waited for long enough, or at the next key frame
// that is whole, where nothing can be shown before it.
func (a *assembler) giveUp(now time.Time) bool {
	gap := a.next
	for a.holds(gap) {
		gap++
	}
	if gap > a.highest {
		return false
	}
	if key, ok := a.wholeKey(gap); a.waitKey && ok {
		a.skip(key)
		a.unsure = false
		return true
	}
	wait := repairWait
	if gap < a.first {
		wait = reorderWait
	}
	if now.Sub(a.missing[gap]) < wait {
		return false
	}
	for !a.holds(gap) {
		gap++
	}
	a.skip(gap)
	a.unsure = true
	return true
}

func (a *assembler) holds(seq int64) bool {
	_, here := a.held[seq]
	return here
}

// skip goes on at a packet and forgets those before it.
func (a *assembler) skip(to int64) {
	for ; a.next < to; a.next++ {
		delete(a.held, a.next)
		delete(a.missing, a.next)
	}
}

// wholeKey finds a key frame, from a packet on, that is all there: it begins with parameter sets.
func (a *assembler) wholeKey(from int64) (begin int64, ok bool) {
	const stapA, sps, typeMask = 24, 7, 0x1F
	begin = -1
	for seq := from; seq <= a.highest; seq++ {
		p, here := a.held[seq]
		switch {
		case !here:
			begin = -1
		case len(p.Payload) > 3 && p.Payload[0]&typeMask == stapA && p.Payload[3]&typeMask == sps:
			begin = seq
		}
		if here && p.Marker && begin >= 0 {
			return begin, true
		}
	}
	return 0, false
}

// frame puts the packets [from, to) together.
func (a *assembler) frame(from, to int64) (f media.Frame, err error) {
	var h264 codecs.H264Packet
	for seq := from; seq < to; seq++ {
		p := a.held[seq]
		part, err := h264.Unmarshal(p.Payload)
		if err != nil {
			return f, err
		}
		f.Data = append(f.Data, part...)
		f.Bytes += p.size
		if f.FirstPacket.IsZero() || p.at.Before(f.FirstPacket) {
			f.FirstPacket = p.at
		}
		if p.at.After(f.Complete) {
			f.Complete = p.at
		}
		f.Captured = p.captured
	}
	f.Packets = int(to - from)
	ticks := int64(a.held[from].Timestamp)
	f.Index = int((ticks*int64(a.fps) + clockRate/2) / clockRate)
	f.PTS = time.Duration(ticks) * time.Second / clockRate
	f.Key = hasIDR(f.Data)
	return f, nil
}

// hasIDR says whether an access unit has a slice of an IDR picture (H.264 table 7-1).
func hasIDR(annexB []byte) bool {
	const idr, typeMask = 5, 0x1F
	for {
		at := bytes.Index(annexB, []byte{0, 0, 1})
		if at < 0 || at+3 >= len(annexB) {
			return false
		}
		annexB = annexB[at+3:]
		if annexB[0]&typeMask == idr {
			return true
		}
	}
}
