package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"
)

// flvReader reads video out of an FLV stream (Adobe Flash Video File Format 10.1, annex E), which ffmpeg writes: unlike a bare H.264
// stream it says where an access unit ends, so that none waits for the next one to begin.
//
//	"FLV" 1 flags size(4)  0(4) │ type(1) size(3) time(3+1) id(3)  data  size(4) │ …
//	                                                               └ frame and codec(1) kind(1) composition time(3) payload
type flvReader struct {
	r      *bufio.Reader
	begun  bool
	config avcConfig
	known  bool   // config is
	head   []byte // Annex B of packets without a slice: it belongs to the next picture
	buf    []byte
}

const (
	flvVideo     = 9
	flvCodecAVC  = 7
	flvConfig    = 0
	flvPicture   = 1
	flvTagHeader = 11
	// maxUnit bounds an access unit, as media does, so that a stream that is none ends in an error and not in all the memory.
	maxUnit = 8 << 20
)

// What a stream of video may be instead of H.264 that can be passed on.
var (
	errNotFLV   = errors.New("ffmpeg writes something else than FLV")
	errNotH264  = errors.New("the input is no H.264")
	errBFrames  = errors.New("the input has B-frames, which viewers in a browser cannot show")
	errNoKey    = errors.New("the input has no key frames of the kind that a viewer can begin with (IDR)")
	errTooLarge = fmt.Errorf("access unit of more than %d bytes", maxUnit)
)

func newFLVReader(r io.Reader) *flvReader { return &flvReader{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next picture and its decoding time, from the stream's beginning.
func (f *flvReader) next() (p picture, at time.Duration, err error) {
	if !f.begun {
		if err := f.begin(); err != nil {
			return p, 0, err
		}
		f.begun = true
	}
	for {
		var typ byte
		var body []byte
		if typ, at, body, err = f.tag(); err != nil {
			return p, 0, err
		}
		if typ != flvVideo {
			continue
		}
		if p, err = f.video(body); err != nil || p.vcl {
			return p, at, err
		}
	}
}

func (f *flvReader) begin() error {
	var h [13]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return err
	}
	if string(h[:3]) != "FLV" || h[8] != 9 {
		return errNotFLV
	}
	return nil
}

// tag reads one tag. Its body is valid until the next.
func (f *flvReader) tag() (typ byte, at time.Duration, body []byte, err error) {
	var h [flvTagHeader]byte
	if _, err = io.ReadFull(f.r, h[:]); err != nil {
		return 0, 0, nil, err
	}
	size := int(h[1])<<16 | int(h[2])<<8 | int(h[3])
	if size > maxUnit {
		return 0, 0, nil, errTooLarge
	}
	ms := uint32(h[7])<<24 | uint32(h[4])<<16 | uint32(h[5])<<8 | uint32(h[6])
	if cap(f.buf) < size+4 {
		f.buf = make([]byte, size+4)
	}
	body = f.buf[:size+4]
	if _, err = io.ReadFull(f.r, body); err != nil {
		return 0, 0, nil, unexpected(err)
	}
	return h[0], time.Duration(ms) * time.Millisecond, body[:size], nil
}

// video reads a video tag's body. A picture without a slice is none yet.
func (f *flvReader) video(b []byte) (p picture, err error) {
	if len(b) < 1 || b[0]&0xF != flvCodecAVC {
		return p, errNotH264
	}
	if len(b) < 5 {
		return p, fmt.Errorf("%w: video tag of %d bytes", errNotFLV, len(b))
	}
	switch kind, payload := b[1], b[5:]; kind {
	case flvConfig:
		f.config, err = parseAVCConfig(payload)
		f.known = err == nil
		return p, err
	case flvPicture:
		if !f.known {
			return p, fmt.Errorf("%w: a picture before its configuration", errNotFLV)
		}
		if b[2]|b[3]|b[4] != 0 {
			return p, errBFrames
		}
		return f.picture(payload)
	}
	return p, nil
}

func (f *flvReader) picture(payload []byte) (p picture, err error) {
	if p, err = f.config.annexB(payload); err != nil {
		return picture{}, err
	}
	if len(f.head)+len(p.data) > maxUnit {
		return picture{}, errTooLarge
	}
	if !p.vcl {
		f.head = append(f.head, p.data...)
		return picture{}, nil
	}
	if len(f.head) > 0 {
		p.data = append(f.head, p.data...)
		f.head = nil
	}
	return p, nil
}

// unexpected is for a stream that ends inside something.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
