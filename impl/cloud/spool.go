package cloud

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// spool holds what is not yet stored, on disk as the store will have it:
//
//	SPOOL/lock                    held by the recorder
//	SPOOL/state                   series and next sequence number
//	SPOOL/PART/index.m3u8         the playlist: what of the part is stored or lost
//	SPOOL/PART/SEGMENT.ts         waits to be stored
//	SPOOL/PART/open-FACTS         the segment that is being recorded; its end may be missing
//
// A segment's file is removed after the playlist that names it was written, and a part's folder after its whole playlist was
// stored. So every moment at which the power may fail leaves either a file to be stored once more under the name it had, or
// nothing to do.
type spool struct {
	cfg     *Config
	tell    func(any)
	publish func(Stats) // what changed
	lock    *os.File
	wake    chan struct{} // has one where the uploader should look

	mu     sync.Mutex
	state  state
	parts  []*part    // oldest first; the last may be open
	queue  []*segment // oldest first
	disk   int64      // bytes of segments on disk
	memory int64      // and in memory alone
	failed error      // why the disk did not take what it should; told. Nil: it does
	lost   Lost       // not yet told
	after  *uint64    // what was lost before the next part, where the part before it was dropped whole
	counts Stats      // of the spool: Lost and Segments
}

// state is what outlives all parts.
type state struct {
	Series string `json:"series"`
	Next   uint64 `json:"next"`
}

// part is a folder of the spool.
type part struct {
	name  partName
	dir   string
	keys  partKeys
	list  playlist
	ended bool // no segment will be added

	waiting int       // of its segments in the queue
	dirty   bool      // the store does not know the whole list
	put     time.Time // when the list was last stored
	ask     bool      // the store may have segments that the list does not name
	torn    bool      // an earlier run's list could not be read
}

// segment waits to be stored, or was dropped while others of its part, older ones, wait.
type segment struct {
	part    *part
	name    segmentName
	size    int64
	data    []byte // nil: on disk
	dropped bool
	busy    bool // being stored
}

const (
	lockName  = "lock"
	stateName = "state"
	openName  = "open-"
	damaged   = ".damaged"
)

// openSpool locks the spool and reads what an earlier run left in it.
func openSpool(c *Config, tell func(any), publish func(Stats)) (*spool, error) {
	s := &spool{cfg: c, tell: tell, publish: publish, wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(c.Spool, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w: make the folder, or name another one", err)
	}
	var err error
	s.lock, err = os.OpenFile(filepath.Join(c.Spool, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w: the folder must be this user's own", err)
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %s is in use by another recorder: stop that one, or name another folder", c.Spool),
			s.lock.Close())
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.lock.Close())
	}
	return s, nil
}

// close gives the spool free.
func (s *spool) close() error {
	s.mu.Lock()
	defer s.unlock()
	s.saveState()
	// Closing the file alone would not do: a program that another goroutine is just starting has the descriptor too until it runs.
	return errors.Join(syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close())
}

// unlock ends what changed the spool.
func (s *spool) unlock() {
	t := s.counts
	for _, p := range s.parts {
		t.Waiting += p.waiting
	}
	t.WaitBytes, t.InMemory = s.disk+s.memory, s.memory
	s.publish(t)
	s.mu.Unlock()
}

// saveState writes series and next number. A crash between two parts that finds an old number is met by the folders' names.
func (s *spool) saveState() {
	b, err := json.Marshal(s.state)
	if err != nil {
		panic("cloud: " + err.Error()) // a string and a number
	}
	s.noteDisk(writeFile(filepath.Join(s.cfg.Spool, stateName), append(b, '\n')))
}

// loadState reads the state. Where it is gone, the series of the newest part goes on, or one begins.
func (s *spool) loadState() error {
	b, err := os.ReadFile(filepath.Join(s.cfg.Spool, stateName))
	if err == nil && json.Unmarshal(b, &s.state) == nil && len(s.state.Series) == 8 {
		return nil
	}
	var newest *part
	for _, p := range s.parts {
		if newest == nil || p.name.Start.After(newest.name.Start) {
			newest = p
		}
	}
	if newest != nil {
		s.state = state{Series: newest.name.Series}
		return nil
	}
	var series [4]byte
	if _, err := io.ReadFull(rand.Reader, series[:]); err != nil {
		return err
	}
	s.state = state{Series: fmt.Sprintf("%x", series)}
	return nil
}

// begin makes a part whose first picture is of start.
func (s *spool) begin(start time.Time) *part {
	s.mu.Lock()
	defer s.unlock()
	s.saveState()
	p := s.newPart(partName{Start: start.UTC().Truncate(time.Second), Series: s.state.Series, First: s.state.Next})
	if s.after != nil {
		p.list.LostBefore, s.after = *s.after, nil
	}
	s.noteDisk(errors.Join(os.Mkdir(p.dir, 0o700), syncDir(s.cfg.Spool)))
	s.parts = append(s.parts, p)
	return p
}

func (s *spool) newPart(n partName) *part {
	return &part{
		name: n, dir: filepath.Join(s.cfg.Spool, n.String()), keys: derive(s.cfg.Key, s.cfg.UID, n.String()),
		list: playlist{Part: n, LostBefore: n.First, Target: int(s.cfg.Segment.Round(time.Second) / time.Second)},
	}
}

// end says that a part has its last segment.
func (s *spool) end(p *part) {
	s.mu.Lock()
	defer s.unlock()
	p.ended, p.dirty = true, true
	s.saveState()
	s.forgetEmpty()
	s.wakeUploader()
}

// insert takes a finished segment, already on disk where data is nil, and drops the oldest where a bound is met.
func (s *spool) insert(seg *segment) {
	s.mu.Lock()
	defer s.unlock()
	s.counts.Segments++
	s.queue = append(s.queue, seg)
	seg.part.waiting++
	if seg.data == nil {
		s.disk += seg.size
		s.works()
	} else {
		s.memory += seg.size
	}
	s.flush()
	s.enforce()
	s.tellLost()
	s.wakeUploader()
}

// flush writes to disk what waits in memory.
func (s *spool) flush() {
	if s.memory == 0 {
		return
	}
	for _, seg := range s.queue {
		if seg.data == nil || seg.dropped {
			continue
		}
		err := os.MkdirAll(seg.part.dir, 0o700)
		if err == nil {
			err = writeFile(filepath.Join(seg.part.dir, seg.name.String()), seg.data)
		}
		if s.noteDisk(err); err != nil {
			return
		}
		seg.data = nil
		s.memory -= seg.size
		s.disk += seg.size
	}
	s.works()
}

// noteDisk tells that the disk fails, once until works.
func (s *spool) noteDisk(err error) {
	if err == nil {
		return
	}
	if s.failed == nil {
		s.tell(SpoolFailed{Err: diskAdvice(s.cfg.Spool, err)})
	}
	s.failed = err
}

// works tells that the disk, which failed, has taken all that waited in memory.
func (s *spool) works() {
	if s.failed != nil && s.memory == 0 {
		s.failed = nil
		s.tell(SpoolBack{})
	}
}

// diskAdvice says what to do about a disk that does not take what it should.
func diskAdvice(dir string, err error) error {
	switch {
	case full(err):
		return fmt.Errorf("spool %s: %w: free space there or lower the bound; until then what is not stored waits in memory", dir, err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("spool %s: %w: let this user write there; until then what is not stored waits in memory", dir, err)
	}
	return fmt.Errorf("spool %s: %w: check the disk; until then what is not stored waits in memory", dir, err)
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

func (s *spool) wakeUploader() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
