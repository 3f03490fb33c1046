package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchlab/punchlab/lab/capture"
)

// Bounds of what is drawn: a case may have hundreds of captures, and an hour of media makes no picture.
const (
	drawCaptures = 4        // the first ones
	drawBytes    = 20 << 20 // of a capture
	drawPicture  = 4 << 20  // of the drawing
	drawWidth    = 150      // columns
)

// draw adds what the capture shows to timeline.txt, and draws it beside the capture: who sent what to whom.
func (x *Set) draw() {
	s, path := x.stage, x.capture.Name()
	s.paper.mu.Lock()
	n := s.paper.captures
	s.paper.mu.Unlock()
	st, err := os.Stat(path)
	if err != nil || n > drawCaptures || st.Size() > drawBytes || !s.wants(timelineFile) {
		return
	}
	line, err := x.timeline(path)
	if err != nil {
		s.Note("%s was not drawn: %v", filepath.Base(path), err)
		return
	}
	if text := line.Text(drawWidth); len(text) <= drawPicture {
		s.paper.write(timelineFile, fmt.Sprintf("\n%s:\n%s\n\n", filepath.Base(path), strings.TrimRight(text, "\n")))
	}
	picture := strings.TrimSuffix(strings.Replace(filepath.Base(path), "capture", "timeline", 1), ".pcapng") + ".svg"
	if svg := line.SVG(); len(svg) <= drawPicture {
		s.paper.write(picture, svg)
	}
}

func (x *Set) timeline(path string) (*capture.Timeline, error) {
	trace, err := capture.Open(path)
	if err != nil {
		return nil, err
	}
	return trace.Timeline(capture.View{Roles: x.lab.Topology().Roles(viewerHost, rendezvousHost, cameraHost)})
}
