package cases

import (
	"context"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// overhead is BW-5: what leaves the camera is held against its frames.
func overhead(ctx context.Context, s *stage.Stage) certify.Result {
	blind := ""
	for _, path := range [][]string{{"a clean path", "two-homes"}, {"a path that loses 2 %", "lossy", "link", "loss-2"}} {
		x, camera, err := bring(ctx, s, path[1], path[2:]...)
		if err != nil {
			return s.Judge(err)
		}
		w, err := watch(ctx, s, x, camera, s.For(time.Minute, 5*time.Second))
		if err != nil {
			return s.Judge(err)
		}
		sent := x.Tape().Packets(w.mark, camera.Out(), tape.Between(time.Time{}, w.to))
		s.Saw("frames", len(w.frames))
		s.Saw("packets", len(sent))
		asked, what := w.due(s)
		share := s.Decl().Bounds.FrameOverhead
		beyond := float64(tape.Bytes(sent))/float64(max(asked, 1)) - 1
		s.Record(map[string]any{"path": path[0], "packets": len(sent), "bytes": tape.Bytes(sent), "asked": asked, "share beyond": beyond})
		s.Note("over %s %d bytes left the camera, %.1f %% beyond %d of %s", path[0], tape.Bytes(sent), 100*beyond, asked, what)
		if beyond > share {
			return s.Fail("over %s %d bytes left the camera in %.1f s, %.1f %% beyond the %d bytes of %s; an overhead of %.0f %% is declared",
				path[0], tape.Bytes(sent), w.length().Seconds(), 100*beyond, asked, what, 100*share)
		}
		if s.Way() == stage.Box {
			blind = fmt.Sprintf("the frames cannot be counted; the bytes keep %s and the declared overhead", what)
		}
	}
	if blind != "" {
		return s.PassNonstrict("%s", blind)
	}
	return s.Pass()
}

// due are the bytes that a viewer had asked for: of the frames that the camera gave, as far as they are the source's and no more than it
// has; if it does not say, of those that came. Of a box, what it may send by its declared bitrate.
func (w *watched) due(s *stage.Stage) (bytes int64, what string) {
	if s.Way() == stage.Box {
		return int64(float64(s.Decl().Bounds.Bitrate) / 8 * w.length().Seconds()), "its declared bitrate"
	}
	n := 0
	for _, f := range w.given {
		if s.Source().Intact(f) {
			bytes += int64(f.Size)
			n++
		}
	}
	// It may have given a group of pictures once more, that a viewer had asked for.
	if most := 1.2*stage.SourceRate*w.length().Seconds() + stage.SourceRate; n == 0 || float64(n) > most {
		return bytesOf(w.frames), "the frames that came"
	}
	return bytes, "its frames"
}

// Of BW-6.
const (
	relayGrace = 5 * time.Second  // after the first direct media, in which the relay may still be used
	keepWhat   = 15 * time.Second // in which the relay may be kept open
	keepMost   = 1000             // bytes in that: a keepalive and its answer, of both sides
)

// idleRelay is BW-6: what goes by the relay while media goes directly.
func idleRelay(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	w, err := watch(ctx, s, x, camera, s.For(time.Minute, 9*time.Second))
	if err != nil {
		return s.Judge(err)
	}
	routes := x.Routes()
	all := x.Tape().Packets(w.mark, tape.Between(time.Time{}, w.to))
	direct := tape.Select(all, tape.CameTo(w.view.Host()), tape.Media, routes.By(tape.Direct, tape.Hairpin, tape.Local))
	s.Saw("frames", len(w.frames))
	s.Saw("direct", len(direct))
	if len(direct) == 0 {
		return s.Inconclusive("no media went directly: there was no direct path beside which the relay could be idle")
	}
	from := direct[0].At.Add(relayGrace)
	late := tape.Select(all, tape.From(camera.Host(), w.view.Host()), tape.Between(from, time.Time{}), routes.By(tape.Relayed))
	media := tape.Select(late, tape.Media)
	_, most := tape.Busiest(keepWhat, late)
	s.Record(map[string]any{"direct": len(direct), "media by the relay": len(media), "bytes to the relay": tape.Bytes(late),
		"bytes in the busiest 15 s": most.N, "seconds": w.to.Sub(from).Seconds()})
	s.Note("from %v after the first direct media on, both sides sent the relay %d bytes, %d at most within %v; media among it: %d packets",
		relayGrace, tape.Bytes(late), most.N, keepWhat, len(media))
	switch {
	case w.to.Before(from):
		return s.Inconclusive("the viewer watched for %.1f s, and media went directly only %.1f s before the end",
			w.length().Seconds(), w.to.Sub(direct[0].At).Seconds())
	case len(media) > 0:
		return s.Fail("%d packets of media went by the relay, the first %.1f s after media had begun to go directly; none may after %.0f s",
			len(media), media[0].At.Sub(direct[0].At).Seconds(), relayGrace.Seconds())
	case most.N > keepMost:
		return s.Fail("beside the direct path both sides sent the relay %d bytes within %v, from %s on; %d may be", most.N, keepWhat,
			most.At.UTC().Format("15:04:05"), keepMost)
	}
	return s.Pass()
}
