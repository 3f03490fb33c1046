package stack

import (
	"regexp"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// groupAt names the group of a pattern that says when it was.
const groupAt = "at"

// externalCounts are the groups that counts may have. Of latency_s every match counts, of the others the last.
var externalCounts = []string{
	"frames_sent", "frames_received", "frames_intact", "latency_s", "goodput_bps", "loss", "gap_s", "path_changes",
	"first_frame_bytes",
}

// tally is what lines have counted.
type tally struct {
	last    map[string]float64
	latency []float64 // s
}

// add counts a line's groups. What is no number counts nothing.
func (t *tally) add(re *regexp.Regexp, line string) {
	match := re.FindStringSubmatch(line)
	for i, text := range match {
		name := re.SubexpNames()[i]
		v, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil || name == "" || name == groupAt:
		case name == "latency_s":
			t.latency = append(t.latency, v)
		default:
			if t.last == nil {
				t.last = map[string]float64{}
			}
			t.last[name] = v
		}
	}
}

// media is what was counted of the video; nil: no frames were.
func (t *tally) media() *record.Media {
	_, sent := t.last["frames_sent"]
	_, received := t.last["frames_received"]
	if !sent && !received {
		return nil
	}
	m := &record.Media{
		FramesSent: int(t.last["frames_sent"]), FramesReceived: int(t.last["frames_received"]),
		FramesIntact: int(t.last["frames_intact"]), LatencyS: t.latency,
	}
	for name, to := range map[string]**float64{"goodput_bps": &m.GoodputBps, "loss": &m.Loss, "gap_s": &m.GapS} {
		if v, ok := t.last[name]; ok {
			*to = &v
		}
	}
	return m
}

// timeOf is when a line's pattern says that it was; read is when the line was read.
func timeOf(re *regexp.Regexp, match []string, read time.Time) time.Time {
	i := re.SubexpIndex(groupAt)
	if i < 0 || match[i] == "" {
		return read
	}
	if t, err := time.Parse(time.RFC3339Nano, match[i]); err == nil {
		return t
	}
	if s, err := strconv.ParseFloat(match[i], 64); err == nil {
		return time.UnixMicro(int64(s * 1e6))
	}
	return read
}
