package cloud

import "time"

// Started says that a part begins.
type Started struct {
	Part string
	At   time.Time // of its first picture
}

// Ended says that a part has its last segment; what waits of it is still to be stored.
type Ended struct{ Part string }

// Found says what an earlier run left in the spool.
type Found struct {
	Segments int
	Bytes    int64
	Damaged  int // playlists that were torn: set aside as NAME.damaged, and made again from what the store has
}

// Stored says that the store has a segment.
type Stored struct {
	Part, Segment string
	Bytes         int
	Waiting       int // segments still in the spool
}

// StoreFailed says why nothing can be stored now, once for each reason until StoreBack. Nothing is lost by it as long as the
// spool has room.
type StoreFailed struct {
	Reason  Reason
	Err     error // names the place and says what to do
	Waiting int   // segments in the spool
}

// StoreBack says that the store takes segments again.
type StoreBack struct {
	After   time.Duration // since the first failure
	Waiting int
}

// SpoolFailed says that the disk cannot be written: segments wait in memory, and an outage of the store is survived for less
// time. Told once until SpoolBack.
type SpoolFailed struct{ Err error }

// SpoolBack says that the disk can be written again.
type SpoolBack struct{}

// Lost says that segments were dropped, the oldest first, since neither the store nor the spool could take more.
type Lost struct {
	Segments int
	Duration time.Duration
	Err      error // says which bound was met and what to do
}

// Overrun says that pictures came faster than they could be recorded; up to the next key frame they are left out.
type Overrun struct{ AccessUnits int }

// Stats counts what a recorder has done since it began.
type Stats struct {
	Recording   bool   // a part is being recorded
	AccessUnits uint64 // recorded
	MediaBytes  uint64 // of them, as the source gave them
	Segments    uint64 // ended
	Stored      uint64 // segments that the store has taken
	StoredBytes uint64 // of them, as stored
	Playlists   uint64 // playlists put
	ListedBytes uint64 // of them
	Failures    uint64 // uploads that failed
	Lost        uint64 // segments dropped
	Overrun     uint64 // access units left out
	Waiting     int    // segments not yet stored
	WaitBytes   int64  // of them, on disk and in memory
	InMemory    int64  // of these, in memory alone
}
