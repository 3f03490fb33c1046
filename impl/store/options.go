package store

import "time"

// Options of a Store. Zero values take the defaults named.
type Options struct {
	Delay      time.Duration // between a change and its writing; 0: 50 ms
	MaxPending int           // changes kept in memory while the disk does not take them; 0: 2,000,000. Beyond it some are dropped

	// Report is told what the owner should know: Salvaged, Failing or Recovered. It is called from within Open and from the store's
	// goroutine, and must not call the store. nil: nobody is told.
	Report func(event any)
}

func (o Options) withDefaults() Options {
	if o.Delay <= 0 {
		o.Delay = 50 * time.Millisecond
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 2_000_000
	}
	return o
}

// Salvaged says that the database was damaged, and what became of it.
type Salvaged struct {
	Aside   string // where the damaged file is kept
	Reason  string // what was wrong with it
	Records int    // that were whole, and are in the new database
	Damaged int    // that were recognised, but have another checksum than they say: these devices register anew
}

// Failing says that records cannot be written. They are kept in memory, and writing is tried again; once until Recovered.
type Failing struct {
	Err     error
	Pending int // records that wait
}

// Recovered says that all records that waited have been written.
type Recovered struct {
	Written int
	Dropped int // records that were too many to wait
}
