package source

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestCaptureArgs(t *testing.T) {
	const rtsp = "rtsp://camera/1"
	for _, tt := range []struct {
		name            string
		cfg             Config
		copies, patient bool
		want            string
	}{
		{"network camera", Config{Input: Input{URL, rtsp}}, true, false,
			"-protocol_whitelist " + networkProtocols + " -analyzeduration 200000 -fpsprobesize 0 -rtsp_flags prefer_tcp -allowed_media_types video" +
				" -timeout 5000000 -i rtsp://camera/1 -map 0:v:0 -c:v copy -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1"},
		{"again", Config{Input: Input{URL, "HTTP://camera/1"}}, true, true,
			"-protocol_whitelist " + networkProtocols + " -rw_timeout 5000000 -i HTTP://camera/1" +
				" -map 0:v:0 -c:v copy -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1"},
		{"V4L2", Config{Input: Input{Device, "/dev/video0"}, FPS: 15, Width: 640, Height: 480}, false, false,
			"-flags low_delay -thread_type slice -f v4l2 -framerate 15 -video_size 640x480 -i /dev/video0 -map 0:v:0" +
				" -vf scale=640:480:force_original_aspect_ratio=decrease,pad=640:480:-1:-1,format=yuv420p" +
				" -fps_mode passthrough -f yuv4mpegpipe -flush_packets 1 pipe:1"},
		{"V4L2 with H.264", Config{Input: Input{Device, "/dev/video0"}}, true, false,
			"-f v4l2 -input_format h264 -i /dev/video0 -map 0:v:0 -c:v copy -f flv -flvflags no_duration_filesize -flush_packets 1 pipe:1"},
		{"file", Config{Input: Input{File, "-x.mp4"}}, true, false,
			"-protocol_whitelist file,crypto,data -re -stream_loop -1 -i file:-x.mp4 -map 0:v:0 -c:v copy -f flv -flvflags no_duration_filesize" +
				" -flush_packets 1 pipe:1"},
		{"filter", Config{Input: Input{Filter, "testsrc2"}, FPS: 10}, false, false,
			"-flags low_delay -thread_type slice -re -f lavfi -i testsrc2 -map 0:v:0 -vf fps=10,scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p" +
				" -fps_mode passthrough -f yuv4mpegpipe -flush_packets 1 pipe:1"},
	} {
		got := strings.Join(captureArgs(tt.cfg, tt.copies, tt.patient)[len(common):], " ")
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestEncoderArgs(t *testing.T) {
	got := strings.Join(encoderArgs(Config{Group: 2 * time.Second}, 500_000, 15), " ")
	for _, want := range []string{"-b:v 500000 -maxrate 500000 -bufsize 250000", "-g 30 ", "-force_key_frames expr:mod(round(t*1000),2)",
		"-tune zerolatency"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if got := strings.Join(encoderArgs(Config{Group: time.Second}, 500_000, 0), " "); !strings.Contains(got, "-g 25 ") {
		t.Errorf("where the input does not say how many frames it has: %s", got)
	}
}

// ffmpeg knows every option: it fails because there is no such device, and not before.
func TestFFmpegKnowsTheOptions(t *testing.T) {
	t.Parallel()
	require(t, "ffmpeg")
	for _, cfg := range []Config{
		{Input: Input{Device, "/dev/no-such-video"}, FPS: 15, Width: 640, Height: 480}, {Input: Input{URL, "rtsp://127.0.0.1:1/x"}},
		{Input: Input{URL, "http://127.0.0.1:1/x"}}, {Input: Input{File, "/no/such/file"}},
	} {
		for _, copies := range []bool{true, false} {
			said, err := exec.Command("ffmpeg", captureArgs(cfg, copies, false)...).CombinedOutput()
			text := string(said)
			if err == nil || !strings.Contains(text, "No such file") && !strings.Contains(text, "Connection refused") {
				t.Errorf("%v: %v: %s", cfg.Input, err, text)
			}
		}
	}
}

func TestParseInput(t *testing.T) {
	for s, want := range map[string]Input{
		"-": {Pipe, "-"}, "/dev/video3": {Device, "/dev/video3"}, "lavfi:testsrc2=size=1x1": {Filter, "testsrc2=size=1x1"},
		"door.mp4": {File, "door.mp4"}, "RTSP://a/b": {URL, "RTSP://a/b"}, "https://a:8/b?c=d": {URL, "https://a:8/b?c=d"},
	} {
		if got, err := ParseInput(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "concat:a|b://x", "exec://x", "rtsp://", "rtsp://a\n-x", "file:///etc/passwd", "rtsp://u:secret@a:b:c/"} {
		if got, err := ParseInput(s); err == nil {
			t.Errorf("%q is taken for %+v", s, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestInputHidesPasswords(t *testing.T) {
	in := Input{URL, "rtsp://user:s3cret@host:554/p?token=t0ken"}
	if got := in.String(); got != "rtsp://host:554/p" {
		t.Errorf("it is called %s", got)
	}
	l := tail{secrets: in.secrets()}
	for _, part := range []string{"cannot open rtsp://user:s3", "cret@host:554/p?token=t0ken: no\nlogin of user with s3cret\n"} {
		_, _ = l.Write([]byte(part))
	}
	if got, want := l.String(), "cannot open rtsp://…@host:554/p?…: no; login of … with …"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// Of what ffmpeg says the end is kept, and not much of it.
func TestTail(t *testing.T) {
	var l tail
	for range 1000 {
		_, _ = l.Write([]byte("first\r\n\n" + strings.Repeat("x", 10_000) + "\nlast"))
	}
	got := l.String()
	if !strings.HasSuffix(got, "; last") || len(got) > tailLines*(tailLine+10) {
		t.Errorf("%d bytes: %.80s", len(got), got)
	}
}

func TestConfig(t *testing.T) {
	in := Input{Filter, "testsrc2"}
	for _, c := range []Config{
		{}, {Input: Input{Pipe, "-"}}, {Input: in, Bitrate: 100, Floor: 50}, {Input: in, Bitrate: 50_000, Floor: 60_000}, {Input: in, FPS: -1},
		{Input: in, Width: 640}, {Input: in, Width: 641, Height: 480}, {Input: in, Group: time.Millisecond}, {Input: in, Stall: time.Millisecond},
	} {
		if h, err := New(c); err == nil {
			h.Close()
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestCheck(t *testing.T) {
	err := Check(Config{Input: Input{Filter, "testsrc2"}, FFmpeg: "no-such-ffmpeg"})
	if !errors.Is(err, ErrNoFFmpeg) || !strings.Contains(err.Error(), "apt install ffmpeg") {
		t.Errorf("without ffmpeg: %v", err)
	}
	if err := Check(Config{Input: Input{Device, "/dev/no-such-video"}}); err == nil || !strings.Contains(err.Error(), "ls /dev/video*") {
		t.Errorf("without the device: %v", err)
	}
}

// A password is hidden as it is written, which may be another way than a URL is usually written, and where the name is a part of it.
func TestPasswordsAsWritten(t *testing.T) {
	for _, tt := range []struct{ url, said, want string }{
		{"rtsp://u:p%2Dw%41@h/x", "rtsp://u:p%2Dw%41@h/x: 401; p-wA", "rtsp://…@h/x: 401; …"},
		{"rtsp://pa:password@h/x", "bad password", "bad …"},
		{"rtsp://h/x?token=abc", "GET /x?token=abc", "GET /x?…"},
	} {
		in, err := ParseInput(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		l := tail{secrets: in.secrets()}
		if _, err := l.Write([]byte(tt.said + "\n")); err != nil || l.String() != tt.want {
			t.Errorf("%q, want %q (%v)", l.String(), tt.want, err)
		}
	}
}
