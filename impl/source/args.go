package source

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// common begins every command: no questions, no statistics, nothing but errors on stderr.
var common = []string{"-hide_banner", "-loglevel", "error", "-nostats", "-nostdin"}

// What network inputs may use, and files. A playlist that is a camera's must not read this host's files, nor a file the network.
const (
	networkProtocols = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,hls,rtmp,rtmps,rtmpt,srt,crypto,data"
	fileProtocols    = "file,crypto,data"
)

// networkTimeout is how long ffmpeg waits for a camera on the network.
const networkTimeout = 5 * time.Second

// captureArgs are ffmpeg's arguments for a capture that passes H.264 on, as FLV, or decodes it to uncompressed pictures, as Y4M.
// patient is for another try, after one that has found too little out about the input.
func captureArgs(c Config, copies, patient bool) []string {
	args := append([]string{}, common...)
	args = append(args, inputArgs(c, copies, patient)...)
	args = append(args, "-map", "0:v:0")
	if copies {
		return append(args, "-c:v", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", "-flush_packets", "1", "pipe:1")
	}
	return append(args, "-vf", filters(c), "-fps_mode", "passthrough", "-f", "yuv4mpegpipe", "-flush_packets", "1", "pipe:1")
}

func inputArgs(c Config, copies, patient bool) (args []string) {
	name := c.Input.Name
	if !copies {
		args = append(args, "-flags", "low_delay", "-thread_type", "slice") // threads that take a picture each keep pictures back
	}
	switch c.Input.Kind {
	case File:
		return append(args, "-protocol_whitelist", fileProtocols, "-re", "-stream_loop", "-1", "-i", "file:"+name)
	case Device:
		args = append(args, "-f", "v4l2")
		if copies {
			args = append(args, "-input_format", "h264")
		}
		if c.FPS > 0 {
			args = append(args, "-framerate", strconv.Itoa(c.FPS))
		}
		if c.Width > 0 {
			args = append(args, "-video_size", fmt.Sprintf("%dx%d", c.Width, c.Height))
		}
		return append(args, "-i", name)
	case Filter:
		return append(args, "-re", "-f", "lavfi", "-i", name)
	}
	args = append(args, "-protocol_whitelist", networkProtocols)
	if !patient { // most cameras say what they have before they play
		args = append(args, "-analyzeduration", "200000", "-fpsprobesize", "0")
	}
	micros := strconv.FormatInt(networkTimeout.Microseconds(), 10)
	switch scheme, _, _ := strings.Cut(strings.ToLower(name), "://"); scheme {
	case "rtsp", "rtsps":
		args = append(args, "-rtsp_flags", "prefer_tcp", "-allowed_media_types", "video", "-timeout", micros)
	default:
		args = append(args, "-rw_timeout", micros)
	}
	return append(args, "-i", name)
}

// filters make uncompressed pictures of even size, 4:2:0.
func filters(c Config) string {
	var fs []string
	if c.FPS > 0 && c.Input.Kind != Device {
		fs = append(fs, fmt.Sprintf("fps=%d", c.FPS))
	}
	if c.Width > 0 {
		fs = append(fs, fmt.Sprintf("scale=%d:%d:force_original_aspect_ratio=decrease,pad=%[1]d:%[2]d:-1:-1", c.Width, c.Height))
	} else {
		fs = append(fs, "scale=trunc(iw/2)*2:trunc(ih/2)*2")
	}
	return strings.Join(append(fs, "format=yuv420p"), ",")
}

// forceKey is true of the odd milliseconds by which mkvWriter asks for a key frame.
const forceKey = "expr:mod(round(t*1000),2)"

// encoderArgs are ffmpeg's arguments for an encoder: Matroska on its stdin, FLV on its stdout, a picture for each picture, none of them
// kept back.
func encoderArgs(c Config, rate, fps int) []string {
	if fps <= 0 {
		fps = 25
	}
	group := max(int(c.Group*time.Duration(fps)/time.Second), 1)
	n := strconv.Itoa
	return append(append([]string{}, common...),
		"-probesize", "32", "-analyzeduration", "0", "-flags", "low_delay", "-thread_type", "slice", "-f", "matroska", "-i", "pipe:0",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline", "-pix_fmt", "yuv420p",
		"-g", n(group), "-keyint_min", "1", "-sc_threshold", "0", "-forced-idr", "1", "-force_key_frames", forceKey,
		"-b:v", n(rate), "-maxrate", n(rate), "-bufsize", n(rate/2),
		"-fps_mode", "passthrough", "-enc_time_base", "1:1000",
		"-f", "flv", "-flvflags", "no_duration_filesize", "-flush_packets", "1", "pipe:1")
}
