package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// database is a bbolt file with the records. bbolt has no checksums but on its first pages, and panics or faults on what it
// cannot understand: all use of it goes through guard.
type database struct {
	bolt *bbolt.DB
	file *os.File
}

// Buckets and keys.
var (
	recordsBucket = []byte("punchlab rendezvous records")
	metaBucket    = []byte("punchlab rendezvous meta")
	schemaKey     = []byte("schema")
	countKey      = []byte("count")
)

const (
	schema   = 1
	lockWait = 500 * time.Millisecond
	mapSize  = 256 << 20 // address space, so that growing disturbs no reader
)

// damage says that a file is not what was written to it.
type damage struct{ reason string }

func (d *damage) Error() string { return "the database is damaged: " + d.reason }

func damaged(format string, a ...any) error { return &damage{fmt.Sprintf(format, a...)} }

// guard runs what uses bbolt, and returns its panics and faults as damage.
func guard(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged("%v", r)
		}
	}()
	return use()
}

// openDatabase opens a file, and makes it where there is none. Errors are damage, or say what to do.
func openDatabase(path string) (*database, error) {
	d := &database{}
	options := &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapSize,
		OpenFile: func(name string, flag int, mode fs.FileMode) (f *os.File, err error) {
			d.file, err = os.OpenFile(name, flag, mode)
			return d.file, err
		},
	}
	err := guard(func() (err error) {
		d.bolt, err = bbolt.Open(path, 0o600, options)
		return err
	})
	if err == nil {
		err = d.prepare()
	}
	if err != nil {
		d.abandon()
		return nil, explain(path, err)
	}
	return d, nil
}

// explain makes of bbolt's errors ours.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s is in use by another process: stop it, or name another file", path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return damaged("its first pages: %v", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make its folder, or name another file", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: make room on the disk, or name a file on another one", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: this user must be able to write there", err)
	}
	return err
}

// prepare checks who made the file, and that it is as long as it says; in a new one it makes the buckets. It writes nothing
// else, so that a full disk keeps nobody from opening.
func (d *database) prepare() error {
	empty := false
	err := d.view(func(tx *bbolt.Tx) error {
		info, err := d.file.Stat()
		if err != nil {
			return err
		}
		if tx.Size() > info.Size() {
			return damaged("it has %d bytes, and says that it has %d", info.Size(), tx.Size())
		}
		if err := d.checkMeta(); err != nil {
			return err
		}
		if first, _ := tx.Cursor().First(); first == nil {
			empty = true
			return nil
		}
		return d.check(tx)
	})
	if err != nil || !empty {
		return err
	}
	return d.update(create)
}

// checkMeta checks both meta pages, which bbolt writes by turns. It goes back one transaction where the newer one is torn, and
// says nothing; what that transaction wrote can still be rescued.
//
//	page: 16 bytes of header │ magic, version, page size, flags (4 each) │ root (16) │ free list, size, transaction (8 each) │ FNV-1a 64
func (d *database) checkMeta() error {
	const header, body = 16, 56
	for page := range 2 {
		var b [header + body + 8]byte
		if _, err := d.file.ReadAt(b[:], int64(page*d.bolt.Info().PageSize)); err != nil {
			return err
		}
		sum := fnv.New64a()
		sum.Write(b[header : header+body])
		if sum.Sum64() != binary.NativeEndian.Uint64(b[header+body:]) {
			return damaged("its page %d is torn", page)
		}
	}
	return nil
}

// check checks the version.
func (d *database) check(tx *bbolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil || tx.Bucket(recordsBucket) == nil {
		return damaged("it has no records")
	}
	switch v := meta.Get(schemaKey); {
	case len(v) != 4:
		return damaged("it does not say its version")
	case binary.BigEndian.Uint32(v) > schema:
		return fmt.Errorf("%s is of version %d, known is %d: update this program", d.file.Name(), binary.BigEndian.Uint32(v), schema)
	}
	return nil
}

