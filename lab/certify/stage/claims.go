package stage

import (
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// What a program writes down of frames is held to the packets: in none of its moments may it have got, or sent, more bytes of frames than its
// host had of payload.
const (
	claimWaiting = 1 << 20 // bytes that a camera's sockets may hold
	forever      = 24 * time.Hour
	claimShare   = 20                    // one part of so many: start codes that a protocol leaves out, parameter sets that it sends once
	claimSpare   = 4 << 10               // bytes
	claimTime    = 50 * time.Millisecond // between a program's clock and a packet's time
)

// claims says what a vendor's program has written of frames that the packets belie; nil: nothing.
func (p *Program) claims() *Fault {
	t := p.set.tape
	if !p.Vendors || p.Action != certify.ActionRun || !t.Holds(p.mark) || t.Err() != nil {
		return nil
	}
	var match tape.Match
	verb := ""
	switch p.Role {
	case certify.RoleViewer:
		match, verb = tape.CameTo(p.Host), "got"
	case certify.RoleCamera:
		match, verb = tape.From(p.Host), "sent"
	default:
		return nil
	}
	frames, _ := p.results.read(true)
	if len(frames) == 0 {
		return nil
	}
	spare, late := claimSpare, claimTime
	if p.Role == certify.RoleCamera { // what it has given to the network may wait in a socket, and be lost there
		spare, late = claimWaiting, forever
	}
	what := belied(frames, t.Packets(p.mark, match, tape.Full), span{p.started, time.Now()}, verb, spare, late)
	if what == "" {
		return nil
	}
	return &Fault{p.Role, p.Unit, what}
}

// span is when a program ran.
type span struct{ began, ended time.Time }

// belied says what frames cannot be true of a program that ran for a time, given its packets in the order of their times.
// A frame's packets may pass so much later than it says, and be so many bytes fewer.
func belied(frames []Frame, packets []tape.Packet, ran span, verb string, spare int, late time.Duration) string {
	frames = slices.Clone(frames)
	slices.SortStableFunc(frames, func(a, b Frame) int { return a.T.Compare(b.T) })
	first, last := frames[0], frames[len(frames)-1]
	switch {
	case first.T.Before(ran.began.Add(-claimTime)):
		return fmt.Sprintf("says that it %s frame %d %v before it was started", verb, first.N, ran.began.Sub(first.T).Round(time.Millisecond))
	case last.T.After(ran.ended.Add(claimTime)):
		return fmt.Sprintf("says that it %s frame %d %v after its end", verb, last.N, last.T.Sub(ran.ended).Round(time.Millisecond))
	}
	said, had, i := 0, 0, 0
	for k, f := range frames {
		for ; i < len(packets) && !packets[i].At.After(f.T.Add(late)); i++ {
			had += len(packets[i].Payload)
		}
		if said += f.Size; said > had+had/claimShare+spare {
			return fmt.Sprintf("says that it %s %d frames of %d bytes by %s, and %d bytes of payload had passed its host by then",
				verb, k+1, said, f.T.UTC().Format("15:04:05.000"), had)
		}
	}
	return ""
}
