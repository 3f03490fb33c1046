package cloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// uploader stores what the spool holds, one object after the other.
type uploader struct {
	cfg   *Config
	sp    *spool
	tell  func(any)
	count func(func(*Stats))

	failing Reason    // told; 0: the store takes what it is given
	since   time.Time // it fails
	wait    time.Duration
}

// Contents' types (RFC 8216 §4, H.222.0).
const (
	playlistType = "application/vnd.apple.mpegurl"
	segmentType  = "application/octet-stream" // encrypted: nobody else should look for video in it
)

// run stores until ctx ends, or until nothing waits once drain is closed.
func (u *uploader) run(ctx context.Context, drain <-chan struct{}) {
	for ctx.Err() == nil {
		j, due := u.sp.next(u.cfg.Now())
		switch {
		case j != nil && !u.do(ctx, j):
			pause(ctx, u.backoff(), drain)
		case j == nil && closed(drain) && due.IsZero():
			return
		case j == nil && closed(drain):
			pause(ctx, min(due.Sub(u.cfg.Now()), u.cfg.RetryMin), drain)
		case j == nil:
			u.sleep(ctx, due, drain)
		}
	}
}

// do does one job, and says whether it is done.
func (u *uploader) do(ctx context.Context, j *job) bool {
	listed, err := u.call(ctx, j)
	if err != nil {
		u.sp.failedJob(j)
		if ctx.Err() == nil {
			u.failed(err)
		}
		return false
	}
	u.sp.done(j, u.cfg.Now(), listed)
	u.worked(j)
	return true
}

// call asks the store.
func (u *uploader) call(ctx context.Context, j *job) ([]segmentName, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime(len(j.body)))
	defer cancel()
	switch {
	case j.ask:
		return u.list(ctx, j.part)
	case j.seg != nil:
		return nil, u.cfg.Store.Put(ctx, u.sp.partPath(j.part, j.seg.name.String()), segmentType, j.body)
	}
	return nil, u.cfg.Store.Put(ctx, u.sp.partPath(j.part, playlistName), playlistType, j.body)
}

// callTime is how long a call may take: on the slowest uplink that recording makes sense on, 128 kbit/s.
func callTime(size int) time.Duration {
	return 30*time.Second + time.Duration(size)*time.Second/(16<<10)
}

// list returns which segments of a part the store has. A store that lets the camera do nothing but write tells nothing.
func (u *uploader) list(ctx context.Context, p *part) (names []segmentName, err error) {
	objects, err := u.cfg.Store.List(ctx, u.sp.partPath(p, ""))
	var e *StoreError
	if errors.As(err, &e) && (e.Reason == Forbidden || e.Reason == Refused) {
		return nil, nil
	}
	for _, o := range objects {
		if n, e := parseSegmentName(o.Name[strings.LastIndexByte(o.Name, '/')+1:]); e == nil && !n.lost() {
			names = append(names, n)
		}
	}
	return names, err
}

// failed tells why, once for each reason.
func (u *uploader) failed(err error) {
	reason := Refused
	var e *StoreError
	if errors.As(err, &e) {
		reason = e.Reason
	}
	var waiting int
	u.count(func(s *Stats) { s.Failures++; waiting = s.Waiting })
	if u.failing == 0 {
		u.since = u.cfg.Now()
	}
	if u.failing != reason {
		u.tell(StoreFailed{Reason: reason, Err: err, Waiting: waiting})
	}
	u.failing = reason
}

func (u *uploader) worked(j *job) {
	var waiting int
	u.count(func(s *Stats) {
		waiting = s.Waiting
		switch {
		case j.seg != nil:
			s.Stored++
			s.StoredBytes += uint64(len(j.body))
		case !j.ask:
			s.Playlists++
			s.ListedBytes += uint64(len(j.body))
		}
	})
	if u.failing != 0 {
		u.tell(StoreBack{After: u.cfg.Now().Sub(u.since), Waiting: waiting})
	}
	u.failing, u.wait = 0, 0
	if j.seg != nil {
		u.tell(Stored{Part: j.part.name.String(), Segment: j.seg.name.String(), Bytes: len(j.body), Waiting: waiting})
	}
}

// backoff returns how long to wait after a failure: twice as long as before, and up to a fifth less, so that many cameras do
// not come back together.
func (u *uploader) backoff() time.Duration {
	u.wait = min(max(2*u.wait, u.cfg.RetryMin), u.cfg.RetryMax)
	return u.wait - rand.N(u.wait/5+1)
}

// sleep waits until the spool has something to do.
func (u *uploader) sleep(ctx context.Context, due time.Time, drain <-chan struct{}) {
	var at <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(due.Sub(u.cfg.Now()))
		defer t.Stop()
		at = t.C
	}
	select {
	case <-u.sp.wake:
	case <-at:
	case <-drain:
	case <-ctx.Done():
	}
}

// pause waits for d. What closes the recorder meanwhile ends it, so that the store is asked once more at once.
func pause(ctx context.Context, d time.Duration, drain <-chan struct{}) {
	if closed(drain) {
		drain = nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-drain:
	case <-ctx.Done():
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
