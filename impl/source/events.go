package source

import "time"

// Event is something that happened: Started, Failed, Switched, Stopped or Skipped.
type Event interface{ event() }

// Started says that video comes from the input.
type Started struct {
	Input Input
	Copy  bool // its H.264 is passed on as it is
	Took  time.Duration
}

// Failed says that there is no video now, and why. It is tried again.
type Failed struct {
	Input Input
	Err   error         // says what to do, and has ffmpeg's last lines
	Retry time.Duration // until it is tried again; 0: never, the input is over
}

// Switched says that some readers get another rendition.
type Switched struct {
	From, To int // bits a second; 0: as the input has it
}

// Stopped says that nobody reads any more, and the capture has ended.
type Stopped struct{ Input Input }

func (Started) event()  {}
func (Failed) event()   {}
func (Switched) event() {}
func (Stopped) event()  {}
