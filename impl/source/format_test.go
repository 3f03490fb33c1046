package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/media"
)

var (
	testSPS = []byte{0x67, 0x42, 0xC0, 0x1F, 0xD9}
	testPPS = []byte{0x68, 0xCB, 0x8C}
	testIDR = []byte{0x65, 0x88, 0x84, 0x7F}
	testP   = []byte{0x41, 0x9A, 0x01}
	testAUD = []byte{0x09, 0x10}
	testSEI = []byte{0x06, 0x05, 0x01}
)

// record is an AVCDecoderConfigurationRecord.
func record(sets ...[]byte) []byte {
	b := []byte{1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(sets[0]))), sets[0]...)
	b = append(b, byte(len(sets)-1))
	for _, s := range sets[1:] {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

func lengths(nals ...[]byte) (b []byte) {
	for _, n := range nals {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(n))), n...)
	}
	return b
}

func codes(nals ...[]byte) (b []byte) {
	for _, n := range nals {
		b = append(append(b, startCode...), n...)
	}
	return b
}

// flvTag is one tag of video.
func flvTag(ms uint32, body []byte) []byte {
	n := len(body)
	b := []byte{flvVideo, byte(n >> 16), byte(n >> 8), byte(n), byte(ms >> 16), byte(ms >> 8), byte(ms), byte(ms >> 24), 0, 0, 0}
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, uint32(n+flvTagHeader))
}

var flvHead = []byte("FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00")

// stream is FLV with a configuration and two pictures.
func stream() []byte {
	return bytes.Join([][]byte{
		flvHead,
		{18, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xAB, 0, 0, 0, 12}, // a script tag
		flvTag(0, append([]byte{0x17, 0, 0, 0, 0}, record(testSPS, testPPS)...)),
		flvTag(0, append([]byte{0x17, 1, 0, 0, 0}, lengths(testAUD, testIDR)...)),
		flvTag(40, append([]byte{0x27, 1, 0, 0, 0}, lengths(testSEI)...)),
		flvTag(0x01000028, append([]byte{0x27, 1, 0, 0, 0}, lengths(testP)...)),
		flvTag(0x01000028, []byte{0x17, 2, 0, 0, 0}),
	}, nil)
}

// A key frame gets the parameter sets behind its delimiter; what is no picture by itself goes with the next one.
func TestFLV(t *testing.T) {
	f := newFLVReader(bytes.NewReader(stream()))
	p, at, err := f.next()
	want := picture{data: codes(testAUD, testSPS, testPPS, testIDR), key: true, vcl: true}
	if err != nil || at != 0 || !cmp.Equal(p, want, cmp.AllowUnexported(picture{})) {
		t.Errorf("the first picture is %+v at %v, %v", p, at, err)
	}
	p, at, err = f.next()
	want = picture{data: codes(testSEI, testP), vcl: true}
	if err != nil || at != 0x01000028*time.Millisecond || !cmp.Equal(p, want, cmp.AllowUnexported(picture{})) {
		t.Errorf("the second picture is %+v at %v, %v", p, at, err)
	}
	if _, _, err = f.next(); err != io.EOF {
		t.Errorf("after the last picture: %v", err)
	}
}

