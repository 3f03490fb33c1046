package cloud

import (
	"errors"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// Config says what a Recorder records, and where to.
type Config struct {
	UID   identity.UID // of the camera: the folder below the store's prefix
	Key   Key          // encrypts and authenticates; not zero
	Store Store        // where to; see S3.Open

	Spool  string // folder of what is not yet stored; made with mode 0700 where it is missing. One recorder at a time
	Bound  int64  // bytes that the spool may hold; then the oldest go. Zero: 1 GiB
	Memory int64  // bytes of segments that wait in memory while the spool cannot be written; then the oldest go. Zero: 16 MiB

	Segment time.Duration // a segment ends at the first key frame after this; zero: 4 s
	Part    time.Duration // a part ends at the first segment after this; zero: 10 min

	OnMotion bool          // record around motions alone; false: always
	PreRoll  time.Duration // recorded of the time before a motion; zero: 5 s
	PostRoll time.Duration // recorded of the time after the last motion; zero: 10 s

	RetryMin, RetryMax time.Duration // a refused upload is tried again after RetryMin, twice that, … RetryMax; zero: 1 s, 60 s

	// Event is told each event, one at a time, from the recorder's goroutines, what was found in the spool before NewRecorder
	// returns. It must not block, nor close the recorder. Nil: nobody is told.
	Event func(any)
	Now   func() time.Time // nil: time.Now
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Segment, 4*time.Second)
	def(&c.Part, 10*time.Minute)
	def(&c.PreRoll, 5*time.Second)
	def(&c.PostRoll, 10*time.Second)
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, time.Minute)
	if c.Bound == 0 {
		c.Bound = 1 << 30
	}
	if c.Memory == 0 {
		c.Memory = 16 << 20
	}
	if c.Event == nil {
		c.Event = func(any) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.UID.IsZero():
		return errors.New("no UID: name the camera whose video this is")
	case c.Key == Key{}:
		return errors.New("no key: load or draw a recording key")
	case c.Store == nil:
		return errors.New("no store: say where recordings go")
	case c.Spool == "":
		return errors.New("no spool: name a folder for what is not yet stored")
	case c.Segment < time.Second/2 || c.Segment > time.Minute:
		return fmt.Errorf("a segment of %v: give 500ms to 1m", c.Segment)
	case c.Part < c.Segment || c.Part > time.Hour:
		return fmt.Errorf("a part of %v: give a segment (%v) to 1h", c.Part, c.Segment)
	case c.PreRoll < 0 || c.PreRoll > time.Minute:
		return fmt.Errorf("a pre-roll of %v: give up to 1m, it is held in memory", c.PreRoll)
	case c.PostRoll < 0:
		return fmt.Errorf("a post-roll of %v: give a duration above 0", c.PostRoll)
	case c.Bound < 1<<20 || c.Memory < 1<<20:
		return fmt.Errorf("a bound of %d bytes on disk and %d in memory: give at least 1 MiB each", c.Bound, c.Memory)
	case c.RetryMin <= 0 || c.RetryMax < c.RetryMin:
		return fmt.Errorf("retries after %v to %v: give a range above 0", c.RetryMin, c.RetryMax)
	}
	return nil
}
