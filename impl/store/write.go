package store

import (
	"errors"
	"fmt"
	"time"
)

// After a failure writing is tried again after retryFirst, then after twice as long, up to retryMost.
const (
	retryFirst = time.Second
	retryMost  = 30 * time.Second
)

// After opening, all records are verified bit by bit: so much at a time, so often.
const (
	verifySome  = 500
	verifyEvery = 20 * time.Millisecond
)

// run writes behind, until Close.
func (s *Store) run() {
	writer := writer{Store: s}
	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	var due <-chan time.Time
	for {
		select {
		case <-s.wake:
			if due == nil {
				due = time.After(s.opt.Delay)
			}
		case <-due:
			if due = nil; !writer.flush() {
				due = time.After(writer.retry)
			}
		case <-verify.C:
			if !s.verifySome(&writer.verified) {
				verify.Stop()
			}
		case <-s.stop:
			s.done <- writer.close()
			return
		}
	}
}

// writer is the goroutine's state.
type writer struct {
	*Store
	failing  error
	retry    time.Duration
	verified key
}

// flush writes what is pending. It is false if that must be tried again.
func (w *writer) flush() bool {
	written, err := w.Store.flush()
	if err != nil && !w.intact() {
		written, err = w.Store.flush() // what it has found is mended by a new database
	}
	if err == nil {
		w.recovered(written)
		return true
	}
	if w.failing == nil {
		w.retry = retryFirst
		w.report(Failing{Err: fmt.Errorf("write store %s: %w", w.path, err), Pending: w.waiting()})
	} else {
		w.retry = min(2*w.retry, retryMost)
	}
	w.failing = err
	return false
}

// intact says whether there is a database to write to.
func (s *Store) intact() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db != nil
}

// waiting returns how many changes are pending.
func (s *Store) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

func (w *writer) recovered(written int) {
	if w.failing == nil {
		return
	}
	w.failing = nil
	w.mu.Lock()
	dropped := w.dropped
	w.dropped = 0
	w.mu.Unlock()
	w.report(Recovered{Written: written, Dropped: dropped})
}

// close writes the rest.
func (w *writer) close() error {
	if !w.flush() {
		w.failing = fmt.Errorf("close store %s: %d changes are lost: %w", w.path, w.waiting(), w.failing)
	}
	w.use.Lock()
	defer w.use.Unlock()
	w.mu.Lock()
	db := w.db
	w.db = nil // who asks now gets what memory has, and does not wait for a file that is not there
	w.mu.Unlock()
	if db == nil {
		return w.failing
	}
	return errors.Join(w.failing, db.close())
}

// flush writes what is pending, to a new database if this one is damaged.
func (s *Store) flush() (written int, err error) {
	s.mu.Lock()
	db := s.db
	if db == nil {
		s.mu.Unlock()
		s.use.Lock()
		defer s.use.Unlock()
		return s.rebuild()
	}
	s.writing, s.pending = s.pending, make(map[key]change)
	changes := list(s.writing)
	s.mu.Unlock()
	if len(changes) == 0 {
		return 0, nil
	}
	var count uint64
	err = s.mend(db, s.with(db, func() (err error) {
		count, err = db.write(changes)
		return err
	}))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		for k, c := range s.writing {
			if _, newer := s.pending[k]; !newer {
				s.pending[k] = c
			}
		}
	} else {
		s.count = count
	}
	s.writing = nil
	return len(changes), err
}

func list(m map[key]change) []keyed {
	all := make([]keyed, 0, len(m))
	for k, c := range m {
		all = append(all, keyed{k, c})
	}
	return all
}

// rebuild writes everything to a new database, which takes the place of the damaged one. The caller has use to itself.
func (s *Store) rebuild() (written int, err error) {
	s.mu.Lock()
	changes := list(s.pending)
	s.mu.Unlock()
	db, aside, err := rebuild(s.path, changes)
	if err != nil {
		return 0, err
	}
	count, err := db.count()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.db, s.count = db, count
	for _, c := range changes {
		if s.pending[c.key] == c.change { // no newer one has come
			delete(s.pending, c.key)
		}
	}
	event := s.salvage
	s.salvage = nil
	s.mu.Unlock()
	if event != nil {
		event.Aside = aside
		s.report(*event)
	}
	return len(changes), nil
}

// verifySome verifies some more records. It is false at the end.
func (s *Store) verifySome(from *key) (more bool) {
	s.mu.Lock()
	db := s.db
	s.mu.Unlock()
	if db == nil {
		return true
	}
	err := s.mend(db, s.with(db, func() (err error) {
		*from, more, err = db.verify(*from, verifySome)
		return err
	}))
	return more || err != nil
}

func (s *Store) report(event any) {
	if s.opt.Report != nil {
		s.opt.Report(event)
	}
}