func create(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucket(recordsBucket); err != nil {
		return err
	}
	return errors.Join(meta.Put(schemaKey, binary.BigEndian.AppendUint32(nil, schema)), meta.Put(countKey, make([]byte, 8)))
}

func (d *database) view(use func(*bbolt.Tx) error) error {
	return guard(func() error { return d.bolt.View(use) })
}

func (d *database) update(use func(*bbolt.Tx) error) error {
	return guard(func() error { return d.bolt.Update(use) })
}

// load reads one record. That there is none is believed only if its neighbours are sound and in order: a torn page could
// otherwise hide it.
func (d *database) load(k key) (r record, found bool, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(recordsBucket).Cursor()
		after, v := c.Seek(k[:])
		if bytes.Equal(after, k[:]) {
			if r, found = decodePair(after, v); !found {
				return damaged("the record of %v", k.UID())
			}
			return nil
		}
		sound := true
		if after != nil {
			_, sound = decodePair(after, v)
			sound = sound && bytes.Compare(after, k[:]) > 0
		}
		var before []byte
		if after != nil {
			before, v = c.Prev()
		} else {
			before, v = c.Last()
		}
		if before != nil && sound {
			_, sound = decodePair(before, v)
			sound = sound && bytes.Compare(before, k[:]) < 0
		}
		if !sound {
			return damaged("a record beside that of %v", k.UID())
		}
		return nil
	})
	return r, found, err
}

// A change is a record to write, or to remove.
type change struct {
	record
	gone bool
}

type keyed struct {
	key
	change
}

func sortByKey(changes []keyed) {
	slices.SortFunc(changes, func(a, b keyed) int { return bytes.Compare(a.key[:], b.key[:]) })
}

// write applies changes in one transaction, and returns how many records there are then. It sorts them, so that
// neighbours share pages.
func (d *database) write(changes []keyed) (count uint64, err error) {
	sortByKey(changes)
	err = d.update(func(tx *bbolt.Tx) error {
		records, meta := tx.Bucket(recordsBucket), tx.Bucket(metaBucket)
		count = countIn(meta)
		for _, c := range changes {
			if err := apply(records, c, uint64(tx.ID()), &count); err != nil {
				return err
			}
		}
		return meta.Put(countKey, binary.BigEndian.AppendUint64(nil, count))
	})
	return count, err
}

func apply(records *bbolt.Bucket, c keyed, write uint64, count *uint64) error {
	there := records.Get(c.key[:]) != nil
	if c.gone {
		if there {
			*count--
		}
		return records.Delete(c.key[:])
	}
	if !there {
		*count++
	}
	b := encode(c.key, c.record, write)
	return records.Put(b[:keySize], b[keySize:])
}

func countIn(meta *bbolt.Bucket) uint64 {
	if v := meta.Get(countKey); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// count reads the number of records.
func (d *database) count() (n uint64, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		n = countIn(tx.Bucket(metaBucket))
		return nil
	})
	return n, err
}

// verify reads up to n records from k on, and returns where to go on; false at the end.
func (d *database) verify(k key, n int) (next key, more bool, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(recordsBucket).Cursor()
		before := []byte(nil)
		for at, v := c.Seek(k[:]); at != nil; at, v = c.Next() {
			if _, ok := decodePair(at, v); !ok || bytes.Compare(at, before) <= 0 {
				return damaged("a record behind that of %v", next.UID())
			}
			before, next = at, key(at)
			if n--; n < 0 {
				more = true
				break
			}
		}
		return nil
	})
	return next, more, err
}

// close closes the file after use.
func (d *database) close() error { return guard(d.bolt.Close) }

// abandon lets go of a file that is damaged. bbolt may have kept its locks when it panicked: then only the file is closed, and
// the little that it holds in memory is lost.
func (d *database) abandon() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if d.bolt != nil {
			_ = guard(d.bolt.Close) // damaged: what it says does not matter
		}
	}()
	select {
	case <-closed:
	case <-time.After(lockWait):
	}
	if d.file != nil {
		_ = d.file.Close() // mostly closed already
	}
}
