package media

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// requireFFmpeg skips the test when one of ffmpeg's programs is missing, or fails it if PUNCHLAB_REQUIRE
// names ffmpeg. (netnstest does the same for lab's packages; impl must not import them.)
func requireFFmpeg(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "ffmpeg"):
		t.Fatalf("%s is required here and missing: %v", name, err)
	default:
		t.Skipf("%s is missing (Debian: apt-get install ffmpeg): %v", name, err)
	}
}

// saveReceived streams n access units over a lossy link and saves what arrived, as --save does.
func saveReceived(t *testing.T, n int) (file string, frames int) {
	t.Helper()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 5, s, r)
	l.media = impairment{Loss: 0.05, Jitter: 5 * time.Millisecond, Delay: 20 * time.Millisecond}
	l.feedback.Delay = 20 * time.Millisecond
	l.stream(EmbeddedClip(), n)
	l.run(time.Minute)
	file = filepath.Join(t.TempDir(), "received.h264")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(f)
	for _, frame := range l.frames {
		if err := w.WriteFrame(frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	frames, size := w.Written()
	if info, err := os.Stat(file); err != nil || info.Size() != size || frames < n-3 {
		t.Fatalf("wrote %d frames, %d bytes; the file: %v, %v", frames, size, info, err)
	}
	return file, frames
}

func TestFFprobeReadsTheSavedStream(t *testing.T) {
	requireFFmpeg(t, "ffprobe")
	file, frames := saveReceived(t, 110)
	out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries",
		"stream=codec_name,width,height,has_b_frames,nb_read_packets", "-of", "csv=p=0", file).CombinedOutput()
	want := fmt.Sprintf("h264,1280,720,0,%d", frames)
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("ffprobe says %q, %v; want %q and no error", out, err, want)
	}
}

// Every decoded picture shows the number of the access unit it came from, through coding, packets,
// loss, repair and the saved file.
func TestDecodedPicturesCarryTheirNumber(t *testing.T) {
	requireFFmpeg(t, "ffmpeg")
	file, frames := saveReceived(t, 110)
	const width, height = 16, 9 // of the picture scaled so that a block of 80x80 is one pixel
	var stderr bytes.Buffer
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-xerror", "-err_detect", "explode", "-i", file,
		"-vf", fmt.Sprintf("scale=%d:%d:flags=area", width, height), "-pix_fmt", "gray", "-f", "rawvideo", "-")
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.String())
	}
	if len(raw) != frames*width*height {
		t.Fatalf("ffmpeg decoded %d bytes, want %d pictures of %d", len(raw), frames, width*height)
	}
	for i := range frames {
		picture := raw[i*width*height:][:width*height]
		number, err := readCounter(picture[(height-1)*width:])
		if want := i % len(EmbeddedClip().AccessUnits); err != nil || number != want {
			t.Fatalf("picture %d shows %d, %v; want %d", i, number, err, want)
		}
	}
}

// readCounter reads make-clip.sh's row of blocks from one luma sample a block.
func readCounter(row []byte) (int, error) {
	white, black := int(row[0]), int(row[1])
	if white-black < 100 {
		return 0, fmt.Errorf("white is %d and black %d: no row of blocks", white, black)
	}
	bit := func(i int) int {
		if int(row[i]) > (white+black)/2 {
			return 1
		}
		return 0
	}
	number, ones := 0, 0
	for i := 2; i < 14; i++ {
		number = number<<1 | bit(i)
		ones += bit(i)
	}
	if bit(14) != ones%2 || bit(15) == bit(14) {
		return number, fmt.Errorf("parity %d, %d does not fit", bit(14), bit(15))
	}
	return number, nil
}

// The script in the tree makes the clip in the tree, byte for byte where ffmpeg is the one it names.
func TestMakeClipIsReproducible(t *testing.T) {
	requireFFmpeg(t, "ffmpeg")
	version, err := exec.Command("ffmpeg", "-version").Output()
	if err != nil || !bytes.Contains(version, []byte("ffmpeg version 5.1.9-")) {
		t.Skip("the clip was made by ffmpeg 5.1.9; another may code it differently")
	}
	if testing.Short() {
		t.Skip("coding the clip takes seconds")
	}
	out := filepath.Join(t.TempDir(), "clip.h264")
	log, err := exec.Command("./make-clip.sh", out).CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 70 {
		t.Skipf("%s", log) // no font: this user's module cache does not hold it
	}
	if err != nil {
		t.Fatalf("make-clip.sh: %v: %s", err, log)
	}
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, clipBytes) {
		t.Errorf("make-clip.sh made %d bytes that differ from the committed %d; commit what it makes", len(made), len(clipBytes))
	}
}

func TestWriterReportsWhatFailed(t *testing.T) {
	pr, pw := io.Pipe()
	pr.Close()
	w := NewWriter(pw)
	if err := w.WriteFrame(Frame{Index: 7, Data: []byte("x")}); err == nil || !strings.Contains(err.Error(), "save frame 7: ") {
		t.Errorf("error: %v", err)
	}
	if frames, n := w.Written(); frames != 0 || n != 0 {
		t.Errorf("%d frames, %d bytes written", frames, n)
	}
}