// A stream may end anywhere: inside of something that is no end.
func TestFLVIsCut(t *testing.T) {
	whole := stream()
	for n := range whole {
		f := newFLVReader(bytes.NewReader(whole[:n]))
		var err error
		for err == nil {
			_, _, err = f.next()
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestFLVRefuses(t *testing.T) {
	config := flvTag(0, append([]byte{0x17, 0, 0, 0, 0}, record(testSPS, testPPS)...))
	for name, tt := range map[string]struct {
		stream []byte
		want   error
	}{
		"another format":      {[]byte("RIFF\x01\x01\x00\x00\x00\x09\x00\x00\x00"), errNotFLV},
		"another codec":       {append(flvHead[:13:13], flvTag(0, []byte{0x12, 0})...), errNotH264},
		"no codec":            {append(flvHead[:13:13], flvTag(0, nil)...), errNotH264},
		"a short tag":         {append(flvHead[:13:13], flvTag(0, []byte{0x17, 1})...), errNotFLV},
		"no configuration":    {append(flvHead[:13:13], flvTag(0, []byte{0x17, 1, 0, 0, 0})...), errNotFLV},
		"B-frames":            {bytes.Join([][]byte{flvHead, config, flvTag(0, []byte{0x27, 1, 0, 0, 40})}, nil), errBFrames},
		"a NAL unit too long": {bytes.Join([][]byte{flvHead, config, flvTag(0, []byte{0x27, 1, 0, 0, 0, 0, 0, 0, 9, 0x41})}, nil), errAVC},
		"a huge tag":          {append(flvHead[:13:13], flvVideo, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0), errTooLarge},
	} {
		if _, _, err := newFLVReader(bytes.NewReader(tt.stream)).next(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestAnnexB(t *testing.T) {
	c := avcConfig{lengthSize: 4, sets: [][]byte{testSPS, testPPS}}
	for name, tt := range map[string]struct {
		in, want []byte
	}{
		"own parameter sets": {lengths(testSPS, testPPS, testIDR), codes(testSPS, testPPS, testIDR)},
		"none":               {lengths(testIDR), codes(testSPS, testPPS, testIDR)},
		"not for a P slice":  {lengths(testP), codes(testP)},
		"zeros at the end":   {lengths(append(testP[:3:3], 0, 0)), codes(testP)},
		"nothing":            {lengths([]byte{}), []byte{}},
		"types of RTP":       {lengths([]byte{0x1C, 1}, []byte{0x80, 1}, testP), codes(testP)},
	} {
		p, err := c.annexB(tt.in)
		if err != nil || !bytes.Equal(p.data, tt.want) {
			t.Errorf("%s: %x, %v; want %x", name, p.data, err, tt.want)
		}
	}
	if p, err := (avcConfig{lengthSize: 1}).annexB(append([]byte{byte(len(testP))}, testP...)); err != nil || !bytes.Equal(p.data, codes(testP)) {
		t.Errorf("lengths of a byte: %x, %v", p.data, err)
	}
}

func TestAVCConfigIsCut(t *testing.T) {
	whole := record(testSPS, testPPS)
	c, err := parseAVCConfig(whole)
	if err != nil || c.lengthSize != 4 || !cmp.Equal(c.sets, [][]byte{testSPS, testPPS}) {
		t.Errorf("%+v, %v", c, err)
	}
	for n := range whole {
		if _, err := parseAVCConfig(whole[:n]); !errors.Is(err, errAVC) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// What ffmpeg makes of the clip and what comes of that is the clip.
func TestFLVOfFFmpeg(t *testing.T) {
	require(t, "ffmpeg")
	cmd := exec.Command("ffmpeg", "-loglevel", "fatal", "-i", "../media/clip.h264", "-c", "copy", "-f", "flv", "pipe:1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	f := newFLVReader(bytes.NewReader(out))
	for i, want := range media.EmbeddedClip().AccessUnits {
		p, _, err := f.next()
		if err != nil || p.key != want.Key || !bytes.Equal(p.data, want.Data) {
			t.Fatalf("picture %d: %d bytes, key %v, %v; want %d, %v", i, len(p.data), p.key, err, len(want.Data), want.Key)
		}
	}
}

func FuzzFLV(f *testing.F) {
	f.Add(stream())
	f.Add([]byte("FLV"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFLVReader(bytes.NewReader(b))
		for {
			p, _, err := r.next()
			if err != nil {
				return
			}
			if !p.vcl || !bytes.HasPrefix(p.data, startCode) || len(p.data) > 2*len(b)+1024 {
				t.Fatalf("a picture of %d bytes, %v", len(p.data), p.vcl)
			}
		}
	})
}

func TestY4M(t *testing.T) {
	picture := bytes.Repeat([]byte{7}, 4*2+2*(2*1))
	in := append([]byte("YUV4MPEG2 W4 H2 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG\nFRAME\n"), picture...)
	in = append(append(in, "FRAME Ip\n"...), picture...)
	y, err := newY4MReader(bytes.NewReader(in))
	if err != nil || y.format != (rawFormat{4, 2, 30000, 1001}) {
		t.Fatalf("%+v, %v", y, err)
	}
	for i := range 2 {
		f, err := y.next()
		if err != nil || !bytes.Equal(f.data, picture) {
			t.Fatalf("picture %d: %v, %v", i, f, err)
		}
		f.release()
	}
	if _, err := y.next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
	for n := range in {
		y, err := newY4MReader(bytes.NewReader(in[:n]))
		for err == nil {
			_, err = y.next()
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestY4MRefuses(t *testing.T) {
	for _, head := range []string{
		"", "YUV4MPEG", "YUV4MPEG2 W4 H2", "YUV4MPEG2 W0 H2 F25:1", "YUV4MPEG2 W4 H2 F25:0", "YUV4MPEG2 W4 H2 F25", "YUV4MPEG2 W99999 H2 F25:1",
		"YUV4MPEG2 W4 H2 F25:1 C444", "YUV4MPEG2 W4 H2 F25:1 C420p10", "YUV4MPEG2 W4 Hx F25:1", strings.Repeat("x", 1000),
	} {
		if _, err := newY4MReader(strings.NewReader(head + "\n")); !errors.Is(err, errNotY4M) {
			t.Errorf("%q: %v", head, err)
		}
	}
	y, err := newY4MReader(strings.NewReader("YUV4MPEG2 W2 H2 F25:1\nFRAMES\n123456"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.next(); !errors.Is(err, errNotY4M) {
		t.Errorf("a picture that is none: %v", err)
	}
}

func FuzzY4M(f *testing.F) {
	f.Add([]byte("YUV4MPEG2 W4 H2 F25:1 C420\nFRAME\n123456789012FRAME\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		y, err := newY4MReader(bytes.NewReader(b))
		if err != nil || y.format.size() > 1<<20 {
			return
		}
		for err == nil {
			_, err = y.next()
		}
	})
}

// A picture goes back to the pool when its last holder has let go of it, and no sooner.
func TestRawFrameIsShared(t *testing.T) {
	y, err := newY4MReader(strings.NewReader("YUV4MPEG2 W2 H2 F25:1\nFRAME\nabcdefFRAME\nghijkl"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := y.next()
	a.hold()
	a.release()
	b, _ := y.next()
	if a == b || string(a.data) != "abcdef" {
		t.Error("a picture that is held was given to another")
	}
	a.release()
	if a.held.Load() != 0 {
		t.Errorf("%d still hold it", a.held.Load())
	}
}

// Times are even and grow; odd ones ask for key frames.
func TestMKVTimes(t *testing.T) {
	var out bytes.Buffer
	m, err := newRawMKV(&out, rawFormat{2, 2, 25, 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, p := range []struct {
		at    time.Duration
		force bool
	}{{0, true}, {0, false}, {41 * time.Millisecond, false}, {81 * time.Millisecond, true}, {81 * time.Millisecond, false},
		{80 * time.Millisecond, true}} {
		got = append(got, m.time(p.at, p.force))
	}
	if want := []int64{0, 2, 40, 81, 82, 85}; !cmp.Equal(got, want) {
		t.Errorf("times %v, want %v", got, want)
	}
}

// ffmpeg reads what is written.
func TestMKVOfFFprobe(t *testing.T) {
	require(t, "ffprobe")
	var out bytes.Buffer
	m, err := newRawMKV(&out, rawFormat{64, 48, 25, 1})
	if err != nil {
		t.Fatal(err)
	}
	f := make([]byte, rawFormat{width: 64, height: 48}.size())
	for i := range 3 {
		if err := m.write(m.time(time.Duration(i)*40*time.Millisecond, i == 2), f, true); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=pts_time,size", "-show_entries", "stream=codec_name,width,height,pix_fmt",
		"-of", "compact=p=0", "pipe:0")
	cmd.Stdin = &out
	said, err := cmd.CombinedOutput()
	want := "pts_time=0.000000|size=4608\npts_time=0.040000|size=4608\npts_time=0.081000|size=4608\n" +
		"codec_name=rawvideo|width=64|height=48|pix_fmt=yuv420p\n"
	if err != nil || string(said) != want {
		t.Errorf("ffprobe: %v\n%s", err, said)
	}
}
