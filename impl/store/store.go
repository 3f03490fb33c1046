package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"golang.org/x/crypto/blake2s"
)

// Store is a rendezvous.Store in a file. It is safe for concurrent use.
type Store struct {
	path string
	opt  Options

	mu      sync.Mutex // over what follows
	pending map[key]change
	writing map[key]change // being written; pending is newer
	count   uint64         // as last written
	dropped int            // since failing
	salvage *Salvaged      // to report once the new database is in its place
	db      *database      // nil: damaged, all its records are pending; changed under use too
	use     sync.RWMutex   // held for reading while db is used; taken before mu

	wake chan struct{} // something is pending
	stop chan struct{}
	done chan error // what Close returns
}

var _ rendezvous.Store = (*Store)(nil)

// Open opens the database at path, and makes it where there is none. A damaged file is set aside, and what is whole in it is
// taken over (Salvaged). It is an error if another process has the file open, if it is of a newer program or no database at
// all, or if the folder cannot be written to.
func Open(path string, o Options) (*Store, error) {
	s := &Store{path: path, opt: o.withDefaults(), pending: map[key]change{}, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		done: make(chan error, 1)}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	go s.run()
	return s, nil
}

func (s *Store) open() (err error) {
	if err := finish(s.path); err != nil {
		return err
	}
	s.db, err = openDatabase(s.path)
	var d *damage
	if errors.As(err, &d) {
		if err = s.rescue(d); err == nil {
			_, err = s.rebuild()
		}
	}
	if err != nil {
		return err
	}
	s.count, err = s.db.count()
	return err
}

// Load returns what Save was last given.
func (s *Store) Load(k identity.PublicKey) (rendezvous.Record, bool) {
	for {
		s.mu.Lock()
		c, ok := s.pending[k]
		if !ok {
			c, ok = s.writing[k]
		}
		db := s.db
		s.mu.Unlock()
		if ok || db == nil {
			return c.record, ok && !c.gone
		}
		r, found, err := s.read(db, k)
		if err == nil {
			return r, found
		}
	}
}

// errMoved says that the database is another one by now.
var errMoved = errors.New("the database has been replaced")

// read reads from db as long as it is the store's. After damage everything that could be rescued is pending.
func (s *Store) read(db *database, k key) (r record, found bool, err error) {
	err = s.with(db, func() error {
		r, found, err = db.load(k)
		return err
	})
	return r, found, s.mend(db, err)
}

// with uses db if it is the store's still.
func (s *Store) with(db *database, use func() error) error {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.db != db {
		return errMoved
	}
	return use()
}

// mend rescues db's records if the error says that it is damaged. It returns the error.
func (s *Store) mend(db *database, err error) error {
	var d *damage
	if !errors.As(err, &d) {
		return err
	}
	s.use.Lock()
	defer s.use.Unlock()
	if s.db != db {
		return errMoved
	}
	db.abandon()
	if e := s.rescue(d); e != nil { // the file cannot even be read: what is in memory is all there is
		s.forgetDatabase(found{}, d)
		err = errors.Join(err, e)
	}
	s.signal()
	return err
}

// rescue reads the damaged file, and makes what is whole in it pending.
func (s *Store) rescue(d *damage) error {
	f, err := scan(s.path)
	if err != nil {
		return err
	}
	if !f.ours() {
		return fmt.Errorf("%s is no database of a rendezvous: name another file", s.path)
	}
	s.forgetDatabase(f, d)
	return nil
}

func (s *Store) forgetDatabase(f found, d *damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[key]change, len(f.records)+len(s.pending))
	for k, r := range f.records {
		all[k] = change{record: r.record}
	}
	for _, newer := range []map[key]change{s.writing, s.pending} {
		for k, c := range newer {
			all[k] = c
		}
	}
	s.pending, s.db = all, nil
	s.salvage = &Salvaged{Reason: d.reason, Records: len(f.records), Damaged: f.damaged}
}

// Save remembers a record, and writes it behind.
func (s *Store) Save(k identity.PublicKey, r rendezvous.Record) { s.change(k, change{record: r}) }

// Forget forgets a record.
func (s *Store) Forget(k identity.PublicKey) { s.change(k, change{gone: true}) }

// Greatest returns the greatest number that Raise was given under a name, 0 if none: what must not go back over a restart, such
// as the number of a maker's list of revocations.
func (s *Store) Greatest(name string) uint64 {
	r, _ := s.Load(named(name))
	return r.Stamp
}

// Raise remembers a number under a name if it is the greatest so far. It is kept, and rescued, as records are.
func (s *Store) Raise(name string, n uint64) {
	if n > s.Greatest(name) {
		s.Save(named(name), record{Stamp: n})
	}
}

// named is where a number is kept: no device has this key.
func named(name string) key { return key(blake2s.Sum256([]byte("punchlab store number " + name))) }

func (s *Store) change(k key, c change) {
	s.mu.Lock()
	if _, known := s.pending[k]; !known && len(s.pending) >= s.opt.MaxPending {
		for other := range s.pending { // any of them: it costs its device no more than protection against replay
			delete(s.pending, other)
			s.dropped++
			break
		}
	}
	s.pending[k] = c
	s.mu.Unlock()
	s.signal()
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Count returns the number of records written.
func (s *Store) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.count)
}

// Close writes what waits, and closes the file. The error says that something could not be written.
func (s *Store) Close() error {
	close(s.stop)
	return <-s.done
}
