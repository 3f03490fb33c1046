package main

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// frameTime is the time between two frames.
const frameTime = 40 * time.Millisecond

// clip is what is streamed: pictures in turn, from the beginning again after the last.
type clip struct{ pictures [][]byte }

// small is the clip of a trial that only connects: one picture that fits a packet.
func small() clip { return clip{[][]byte{bytes.Repeat([]byte{0x88}, 205)}} }

// at is the picture that is frame number i.
func (c clip) at(i uint32) []byte { return c.pictures[int(i)%len(c.pictures)] }

// load reads the clip, or makes the small one where there is no media to be streamed.
func (c config) load(small0 bool) (clip, error) {
	if c.clip == "" || small0 {
		return small(), nil
	}
	b, err := os.ReadFile(c.clip)
	if err != nil {
		return clip{}, fmt.Errorf("read clip: %w", err)
	}
	pictures := split(b)
	if len(pictures) == 0 {
		return clip{}, fmt.Errorf("read clip %s: no picture in %d bytes: give H.264 in Annex B", c.clip, len(b))
	}
	return clip{pictures}, nil
}

var startCode = []byte{0, 0, 1} // and often one more 0 before it

// split cuts a stream after each picture. A picture is one slice (NAL unit types 1 and 5), with the parameter sets before it.
func split(stream []byte) (pictures [][]byte) {
	begin, at := 0, bytes.Index(stream, startCode)
	for at >= 0 && at+len(startCode) < len(stream) {
		kind := stream[at+len(startCode)] & 0x1f
		end := len(stream)
		next := bytes.Index(stream[at+len(startCode):], startCode)
		if next >= 0 {
			next += at + len(startCode)
			if end = next; stream[next-1] == 0 {
				end--
			}
		}
		if kind == 1 || kind == 5 {
			pictures = append(pictures, stream[begin:end])
			begin = end
		}
		at = next
	}
	return pictures
}
