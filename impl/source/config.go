package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Config describes a Hub. Zero values mean what is said at each.
type Config struct {
	Input Input
	Pipe  io.Reader // of an Input that is a Pipe; the Hub reads it, and closes it where it can
	FPS   int       // pictures a second: of a Pipe, which does not say (0: 25), and of what is encoded (0: the input's own)

	FFmpeg string // the program; "": ffmpeg, as PATH finds it
	// Start starts a command, in a network namespace that is somebody else's for instance. It must not come back before the process
	// runs. nil: cmd.Start on a thread that lives as long as the process.
	Start func(*exec.Cmd) error

	Mode    Mode
	Width   int           // of what is encoded, in pixels, even; 0: the input's
	Height  int           // the same
	Bitrate int           // of what is encoded, at most, in bits a second; 0: 2,000,000
	Floor   int           // below which no encoder goes, in bits a second: the camera then leaves out frames; 0: 200,000
	First   int           // of what is encoded for a path that is not known yet; 0: 800,000, at most Bitrate
	Group   time.Duration // between an encoder's key frames; 0: 1 s

	Always bool          // capture without a reader too: the first picture is there at once, and costs processor time but no upstream
	Linger time.Duration // how long the capture outlives its last reader; 0: 5 s
	Stall  time.Duration // silence that ends a capture or an encoder; 0: 10 s

	// Notify is called whenever readers have something to read, from the Hub's goroutines and with no lock held.
	Notify func()
	// Observe is given what happens (Event), in order. It must not call the Hub.
	Observe func(Event)
}

// Mode says which video is encoded.
type Mode int

// The modes.
const (
	Auto   Mode = iota // H.264 is passed on as it is where the path carries it; else it is encoded
	Copy               // as it is, always: the bit rate does not adapt
	Encode             // always encoded
)

func (c Config) withDefaults() (Config, error) {
	if c.FFmpeg == "" {
		c.FFmpeg = "ffmpeg"
	}
	for _, d := range []struct {
		v    *time.Duration
		zero time.Duration
	}{{&c.Group, time.Second}, {&c.Linger, 5 * time.Second}, {&c.Stall, 10 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.zero
		}
	}
	if c.Bitrate == 0 {
		c.Bitrate = 2_000_000
	}
	if c.First == 0 {
		c.First = min(800_000, c.Bitrate)
	}
	if c.Floor == 0 {
		c.Floor = min(200_000, c.Bitrate)
	}
	if c.Input.Kind == Pipe && c.FPS == 0 {
		c.FPS = 25
	}
	switch {
	case c.Input.Kind == 0:
		return c, errors.New("configure source: no input; ParseInput reads one")
	case c.Input.Kind == Pipe && c.Pipe == nil:
		return c, errors.New("configure source: the input is a pipe, but none is given")
	case c.First < minBitrate || c.First > c.Bitrate:
		return c, fmt.Errorf("configure source: begin with %d bit/s of at most %d: use %d to that", c.First, c.Bitrate, minBitrate)
	case c.Floor < minBitrate || c.Bitrate < c.Floor || c.Bitrate > maxBitrate:
		return c, fmt.Errorf("configure source: %d bit/s and a floor of %d bit/s: use %d ≤ floor ≤ rate ≤ %d", c.Bitrate, c.Floor,
			minBitrate, maxBitrate)
	case c.FPS < 0 || c.FPS > maxFPS:
		return c, fmt.Errorf("configure source: %d frames a second: use 1 to %d, or 0 for the input's", c.FPS, maxFPS)
	case !side(c.Width) || !side(c.Height) || (c.Width == 0) != (c.Height == 0):
		return c, fmt.Errorf("configure source: a picture of %d × %d: give two even numbers up to %d, or none", c.Width, c.Height, maxSide)
	case c.Group < 100*time.Millisecond || c.Linger < 0 || c.Stall < time.Second:
		return c, fmt.Errorf("configure source: key frames each %v, linger %v, stall %v: use at least 100 ms, 0 and 1 s", c.Group, c.Linger, c.Stall)
	}
	return c, nil
}

// side says whether a picture can be so wide or high.
func side(n int) bool { return n >= 0 && n <= maxSide && n%2 == 0 }

// Check says what keeps a Config from working, as far as that can be known before anybody reads: ErrNoFFmpeg among others.
func Check(c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if c.Input.Kind == Device {
		if _, err := os.Stat(c.Input.Name); err != nil {
			return fmt.Errorf("open input: %w: is the camera plugged in? ls /dev/video* lists those that are", err)
		}
	}
	if c.Input.Kind != Pipe {
		_, err = c.program()
	}
	return err
}

// encodes says whether video is encoded from the beginning.
func (c Config) encodes() bool {
	return c.Mode == Encode || c.Mode == Auto && (c.Input.Kind == Device || c.Input.Kind == Filter)
}

// What is accepted: bit rates in bits a second, frames a second, pixels.
const (
	minBitrate = 20_000
	maxBitrate = 100_000_000
	maxFPS     = 120
	maxSide    = 8192
)
