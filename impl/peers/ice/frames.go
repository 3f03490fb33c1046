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
	fps      int
	held     map[int64]packet
	started  bool
	first    int64 // extended sequence number of the first packet that came
	highest  int64
	next     int64 // where the frame that is waited for begins
	waitKey  bool
	unsure   bool      // next may lie within a frame
	blocked  time.Time // since when a packet is missing before others
	quality  media.Quality
	missings map[int64]bool // seen missing when a later one came
}

type packet struct {
	rtp.Packet
	at       time.Time
	size     int
	captured time.Time
}

func newAssembler(fps int) *assembler {
	return &assembler{fps: fps, held: map[int64]packet{}, missings: map[int64]bool{}}
}

// push takes a packet and returns the frames that it makes whole.
func (a *assembler) push(p packet) (frames []media.Frame) {
	seq := a.extend(p.SequenceNumber)
	if _, twice := a.held[seq]; twice || seq < a.next {
		a.quality.Duplicate++
		return nil
	}
	a.note(seq)
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
func (a *assembler) note(seq int64) {
	if !a.started {
		a.started, a.first, a.highest = true, seq, -1
	}
	a.quality.Received++
	if a.missings[seq] {
		delete(a.missings, seq)
		a.quality.Repaired++
	}
	for ; a.highest < seq; a.highest++ {
		if at := a.highest + 1; at < seq {
			a.missings[at] = true
			a.quality.Lost++
		}
	}
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
	a.next, a.blocked = end, time.Time{}
	defer func() {
		for seq := from; seq < end; seq++ {
			delete(a.held, seq)
		}
	}()
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

// giveUp goes on behind the packets that are missing, where they have been waited for long enough.
func (a *assembler) giveUp(now time.Time) bool {
	gap := a.next
	for ; gap <= a.highest; gap++ {
		if _, here := a.held[gap]; !here {
			break
		}
	}
	if gap >= a.highest {
		return false
	}
	wait := repairWait
	if gap < a.first {
		wait = reorderWait
	}
	if a.blocked.IsZero() {
		a.blocked = now
	}
	if now.Sub(a.blocked) < wait {
		return false
	}
	for seq := a.next; seq < gap; seq++ {
		delete(a.held, seq)
	}
	for ; ; gap++ {
		if _, here := a.held[gap]; here {
			break
		}
		delete(a.missings, gap)
	}
	a.next, a.unsure, a.blocked = gap, true, time.Time{}
	return true
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
	f.Hash = media.Sum(f.Data)
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
